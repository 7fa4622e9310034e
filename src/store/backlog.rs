//! Records that wait for a side of the store to come back, in their order.
//!
//! Owns who has to wait with them. A message that may be stored already has its place in the room's order: until it is
//! known which, nothing else of the room goes on. One that was never sent only keeps back what its author said later. Knows
//! neither sides nor queues; whether a record has a chance is asked of the caller.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::Seat;
use super::lane::Trace;
use super::writer::Queued;
use crate::chat::effect::RecordBody;
use crate::ids::RoomId;

/// A side does not tell when it is back: who waits is looked at this often.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A record on its way through a lane.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) queued: Queued,
    pub(super) trace: Trace,
}

/// Bounded by the queue, in whose count the records stay.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: Vec<Kept>,
    held: Held,
    looked: Option<Instant>,
}

/// Who waits for a message that could not be settled.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Rooms with a message in doubt.
    rooms: HashSet<RoomId>,
    /// Authors of messages that were not sent.
    seats: HashSet<Seat>,
}

impl Held {
    /// Lets wait whoever must not overtake this record. Only messages hold others up.
    pub(super) fn add(&mut self, body: &RecordBody, trace: &Trace) {
        let RecordBody::Message(message) = body else { return };
        if trace.is_in_doubt() {
            self.rooms.insert(message.room.clone());
        } else {
            self.seats.insert((message.room.clone(), message.user.clone()));
        }
    }

    /// Whether a record has to wait. A receipt is about a message that is stored already.
    pub(super) fn holds(&self, body: &RecordBody) -> bool {
        if self.rooms.is_empty() && self.seats.is_empty() {
            return false;
        }
        match body {
            RecordBody::Message(message) => {
                self.rooms.contains(&message.room) || self.seats.contains(&(message.room.clone(), message.user.clone()))
            }
            RecordBody::Join(_) | RecordBody::History(_) => body.room().is_some_and(|room| self.rooms.contains(room)),
            RecordBody::Receipt(_) | RecordBody::Access { .. } | RecordBody::Conversations { .. } => false,
        }
    }
}

/// What is to become of a record that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chance {
    /// It goes on.
    Now,
    /// It stays.
    Later,
    /// Nobody waits for it any more, or for no longer: it is given back to be answered.
    Over,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a record that comes now has to wait behind others.
    pub(super) fn holds(&self, body: &RecordBody) -> bool {
        self.held.holds(body)
    }

    /// Lets a record wait behind all others.
    pub(super) fn push(&mut self, kept: Kept) {
        self.held.add(&kept.queued.record.body, &kept.trace);
        self.waiting.push(kept);
    }

    /// Records that were tried in vain wait again, before those that were not.
    pub(super) fn put_back(&mut self, tried: Vec<Kept>) {
        tried.iter().for_each(|kept| self.held.add(&kept.queued.record.body, &kept.trace));
        self.waiting.splice(0..0, tried);
    }

    /// Whether it is time to look at who waits.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.is_empty() && self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK_EVERY)
    }

    /// Takes those out that go on, and those that are over, in their order.
    pub(super) fn look(&mut self, now: Instant, mut chance: impl FnMut(&Kept) -> Chance) -> (Vec<Kept>, Vec<Kept>) {
        self.looked = Some(now);
        self.held = Held::default();
        let (mut ready, mut over) = (Vec::new(), Vec::new());
        for kept in std::mem::take(&mut self.waiting) {
            let body = &kept.queued.record.body;
            match chance(&kept) {
                Chance::Over => over.push(kept),
                Chance::Now if !self.holds(body) => ready.push(kept),
                Chance::Now | Chance::Later => self.push(kept),
            }
        }
        (ready, over)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chat::effect::{Join, NewMessage, NewReceipt, Origin, ReceiptStatus, Record};
    use crate::ids::{ConnectionKey, CoreId, MessageId, NamespaceId, SocketKey, Timestamp, UserId};
    use crate::store::messages::Stamp;
    use crate::store::writer::Ticket;

    /// `m5` is a message of Ann in room 5, `b5` one of Bob, `d5` one of Bob that is in doubt, `j5` a join, `r5` a receipt; the
    /// number of the request is its position.
    fn records(words: &str) -> Vec<Kept> {
        let record = |(request, word): (u64, &str)| {
            let (kind, room) = word.split_at(1);
            let user = if matches!(kind, "b" | "d") { "bob" } else { "ann" };
            let (room, user) = (RoomId::from_text(room).unwrap(), UserId::from_text(user).unwrap());
            let body = match kind {
                "m" | "b" | "d" => RecordBody::Message(NewMessage {
                    room,
                    user,
                    username: Arc::from("Ann"),
                    content: String::new(),
                    kind: String::new(),
                    attachments: String::new(),
                    temp_id: None,
                    client_msg_id: None,
                }),
                "j" => RecordBody::Join(Join { room, user, since: None }),
                _ => {
                    let (message, status) = (MessageId([0; 12]), ReceiptStatus::Read);
                    RecordBody::Receipt(NewReceipt { room, user, message, status, up_to: false })
                }
            };
            let connection = ConnectionKey { index: 0, generation: 0 };
            let socket = SocketKey { connection, namespace: NamespaceId(0) };
            let record = Record { origin: Origin { core: CoreId(0), socket, request }, body };
            let queued = Queued { record, ticket: Ticket::new(), weight: 0, since: Instant::now() };
            let stamp = Stamp { id: MessageId([0; 12]), timestamp: Timestamp(0), in_doubt: Some(1) };
            Kept { queued, trace: Trace { stamp: (kind == "d").then_some(stamp), changed: false } }
        };
        (0..).zip(words.split(' ')).map(record).collect()
    }

    fn numbers(kept: &[Kept]) -> Vec<u64> {
        kept.iter().map(|kept| kept.queued.record.origin.request).collect()
    }

    #[test]
    fn a_room_waits_for_a_message_in_doubt_and_an_author_for_what_was_not_sent() {
        // (records, those without a chance, those that go on)
        let cases: [(&str, &[u64], &[u64]); 6] = [
            ("m1 m1 b1 m2 j1 r1", &[0], &[2, 3, 4, 5]),
            ("m1 m1 b1", &[1], &[0, 2]),
            ("d1 b1 m1 m2 j1 r1", &[0], &[3, 5]),
            ("j1 m1 m2", &[0], &[1, 2]),
            ("r1 m1 j1", &[0], &[1, 2]),
            ("m1 d2 m1", &[], &[0, 1, 2]),
        ];
        for (words, hopeless, expected) in cases {
            let mut backlog = Backlog::default();
            records(words).into_iter().for_each(|kept| backlog.push(kept));
            let chance = |kept: &Kept| match hopeless.contains(&kept.queued.record.origin.request) {
                true => Chance::Later,
                false => Chance::Now,
            };
            let (ready, over) = backlog.look(Instant::now(), chance);
            assert_eq!((numbers(&ready).as_slice(), over.len()), (expected, 0), "{words}");
            let (rest, _) = backlog.look(Instant::now(), |_| Chance::Now);
            assert!(numbers(&rest).is_sorted() && backlog.is_empty(), "{words}");
        }
    }

    #[test]
    fn what_was_tried_in_vain_comes_first_and_holds_others_up() {
        let mut backlog = Backlog::default();
        let mut all = records("m1 m1 m2 m1");
        let late = all.pop().unwrap();
        assert!(!backlog.holds(&late.queued.record.body));
        let tried = all.drain(..1).collect();
        all.into_iter().for_each(|kept| backlog.push(kept));
        backlog.put_back(tried);
        assert!(backlog.holds(&late.queued.record.body));
        let (ready, _) = backlog.look(Instant::now(), |_| Chance::Now);
        assert_eq!(numbers(&ready), [0, 1, 2]);
        assert!(!backlog.holds(&late.queued.record.body));
    }

    #[test]
    fn what_is_over_leaves_and_holds_nobody() {
        let mut backlog = Backlog::default();
        records("m1 j1").into_iter().for_each(|kept| backlog.push(kept));
        let over = |kept: &Kept| if kept.queued.record.origin.request == 0 { Chance::Over } else { Chance::Now };
        let (ready, over) = backlog.look(Instant::now(), over);
        assert_eq!((numbers(&ready), numbers(&over)), (vec![1], vec![0]));
    }

    #[test]
    fn who_waits_is_looked_at_now_and_then() {
        let mut backlog = Backlog::default();
        let start = Instant::now();
        assert!(!backlog.is_due(start), "nobody waits");
        records("m1").into_iter().for_each(|kept| backlog.push(kept));
        assert!(backlog.is_due(start));
        let _ = backlog.look(start, |_| Chance::Later);
        assert!(!backlog.is_due(start + LOOK_EVERY / 2));
        assert!(backlog.is_due(start + LOOK_EVERY));
    }
}
