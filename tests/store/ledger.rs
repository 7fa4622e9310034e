//! The books of a test: what was sent and what was answered when, held against what is stored in the end.
//!
//! Every message has a `clientMsgId` here and a resend says the same again, so a message is known by its author and that
//! id. Before [`Ledger::check`] a test sends again, as clients do, whatever was answered that it may not be there; then
//! each message that is stored has been acknowledged, or it is a phantom.

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use alt_ws::chat::effect::{Committed, RecordBody, Refusal};

use super::harness::Answer;

/// What an answer may take beyond what is promised: to wake up, on a machine that does other things too.
pub const GRACE: Duration = Duration::from_millis(100);
/// Nothing that is still silent after this will ever speak.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who said it, and their own name for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub user: String,
    pub client_msg_id: String,
}

/// A message as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub id: String,
    pub room: String,
    pub seq: i64,
    pub key: Key,
}

/// What is wrong.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Acknowledged, and not stored as it was acknowledged.
    Lost(Stored),
    /// Stored, although nobody sent it or whoever did was never told that it is stored.
    Phantom(Stored),
    /// Stored twice, or acknowledged twice as new.
    Duplicate(Key),
    /// A room has this seq where the next one belongs.
    Gap(Stored),
    /// Stored before what the same author had sent earlier to the same room.
    Reordered(Stored),
    /// No answer to a record, or only after this time.
    Unanswered(What, Option<Duration>),
    /// The store never said what became of a record that it had.
    Unsettled(What),
    /// The store gave a record back and handled it all the same.
    HandledAfterAll(What),
}

/// What a record asks for, for a failure to name.
pub type What = String;

/// An answer and how long it took.
#[derive(Clone, Debug)]
pub struct Told {
    pub answer: Answer,
    pub after: Duration,
}

#[derive(Debug)]
struct Sent {
    what: What,
    message: Option<Key>,
    at: Instant,
    /// In their order: what was given up may be told to be there after all.
    told: Vec<Told>,
    /// The last of them is the store's.
    is_settled: bool,
    /// Whoever waited gave up, and the store gave the record back.
    is_taken_back: bool,
}

#[derive(Debug, Default)]
pub struct Ledger {
    books: Mutex<Vec<Sent>>,
    changed: Condvar,
}

impl Ledger {
    /// Notes a record that is about to be submitted. Returns the number of the request.
    pub fn sent(&self, body: &RecordBody) -> u64 {
        let message = match body {
            RecordBody::Message(new) => {
                let client_msg_id = new.client_msg_id.clone().expect("every message here can be sent again");
                Some(Key { user: new.user.to_string(), client_msg_id })
            }
            _ => None,
        };
        let mut books = self.books.lock().unwrap();
        books.push(Sent {
            what: kind(body),
            message,
            at: Instant::now(),
            told: Vec::new(),
            is_settled: false,
            is_taken_back: false,
        });
        books.len() as u64 - 1
    }

    /// Notes what the store says, which is its last word on the record.
    pub fn answered(&self, request: u64, answer: Answer) {
        self.note(request, answer, |sent| sent.is_settled = true);
    }

    /// Notes that the client was told that it is not known; `is_taken_back` when it is known that it never will be stored.
    pub fn given_up(&self, request: u64, is_taken_back: bool) {
        self.note(request, Err(Refusal::Unavailable), |sent| sent.is_taken_back = is_taken_back);
    }

    fn note(&self, request: u64, answer: Answer, also: impl FnOnce(&mut Sent)) {
        let mut books = self.books.lock().unwrap();
        let sent = &mut books[request as usize];
        sent.told.push(Told { answer, after: sent.at.elapsed() });
        also(sent);
        self.changed.notify_all();
    }

    /// The first answer to a request, once there is one.
    #[track_caller]
    pub fn wait(&self, request: u64) -> Told {
        let silent = |books: &mut Vec<Sent>| books[request as usize].told.is_empty();
        let (books, timeout) = self.changed.wait_timeout_while(self.books.lock().unwrap(), PATIENCE, silent).unwrap();
        assert!(!timeout.timed_out(), "never answered: {}", books[request as usize].what);
        books[request as usize].told[0].clone()
    }

    /// The first answers to requests, `None` for those that are silent `within` that time.
    pub fn wait_all(&self, requests: &[u64], within: Duration) -> Vec<Option<Told>> {
        let told = |books: &[Sent], request: &u64| books[*request as usize].told.first().cloned();
        let open = |books: &mut Vec<Sent>| requests.iter().any(|request| told(books, request).is_none());
        let (books, _) = self.changed.wait_timeout_while(self.books.lock().unwrap(), within, open).unwrap();
        requests.iter().map(|request| told(&books, request)).collect()
    }

    /// Holds the books against what is stored. `promised` is by when every record is to be answered.
    pub fn check(&self, stored: &[Stored], promised: Duration) -> Vec<Wrong> {
        let books = self.books.lock().unwrap();
        let mut wrong = Vec::new();
        let mut acknowledged: HashMap<Key, Stored> = HashMap::new();
        let mut new = HashSet::new();
        for sent in books.iter() {
            let after = sent.told.first().map(|told| told.after);
            if after.is_none_or(|after| after > promised + GRACE) {
                wrong.push(Wrong::Unanswered(sent.what.clone(), after));
            }
            match (sent.is_taken_back, sent.is_settled) {
                (true, true) => wrong.push(Wrong::HandledAfterAll(sent.what.clone())),
                (false, false) => wrong.push(Wrong::Unsettled(sent.what.clone())),
                (true, false) | (false, true) => {}
            }
            for told in &sent.told {
                let (Some(key), Ok(Committed::Message { message, duplicate })) = (&sent.message, &told.answer) else {
                    continue;
                };
                let (id, room) = (message.id.to_string(), message.room.to_string());
                let said = Stored { id, room, seq: message.seq, key: key.clone() };
                let first = acknowledged.entry(key.clone()).or_insert_with(|| said.clone());
                if *first != said || !duplicate && !new.insert(key.clone()) {
                    wrong.push(Wrong::Duplicate(key.clone()));
                }
            }
        }
        wrong.extend(acknowledged.values().filter(|said| !stored.contains(said)).cloned().map(Wrong::Lost));
        let mut keys = HashSet::new();
        for found in stored {
            if !acknowledged.contains_key(&found.key) {
                wrong.push(Wrong::Phantom(found.clone()));
            }
            if !keys.insert(&found.key) {
                wrong.push(Wrong::Duplicate(found.key.clone()));
            }
        }
        wrong.extend(disorder(&books, stored));
        wrong
    }
}

/// Gaps in rooms, and messages that overtook another of their author.
fn disorder(books: &[Sent], stored: &[Stored]) -> Vec<Wrong> {
    let mut sends: HashMap<&Key, Vec<usize>> = HashMap::new();
    for (number, sent) in books.iter().enumerate() {
        if let Some(key) = &sent.message {
            sends.entry(key).or_default().push(number);
        }
    }
    let mut ordered: Vec<&Stored> = stored.iter().collect();
    ordered.sort_by_key(|found| (&found.room, found.seq));
    let mut wrong = Vec::new();
    let mut last_seq: HashMap<&str, i64> = HashMap::new();
    let mut last_send: HashMap<(&str, &str), usize> = HashMap::new();
    for found in ordered {
        let seq = last_seq.entry(&found.room).or_default();
        if found.seq != *seq + 1 {
            wrong.push(Wrong::Gap(found.clone()));
        }
        *seq = found.seq;
        // Which of its sends stored it is not known: the earliest that makes sense.
        let Some(sends) = sends.get(&found.key) else { continue };
        let last = last_send.entry((&found.room, &found.key.user)).or_default();
        match sends.iter().find(|number| *number >= last) {
            Some(number) => *last = *number,
            None => wrong.push(Wrong::Reordered(found.clone())),
        }
    }
    wrong
}

fn kind(body: &RecordBody) -> What {
    match body {
        RecordBody::Message(new) => {
            format!("message {} of {} to {}", new.client_msg_id.as_deref().unwrap_or("?"), new.user, new.room)
        }
        RecordBody::Receipt(receipt) => format!("receipt of {} in {}", receipt.user, receipt.room),
        RecordBody::Join(join) => format!("join of {} to {}", join.user, join.room),
        RecordBody::History(history) => format!("history of {} for {}", history.room, history.user),
        RecordBody::Access { room, user } => format!("access of {user} to {room}"),
        RecordBody::Conversations { user } => format!("conversations of {user}"),
    }
}

/// Whether sending the same again may help.
pub fn may_be_sent_again(answer: &Answer) -> bool {
    matches!(answer, Err(Refusal::Unavailable | Refusal::Busy | Refusal::StorageFull))
}

#[cfg(test)]
mod tests {
    use super::super::harness::{access, new_message, once};
    use super::*;
    use alt_ws::ids::{MessageId, Timestamp};

    const PROMISED: Duration = Duration::from_secs(60);

    fn key(client_msg_id: &str) -> Key {
        Key { user: "ann".into(), client_msg_id: client_msg_id.into() }
    }

    fn id(client_msg_id: &str) -> MessageId {
        MessageId([client_msg_id.as_bytes()[0]; 12])
    }

    fn stored(client_msg_id: &str, seq: i64) -> Stored {
        Stored { id: id(client_msg_id).to_string(), room: "r".into(), seq, key: key(client_msg_id) }
    }

    fn acknowledged(client_msg_id: &str, seq: i64, duplicate: bool) -> Answer {
        let message = new_message("r", "ann", "x").stored(id(client_msg_id), seq, Timestamp(0));
        Ok(Committed::Message { message: message.into(), duplicate })
    }

    /// `a` and `b` were sent and acknowledged.
    fn books() -> Ledger {
        let ledger = Ledger::default();
        for (seq, id) in [(1, "a"), (2, "b")] {
            let request = ledger.sent(&once("r", "ann", "x", id, "1"));
            ledger.answered(request, acknowledged(id, seq, false));
        }
        ledger
    }

    #[test]
    fn what_was_acknowledged_and_is_stored_is_fine() {
        let ledger = books();
        let again = ledger.sent(&once("r", "ann", "x", "a", "1"));
        ledger.answered(again, acknowledged("a", 1, true));
        assert_eq!(ledger.check(&[stored("a", 1), stored("b", 2)], PROMISED), []);
    }

    #[test]
    fn each_wrong_is_found() {
        let check = |stored: &[Stored]| books().check(stored, PROMISED);
        assert_eq!(check(&[stored("a", 1)]), [Wrong::Lost(stored("b", 2))]);
        let all = [stored("a", 1), stored("b", 2)];
        let with = |more: Stored| [&all[..], &[more]].concat();
        assert_eq!(check(&with(stored("c", 3))), [Wrong::Phantom(stored("c", 3))]);
        assert_eq!(check(&with(stored("a", 3)))[0], Wrong::Duplicate(key("a")));
        assert!(check(&[stored("a", 1), stored("b", 3)]).contains(&Wrong::Gap(stored("b", 3))));
        assert!(check(&[stored("b", 1), stored("a", 2)]).contains(&Wrong::Reordered(stored("a", 2))));

        let ledger = books();
        let twice = ledger.sent(&once("r", "ann", "x", "b", "1"));
        ledger.answered(twice, acknowledged("b", 2, false));
        assert_eq!(ledger.check(&all, PROMISED), [Wrong::Duplicate(key("b"))]);

        let ledger = books();
        let refused = ledger.sent(&once("r", "ann", "x", "c", "1"));
        ledger.answered(refused, Err(Refusal::Unavailable));
        assert_eq!(ledger.check(&all, PROMISED), []);
        assert_eq!(ledger.check(&with(stored("c", 3)), PROMISED), [Wrong::Phantom(stored("c", 3))]);

        let access = ledger.sent(&access("r", "ann"));
        let what = || "access of ann to r".to_owned();
        let silent = [Wrong::Unanswered(what(), None), Wrong::Unsettled(what())];
        assert_eq!(ledger.check(&all, PROMISED), silent);
        ledger.given_up(access, true);
        assert_eq!(ledger.check(&all, PROMISED), []);
        ledger.answered(access, Ok(Committed::Access));
        assert_eq!(ledger.check(&all, PROMISED), [Wrong::HandledAfterAll(what())]);
    }

    #[test]
    fn an_answer_that_came_late_is_none() {
        let ledger = books();
        let request = ledger.sent(&access("r", "ann"));
        std::thread::sleep(GRACE + Duration::from_millis(1));
        ledger.answered(request, Ok(Committed::Access));
        let all = [stored("a", 1), stored("b", 2)];
        assert!(matches!(ledger.check(&all, Duration::ZERO)[..], [Wrong::Unanswered(_, Some(_))]));
    }
}
