//! Acknowledgements: their ids, and those that one socket still owes the server.
//!
//! Knows nothing of what is acknowledged: the value kept for each is the caller's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The number under which an acknowledgement is asked and given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AckId(pub u64);

/// Most acknowledgements one socket may owe at a time: a client that answers needs a handful, one that never does
/// must not make the server remember more.
pub const MAX_PENDING_ACKS: usize = 64;

/// How long an acknowledgement is waited for: longer than a mobile client is silent between two cells, and the
/// Engine.IO heartbeat ends a connection that is really gone.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// The acknowledgements that one socket owes for events the server sent, oldest first.
///
/// Holds at most [`MAX_PENDING_ACKS`]; when full, [`issue`](Self::issue) refuses and the caller sends the event without
/// asking for an answer, or not at all. Takes no heap memory while empty. Ids are never used twice.
#[derive(Debug)]
pub struct PendingAcks<T> {
    next: u64,
    owed: VecDeque<Owed<T>>,
}

#[derive(Debug)]
struct Owed<T> {
    id: AckId,
    deadline: Instant,
    value: T,
}

impl<T> Default for PendingAcks<T> {
    fn default() -> Self {
        Self { next: 0, owed: VecDeque::new() }
    }
}

impl<T> PendingAcks<T> {
    /// Remembers `value` until the answer under the returned id; `None` when the socket owes too many already.
    pub fn issue(&mut self, value: T, now: Instant) -> Option<AckId> {
        if self.owed.len() >= MAX_PENDING_ACKS {
            return None;
        }
        let id = AckId(self.next);
        self.next += 1;
        self.owed.push_back(Owed { id, deadline: now + ACK_TIMEOUT, value });
        Some(id)
    }

    /// The value issued under `id`. `None` for an id that is unknown, answered before or expired: such an ack is to be
    /// ignored, as the reference does.
    pub fn take(&mut self, id: AckId) -> Option<T> {
        let index = self.owed.iter().position(|owed| owed.id == id)?;
        let owed = self.owed.remove(index)?;
        self.release();
        Some(owed.value)
    }

    /// Takes the oldest value whose time is over; call it until `None`.
    pub fn expire(&mut self, now: Instant) -> Option<T> {
        let owed = self.owed.pop_front_if(|owed| owed.deadline <= now)?;
        self.release();
        Some(owed.value)
    }

    /// When [`expire`](Self::expire) has something to give next.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.owed.front().map(|owed| owed.deadline)
    }

    /// Gives the memory back with the last entry, so that a quiet socket is a small one.
    fn release(&mut self) {
        if self.owed.is_empty() {
            self.owed = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s9_unknown_and_repeated_ids_are_ignored() {
        let now = Instant::now();
        let mut acks = PendingAcks::default();
        let first = acks.issue("first", now).unwrap();
        let second = acks.issue("second", now).unwrap();
        assert_ne!(first, second);
        assert_eq!(acks.take(AckId(99)), None);
        assert_eq!(acks.take(AckId(u64::MAX)), None);
        assert_eq!(acks.take(second), Some("second"), "answers may come in any order");
        assert_eq!(acks.take(second), None, "given twice");
        assert_eq!(acks.take(first), Some("first"));
        assert_ne!(acks.issue("third", now).unwrap(), first, "an id is never reused");
    }

    #[test]
    fn r5_a_full_set_of_owed_answers_refuses_until_one_is_answered_or_expires() {
        let now = Instant::now();
        let mut acks = PendingAcks::default();
        let ids: Vec<AckId> = (0..MAX_PENDING_ACKS).map(|n| acks.issue(n, now).unwrap()).collect();
        assert_eq!(acks.issue(0, now), None);
        assert_eq!(acks.take(ids[5]), Some(5));
        assert!(acks.issue(64, now).is_some());
        assert_eq!(acks.issue(65, now), None);
    }

    #[test]
    fn s9_answers_that_never_come_expire_in_their_order() {
        let start = Instant::now();
        let later = start + Duration::from_secs(5);
        let mut acks = PendingAcks::default();
        assert_eq!(acks.deadline(), None);
        let old = acks.issue("old", start).unwrap();
        acks.issue("older", start).unwrap();
        acks.issue("young", later).unwrap();
        assert_eq!(acks.deadline(), Some(start + ACK_TIMEOUT));
        assert_eq!(acks.expire(start + ACK_TIMEOUT - Duration::from_nanos(1)), None);
        assert_eq!(acks.expire(start + ACK_TIMEOUT), Some("old"));
        assert_eq!(acks.expire(start + ACK_TIMEOUT), Some("older"));
        assert_eq!(acks.expire(start + ACK_TIMEOUT), None);
        assert_eq!(acks.take(old), None, "too late");
        assert_eq!(acks.deadline(), Some(later + ACK_TIMEOUT));
        assert_eq!(acks.expire(later + ACK_TIMEOUT), Some("young"));
    }

    #[test]
    fn an_empty_set_holds_no_memory() {
        let now = Instant::now();
        let mut acks = PendingAcks::default();
        assert_eq!(acks.owed.capacity(), 0);
        let id = acks.issue([0u8; 64], now).unwrap();
        acks.take(id).unwrap();
        assert_eq!(acks.owed.capacity(), 0);
        acks.issue([0u8; 64], now).unwrap();
        acks.expire(now + ACK_TIMEOUT).unwrap();
        assert_eq!(acks.owed.capacity(), 0);
    }
}
