//! How each side is doing, and who finds out.
//!
//! Owns the two states and the log lines when they change. A side that is down is asked again by its prober alone;
//! meanwhile the lanes leave it in peace, so that a stalled database costs no lane its time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::store::fault::Fault;
use crate::store::{Health, SideHealth};

/// How often a side that is down is asked whether it is back; and the structure whether a token was revoked.
pub(super) const PROBE_EVERY: Duration = Duration::from_millis(250);
/// How often the messages are asked while they are up, in case nobody else does.
pub(super) const PING_EVERY: Duration = Duration::from_secs(1);

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Structure,
    Messages,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    /// It answers and has no room. Only storing something shows that there is room again.
    Full,
    Down(&'static str),
}

/// How both are doing.
#[derive(Debug)]
pub(in crate::store) struct Vitals {
    structure: Vital,
    messages: Vital,
}

#[derive(Debug)]
struct Vital {
    /// What the log calls it.
    name: &'static str,
    state: Mutex<State>,
}

impl Vitals {
    /// Both sides are still to be reached.
    pub(super) fn new(structure: &'static str, messages: &'static str) -> Self {
        let vital = |name| Vital { name, state: Mutex::new(State::Down("it has not been reached yet")) };
        Self { structure: vital(structure), messages: vital(messages) }
    }

    /// For `/readyz` and `/health`.
    pub(in crate::store) fn both(&self) -> SideHealth {
        SideHealth { structure: self.structure.health(), messages: self.messages.health() }
    }

    /// Whether it is worth asking; if not, the fault that stands for that.
    pub(super) fn require(&self, side: Side) -> Result<(), Fault> {
        match self.vital(side).get() {
            State::Up | State::Full => Ok(()),
            State::Down(reason) => Err(Fault::Down(reason)),
        }
    }

    /// Takes note of an answer. One request that is refused, or takes too long, says nothing about the side.
    pub(super) fn note<T>(&self, side: Side, answer: Result<T, Fault>) -> Result<T, Fault> {
        match &answer {
            Ok(_) | Err(Fault::Refused | Fault::Late(_)) => {}
            Err(Fault::Down(reason)) => self.vital(side).set(State::Down(reason)),
            Err(Fault::Full) => self.vital(side).set(State::Full),
        }
        answer
    }

    /// The side gave a sign of life.
    pub(super) fn answered(&self, side: Side) {
        if self.vital(side).get() != State::Full {
            self.vital(side).set(State::Up);
        }
    }

    /// The side stored something.
    pub(super) fn stored(&self, side: Side) {
        if self.vital(side).get() == State::Full {
            self.vital(side).set(State::Up);
        }
    }

    fn vital(&self, side: Side) -> &Vital {
        match side {
            Side::Structure => &self.structure,
            Side::Messages => &self.messages,
        }
    }
}

impl Vital {
    fn get(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        let before = std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), state);
        let store = self.name;
        match state {
            _ if before == state => {}
            State::Up => tracing::info!(store, "the store answers"),
            State::Full => tracing::error!(store, "the store's disk is full; messages are refused until there is room"),
            State::Down(reason) => {
                tracing::warn!(store, reason, "the store is down; what needs it waits, and is refused in the end");
            }
        }
    }

    fn health(&self) -> Health {
        match self.get() {
            State::Up => Health::Ok,
            State::Full => Health::Degraded("the disk is full"),
            State::Down(reason) => Health::Degraded(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_worth_asking_and_a_sign_of_life_does_not_empty_it() {
        let vitals = Vitals::new("a", "b");
        let health = || vitals.both().messages;
        assert_eq!(vitals.require(Side::Messages), Err(Fault::Down("it has not been reached yet")));
        vitals.answered(Side::Messages);
        assert_eq!((health(), vitals.require(Side::Messages)), (Health::Ok, Ok(())));
        let _ = vitals.note::<()>(Side::Messages, Err(Fault::Full));
        vitals.answered(Side::Messages);
        assert_eq!((health(), vitals.require(Side::Messages)), (Health::Degraded("the disk is full"), Ok(())));
        vitals.stored(Side::Messages);
        assert_eq!(health(), Health::Ok);
        let _ = vitals.note::<()>(Side::Messages, Err(Fault::Refused));
        let _ = vitals.note::<()>(Side::Messages, Err(Fault::Late("a long question")));
        assert_eq!(health(), Health::Ok, "one refused or long request says nothing about the side");
        let _ = vitals.note::<()>(Side::Messages, Err(Fault::Down("gone")));
        vitals.stored(Side::Messages);
        assert_eq!(vitals.require(Side::Messages), Err(Fault::Down("gone")));
        assert_eq!(vitals.both().structure, Health::Degraded("it has not been reached yet"));
    }
}
