//! Memory and SQLite are the same store: random sequences of records, in random batches, get the same answers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, in its helpers too"
)]

#[path = "store/harness.rs"]
#[allow(dead_code, unreachable_pub, reason = "each suite takes what it needs")]
mod harness;

use alt_ws::chat::effect::{Committed, PageRequest, ReceiptStatus, RecordBody};
use alt_ws::chat::event::Message;
use alt_ws::ids::MessageId;
use harness::*;
use proptest::prelude::*;

/// A record, with messages named by the order in which they were stored.
#[derive(Clone, Debug)]
enum Step {
    Send { room: usize, user: usize, client_msg_id: Option<u8> },
    Receipt { room: usize, user: usize, message: usize, read: bool, up_to: bool },
    Join { room: usize, user: usize, since: Option<i64> },
    History { room: usize, user: usize, request: PageRequest },
    Access { room: usize, user: usize },
    Conversations { user: usize },
}

const ROOMS: [&str; 3] = ["5", "open", "later"];
const USERS: [&str; 3] = ["ann", "bob", "eve"];

fn step() -> impl Strategy<Value = Step> {
    let (room, user) = (0..ROOMS.len(), 0..USERS.len());
    prop_oneof![
        4 => (room.clone(), user.clone(), proptest::option::weighted(0.3, 0..4_u8))
            .prop_map(|(room, user, client_msg_id)| Step::Send { room, user, client_msg_id }),
        6 => (room.clone(), user.clone(), 0..30_usize, any::<bool>(), proptest::bool::weighted(0.3))
            .prop_map(|(room, user, message, read, up_to)| Step::Receipt { room, user, message, read, up_to }),
        3 => (room.clone(), user.clone(), proptest::option::of(0..20_i64))
            .prop_map(|(room, user, since)| Step::Join { room, user, since }),
        2 => (room.clone(), user.clone(), page_request())
            .prop_map(|(room, user, request)| Step::History { room, user, request }),
        1 => (room, user.clone()).prop_map(|(room, user)| Step::Access { room, user }),
        1 => user.prop_map(|user| Step::Conversations { user }),
    ]
}

fn page_request() -> impl Strategy<Value = PageRequest> {
    let seq = || proptest::option::of(-2..20_i64);
    (seq(), seq(), 1..12_usize).prop_map(|(before, after, limit)| PageRequest { before, after, limit })
}

/// One store and the ids it gave.
struct Side {
    store: Running,
    sent: Vec<MessageId>,
    /// Dropped last, with the files.
    _subject: Subject,
}

impl Side {
    fn new(subject: Subject) -> Self {
        let subject = subject.members(&[("5", "ann"), ("5", "bob")]).open_rooms();
        Self { store: subject.start(), sent: Vec::new(), _subject: subject }
    }

    fn body(&self, step: &Step) -> RecordBody {
        match *step {
            Step::Send { room, user, client_msg_id: None } => text(ROOMS[room], USERS[user], "x"),
            Step::Send { room, user, client_msg_id: Some(id) } => {
                once(ROOMS[room], USERS[user], "x", &id.to_string(), "1")
            }
            Step::Receipt { room, user, message, read, up_to } => {
                let message = self.sent.get(message).copied().unwrap_or(MessageId([0; 12]));
                let status = if read { ReceiptStatus::Read } else { ReceiptStatus::Delivered };
                receipt(ROOMS[room], USERS[user], message, status, up_to)
            }
            Step::Join { room, user, since } => join(ROOMS[room], USERS[user], since),
            Step::History { room, user, request } => history(ROOMS[room], USERS[user], request),
            Step::Access { room, user } => access(ROOMS[room], USERS[user]),
            Step::Conversations { user } => conversations(USERS[user]),
        }
    }

    /// What the two stores must agree on: everything but ids and times.
    fn play(&mut self, batch: &[Step]) -> Vec<String> {
        let bodies = batch.iter().map(|step| self.body(step)).collect();
        let answers = self.store.ask_all(bodies);
        answers.into_iter().map(|answer| self.describe(answer)).collect()
    }

    fn describe(&mut self, answer: Answer) -> String {
        match answer {
            Ok(Committed::Message { message, duplicate }) => {
                if !duplicate {
                    self.sent.push(message.id);
                }
                let number = self.sent.iter().position(|id| *id == message.id);
                let flags = (message.delivered, message.read, &message.temp_id, &message.client_msg_id);
                format!("message {number:?} {} {} {duplicate} {flags:?}", message.room, message.seq)
            }
            Ok(Committed::Receipt(receipted)) => format!("receipt {}", receipted.changed),
            Ok(Committed::Joined(joined)) => {
                let missed = joined.missed.map(|missed| (marks(&missed.messages), missed.complete));
                format!("joined {} {} {missed:?}", joined.seq, joined.unread)
            }
            Ok(Committed::History { room, page }) => {
                format!("history of {room} {:?} {}", marks(&page.messages), page.has_more)
            }
            Ok(Committed::Access) => "member".into(),
            Ok(Committed::Conversations(rooms)) => {
                // Rooms joined within the same millisecond have no order.
                let mut rooms: Vec<_> = rooms.iter().map(ToString::to_string).collect();
                rooms.sort();
                format!("{rooms:?}")
            }
            Err(refusal) => format!("{refusal:?}"),
        }
    }
}

fn marks(messages: &[Message]) -> Vec<(i64, bool, bool)> {
    messages.iter().map(|message| (message.seq, message.delivered, message.read)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_sqlite_answer_alike(batches in prop::collection::vec(prop::collection::vec(step(), 1..12), 1..14)) {
        let (mut memory, mut sqlite) = (Side::new(Subject::memory()), Side::new(Subject::sqlite()));
        for batch in &batches {
            prop_assert_eq!(memory.play(batch), sqlite.play(batch), "{:?}", batch);
        }
    }
}
