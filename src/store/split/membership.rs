//! Who is a member, as far as is known here: answers are kept, and forgotten when somebody changes them.
//!
//! Owns the cache and its staleness. While the structure is up an answer is believed for [`FRESH`] at most, and shorter
//! when a change is announced. While it is down, members of up to [`STALEST`] ago stay members; nobody becomes one by
//! guess, and an old "no" is not repeated either: who is not known to be a member has to wait.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;

use super::let_in::LetIn;
use crate::store::Seat;
use crate::store::structure::Change;

/// How long an answer needs no confirmation. A bound only: changes are announced, or looked for, sooner.
pub(super) const FRESH: Duration = Duration::from_secs(60);
/// How old the knowledge may be on which members go on while the structure is down.
pub(super) const STALEST: Duration = Duration::from_secs(600);
/// Answers kept; when there are more, all are forgotten and asked again. About 40 MB with ids of the greatest length.
const CAPACITY: usize = 200_000;

/// What is known of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Asked lately.
    Fresh(bool),
    /// Was a member when last asked; good enough when it cannot be asked now.
    StaleMember,
    /// Is to be asked.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    is_member: bool,
    at: Instant,
}

/// Shared by all lanes.
#[derive(Debug, Default)]
pub(super) struct Membership {
    known: DashMap<Seat, Entry>,
    /// Counts announced changes: an answer that was on its way during one is not kept.
    changes: AtomicU64,
    let_in: LetIn,
}

/// Taken before asking, handed back with the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked(u64);

impl Membership {
    pub(super) fn known(&self, seat: &Seat, now: Instant) -> Known {
        let Some(entry) = self.known.get(seat) else { return Known::Unknown };
        let age = now.saturating_duration_since(entry.at);
        match entry.is_member {
            is_member if age < FRESH => Known::Fresh(is_member),
            true if age < STALEST => Known::StaleMember,
            _ => Known::Unknown,
        }
    }

    pub(super) fn asking(&self) -> Asked {
        Asked(self.changes.load(Ordering::Acquire))
    }

    /// Keeps an answer, unless something changed since it was asked for.
    pub(super) fn learn(&self, seat: Seat, is_member: bool, asked: Asked, now: Instant) {
        if self.known.len() >= CAPACITY {
            self.known.clear();
        }
        if self.changes.load(Ordering::Acquire) == asked.0 {
            self.known.insert(seat, Entry { is_member, at: now });
        }
    }

    /// Takes in what somebody changed.
    pub(super) fn change(&self, change: &Change) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        match change {
            Change::Added(seat) | Change::Removed(seat) => drop(self.known.remove(seat)),
            // The members stay until they have been asked about; a "no" may be out of date.
            Change::Missed => self.known.retain(|_, entry| entry.is_member),
        }
    }

    /// A join of this seat is about to be answered with yes: from now on sweeps ask about it, whatever else is known.
    pub(super) fn let_in(&self, seat: &Seat) {
        self.let_in.add(seat);
    }

    /// Whether nobody was told that the user is out since the seat was let in.
    pub(super) fn is_let_in(&self, seat: &Seat) -> bool {
        self.let_in.contains(seat)
    }

    /// Waits for seats that no sweep asks about any more, so that their users are to be told out.
    pub(super) async fn displaced(&self) -> Vec<Seat> {
        self.let_in.displaced().await
    }

    /// Everybody who is believed to be a member, and everybody who may be in a room.
    pub(super) fn believed(&self) -> Vec<Seat> {
        let mut believed: HashSet<Seat> = self.let_in.all().into_iter().collect();
        believed.extend(self.known.iter().filter(|entry| entry.is_member).map(|entry| entry.key().clone()));
        believed.into_iter().collect()
    }

    /// Is no member any more, and about to be told out.
    pub(super) fn forget(&self, seat: &Seat) {
        self.known.remove(seat);
        self.let_in.remove(seat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{RoomId, UserId};

    fn seat(user: &str) -> Seat {
        (RoomId::from_text("r").unwrap(), UserId::from_text(user).unwrap())
    }

    #[test]
    fn a_member_grows_stale_and_a_stranger_is_asked_about_again() {
        let (membership, now) = (Membership::default(), Instant::now());
        for (user, is_member) in [("ann", true), ("eve", false)] {
            membership.learn(seat(user), is_member, membership.asking(), now);
        }
        let cases = [
            (Duration::ZERO, Known::Fresh(true), Known::Fresh(false)),
            (FRESH, Known::StaleMember, Known::Unknown),
            (STALEST, Known::Unknown, Known::Unknown),
        ];
        for (age, member, stranger) in cases {
            assert_eq!(membership.known(&seat("ann"), now + age), member, "{age:?}");
            assert_eq!(membership.known(&seat("eve"), now + age), stranger, "{age:?}");
        }
        assert_eq!(membership.known(&seat("bob"), now), Known::Unknown);
    }

    #[test]
    fn an_answer_that_crossed_a_change_is_not_kept() {
        let (membership, now) = (Membership::default(), Instant::now());
        let asked = membership.asking();
        membership.change(&Change::Removed(seat("ann")));
        membership.learn(seat("ann"), true, asked, now);
        assert_eq!(membership.known(&seat("ann"), now), Known::Unknown);
        membership.learn(seat("ann"), true, membership.asking(), now);
        assert_eq!(membership.known(&seat("ann"), now), Known::Fresh(true));
    }

    #[test]
    fn missed_changes_leave_only_members_to_be_asked_about() {
        let (membership, now) = (Membership::default(), Instant::now());
        for (user, is_member) in [("ann", true), ("eve", false)] {
            membership.learn(seat(user), is_member, membership.asking(), now);
        }
        membership.change(&Change::Missed);
        assert_eq!(membership.known(&seat("eve"), now), Known::Unknown);
        assert_eq!(membership.believed(), [seat("ann")]);
        membership.forget(&seat("ann"));
        assert!(membership.believed().is_empty());
    }

    #[test]
    fn who_was_let_in_is_asked_about_whatever_becomes_of_the_answer() {
        let (membership, now) = (Membership::default(), Instant::now());
        let asked = membership.asking();
        membership.let_in(&seat("ann"));
        membership.change(&Change::Added(seat("bob")));
        membership.learn(seat("ann"), true, asked, now);
        assert_eq!(membership.known(&seat("ann"), now), Known::Unknown, "the answer crossed a change");
        assert_eq!(membership.believed(), [seat("ann")]);
        membership.learn(seat("ann"), true, membership.asking(), now);
        membership.change(&Change::Added(seat("ann")));
        assert_eq!(membership.believed(), [seat("ann")], "announced again");
        membership.learn(seat("ann"), true, membership.asking(), now);
        assert_eq!(membership.believed(), [seat("ann")], "once");
        membership.forget(&seat("ann"));
        assert!(membership.believed().is_empty() && !membership.is_let_in(&seat("ann")));
    }
}
