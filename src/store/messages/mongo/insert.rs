//! New messages into the collection: each once, under consecutive seqs, however often and by whomever it is tried.
//!
//! The drafts go in one ordered `insert`, which stops at the first document that is refused: what came before is
//! stored, what comes after is not, so no seq is skipped. What refused it decides how the rest goes on.
//!
//! An `insert` whose answer was lost may still run on the server at any later time, even after its drafts were sent
//! again. It can neither store a second copy nor leave a hole:
//! - A draft keeps its `_id` for life, so of its copies only one is stored; the other stops its command.
//! - The first document of a room in a command has the seq after one that is stored, and each further one the next. It
//!   runs only after those before it in its command were stored, because the command is ordered. If one of their seqs
//!   was meanwhile taken by another document, `(room, seq)` being unique stops the command there.
//! - The next command is sent only after the one before was answered.
//!
//! Whether a draft has been stored is read from what a majority holds, like everything a client learns. Only the last
//! seq is read from what the primary has at the moment, though it may still vanish: another server's messages show
//! there one round trip earlier, without which two busy servers would not take turns. The insert that follows at once
//! goes to the same primary and comes after what was read, so it stays or vanishes with it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use mongodb::bson::{Bson, Document, RawArrayBuf, RawDocumentBuf, doc, rawdoc};
use mongodb::options::{FindOptions, ReadConcern};

use super::verdict::Verdict;
use super::{COLLECTION, MAJORITY, Mongo, NOT_IN_TIME, document, ids, read};
use crate::chat::effect::Refusal;
use crate::chat::event::Message;
use crate::ids::{MessageId, RoomId, UserId};
use crate::store::StoreSettings;
use crate::store::fault::Fault;
use crate::store::messages::{Draft, Fate, LastSeqs};

/// Documents in one command, and what they may weigh together: half of the largest command.
const MAX_DOCUMENTS: usize = StoreSettings::BATCH_RECORDS;
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// A server takes no document of 16 MiB; ours stay far below.
const MAX_DOCUMENT: usize = 15 * 1024 * 1024;

/// Users whose resends are looked for in one query.
const USERS_AT_ONCE: usize = 100;

/// What one call may take, when other servers write to the same rooms; then the rest waits for the next.
const BUDGET: Duration = Duration::from_secs(8);
/// Rounds in a row that settle no draft.
const MAX_IDLE_ROUNDS: u32 = 50;

impl Mongo {
    pub(in crate::store::messages) async fn insert(
        &self,
        seqs: &mut LastSeqs,
        drafts: &mut [Draft<'_>],
    ) -> Result<(), Fault> {
        self.ready().await?;
        let repeats = repeats(drafts);
        let doubted = |(index, draft): (usize, &Draft<'_>)| draft.stamp.in_doubt.map(|_| index);
        let doubted = drafts.iter().enumerate().filter_map(doubted).collect();
        Insertion { mongo: self, seqs, drafts, repeats, doubted, last: HashMap::new() }.run().await
    }
}

/// One call.
#[derive(Debug)]
struct Insertion<'a, 'd> {
    mongo: &'a Mongo,
    /// Gets only what is stored for good.
    seqs: &'a mut LastSeqs,
    drafts: &'a mut [Draft<'d>],
    /// Drafts that say the same as an earlier one: they get its answer.
    repeats: HashMap<usize, usize>,
    /// Drafts whose command of an earlier call was never answered: it may run at any time, so they stay in doubt until they
    /// are found, stored or refused, whatever is answered to a command of this call.
    doubted: HashSet<usize>,
    /// The last seq of each room that is written to.
    last: HashMap<RoomId, i64>,
}

/// What became of a command.
#[derive(Debug)]
struct Answer {
    /// So many documents are stored, durably.
    stored: usize,
    /// What refused the next one; `None` when all are stored.
    stopped: Option<Stopped>,
}

#[derive(Debug)]
struct Stopped {
    /// Which document. Those between the stored ones and this one, if there are any, were not tried.
    at: usize,
    code: i32,
    /// For a duplicate: whether the key is one of ours.
    our_key: bool,
}

impl Insertion<'_, '_> {
    async fn run(mut self) -> Result<(), Fault> {
        if self.drafts.iter().any(|draft| draft.fate.is_none() && draft.stamp.in_doubt.is_some()) {
            let stored = self.stored_ids(ReadConcern::majority()).await?;
            self.settle_stored(&stored);
        }
        let started = Instant::now();
        let (mut most, mut idle) = (MAX_DOCUMENTS, 0);
        loop {
            let open = self.open();
            if open.is_empty() {
                break;
            }
            if idle > MAX_IDLE_ROUNDS || started.elapsed() > BUDGET {
                return Err(NOT_IN_TIME);
            }
            self.learn(&open).await?;
            let (sent, command) = self.compose(&open, most);
            if sent.is_empty() {
                continue;
            }
            match self.mongo.command(command).await.and_then(|reply| Answer::read(&reply, sent.len())) {
                Ok(answer) => {
                    self.settle(&sent, &answer).await?;
                    most = MAX_DOCUMENTS;
                }
                // One document can spoil the whole command: look for it by halves.
                Err(Fault::Refused) if sent.len() > 1 => most = sent.len() / 2,
                Err(Fault::Refused) => {
                    let stored = self.stored_ids(ReadConcern::majority()).await?;
                    self.settle_stored(&stored);
                    self.refuse(&sent);
                    most = MAX_DOCUMENTS;
                }
                Err(Fault::Full) => {
                    // Some may have found room. What the primary does not have, it has not stored.
                    let stored = self.stored_ids(ReadConcern::local()).await?;
                    let absent = sent.iter().filter(|(index, _)| !self.is_among(*index, &stored));
                    let absent: Vec<usize> = absent.map(|(index, _)| *index).collect();
                    absent.into_iter().for_each(|index| self.undoubt(index));
                    return Err(Fault::Full);
                }
                Err(fault) => return Err(fault),
            }
            idle = if self.open().len() < open.len() { 0 } else { idle + 1 };
        }
        self.answer_repeats();
        Ok(())
    }

    /// The drafts to be sent, in their order.
    fn open(&self) -> Vec<usize> {
        let open = self.drafts.iter().enumerate().filter(|(_, draft)| draft.fate.is_none());
        open.map(|(index, _)| index).filter(|index| !self.repeats.contains_key(index)).collect()
    }

    /// Finds out the last seq of the rooms where it is not known.
    async fn learn(&mut self, open: &[usize]) -> Result<(), Fault> {
        let mut unknown = Vec::new();
        for index in open {
            let Some(draft) = self.drafts.get(*index) else { continue };
            let room = &draft.new.room;
            if !self.last.contains_key(room) {
                let known = self.seqs.get(room);
                unknown.extend(known.is_none().then(|| room.clone()));
                self.last.insert(room.clone(), known.unwrap_or(0));
            }
        }
        let learnt = self.last_seqs(&unknown).await?;
        self.last.extend(learnt);
        Ok(())
    }

    /// Numbers drafts, marks them as in doubt until there is an answer, and puts them in a command.
    fn compose(&mut self, open: &[usize], most: usize) -> (Vec<(usize, i64)>, RawDocumentBuf) {
        let mut next = self.last.clone();
        let (mut sent, mut documents, mut bytes) = (Vec::new(), RawArrayBuf::new(), 0);
        for index in open {
            let Some(draft) = self.drafts.get_mut(*index) else { continue };
            let seq = next.get(&draft.new.room).map_or(1, |last| last + 1);
            let document = document::encode(draft.new, draft.stamp, seq);
            let size = document.as_bytes().len();
            if size > MAX_DOCUMENT {
                draft.fate = Some(Fate::Refused(Refusal::Internal));
                continue;
            }
            bytes += size;
            if sent.len() >= most || (bytes > MAX_BYTES && !sent.is_empty()) {
                break;
            }
            next.insert(draft.new.room.clone(), seq);
            draft.stamp.in_doubt = Some(seq);
            documents.push(document);
            sent.push((*index, seq));
        }
        let majority = i64::try_from(MAJORITY.as_millis()).unwrap_or(i64::MAX);
        let command = rawdoc! {
            "insert": COLLECTION,
            "ordered": true,
            "writeConcern": {"w": "majority", "j": true, "wtimeout": majority},
            "documents": documents,
        };
        (sent, command)
    }

    async fn settle(&mut self, sent: &[(usize, i64)], answer: &Answer) -> Result<(), Fault> {
        for (position, (index, seq)) in sent.iter().enumerate() {
            if position >= answer.stored {
                self.undoubt(*index);
            } else if let Some(draft) = self.drafts.get_mut(*index) {
                draft.stamp.in_doubt = None;
                draft.fate = Some(Fate::Stored(*seq));
                self.last.insert(draft.new.room.clone(), *seq);
                self.seqs.set(&draft.new.room, *seq);
            }
        }
        let Some(stopped) = &answer.stopped else { return Ok(()) };
        let Some(refused) = sent.get(stopped.at..=stopped.at) else { return Ok(()) };
        match Verdict::of_code(stopped.code) {
            Verdict::Duplicate => {
                self.look_around().await?;
                if !stopped.our_key {
                    self.refuse(refused);
                }
                Ok(())
            }
            Verdict::Refused => {
                tracing::error!(code = stopped.code, "MongoDB refused a message");
                self.refuse(refused);
                Ok(())
            }
            Verdict::Full => Err(Fault::Full),
            Verdict::Down(reason) => Err(Fault::Down(reason)),
            Verdict::Late(reason) => Err(Fault::Late(reason)),
            Verdict::Operator(remedy) => Err(self.mongo.complain(remedy)),
        }
    }

    /// Some key is taken: finds out all at once which drafts are there already, which were sent before, and which
    /// number comes next in the rooms of the others.
    async fn look_around(&mut self) -> Result<(), Fault> {
        let open = self.open();
        let rooms: Vec<RoomId> =
            open.iter().filter_map(|index| self.drafts.get(*index)).map(|draft| draft.new.room.clone()).collect();
        let rooms: Vec<RoomId> = self.last.keys().filter(|room| rooms.contains(room)).cloned().collect();
        let (stored, firsts, last) = tokio::try_join!(
            self.stored_ids(ReadConcern::majority()),
            self.first_sends(&open),
            self.last_seqs(&rooms)
        )?;
        self.settle_stored(&stored);
        for (index, first) in firsts {
            let Some(draft) = self.drafts.get_mut(index).filter(|draft| draft.fate.is_none()) else { continue };
            draft.fate = Some(Fate::Duplicate(Box::new(first)));
        }
        for room in rooms {
            self.seqs.forget(&room);
            self.last.insert(room, 0);
        }
        self.last.extend(last);
        Ok(())
    }

    /// The command that this call sent a draft with was answered, and did not store it.
    fn undoubt(&mut self, index: usize) {
        if let Some(draft) = self.drafts.get_mut(index).filter(|_| !self.doubted.contains(&index)) {
            draft.stamp.in_doubt = None;
        }
    }

    fn is_among(&self, index: usize, stored: &HashMap<MessageId, i64>) -> bool {
        self.drafts.get(index).is_some_and(|draft| stored.contains_key(&draft.stamp.id))
    }

    /// The seqs of the drafts that are stored.
    async fn stored_ids(&self, concern: ReadConcern) -> Result<HashMap<MessageId, i64>, Fault> {
        let open = self.drafts.iter().filter(|draft| draft.fate.is_none());
        let open: Vec<Bson> = open.map(|draft| Bson::ObjectId(document::object_id(draft.stamp.id))).collect();
        let batch = u32::try_from(open.len()).unwrap_or(u32::MAX).saturating_add(1);
        let options =
            FindOptions::builder().projection(doc! {"seq": 1}).batch_size(batch).read_concern(concern).build();
        let mut stored = HashMap::new();
        let query = self.mongo.find(doc! {"_id": {"$in": open}}, options, |document| {
            let id = document.get("_id").ok().flatten().and_then(document::message_id);
            stored.extend(id.zip(read::seq(document)));
            std::ops::ControlFlow::Continue(())
        });
        query.await?;
        Ok(stored)
    }

    /// The messages that the users had sent before under the same `clientMsgId`, in either form of their ids.
    async fn first_sends(&self, open: &[usize]) -> Result<HashMap<usize, Message>, Fault> {
        let mut by_user: HashMap<&UserId, Vec<&str>> = HashMap::new();
        let mut asked: HashMap<(&UserId, &str), (usize, &Draft<'_>)> = HashMap::new();
        for index in open {
            let Some(draft) = self.drafts.get(*index) else { continue };
            let Some(client_msg_id) = draft.new.client_msg_id.as_deref() else { continue };
            by_user.entry(&draft.new.user).or_default().push(client_msg_id);
            asked.insert((&draft.new.user, client_msg_id), (*index, draft));
        }
        let questions = by_user.into_iter().map(|(user, client_msg_ids)| {
            let user = ids::forms(user.as_str());
            doc! {"userId": {"$in": user}, "clientMsgId": {"$in": client_msg_ids}}
        });
        let questions: Vec<Document> = questions.collect();
        let mut firsts = HashMap::new();
        for some in questions.chunks(USERS_AT_ONCE) {
            let batch = u32::try_from(2 * open.len() + 1).unwrap_or(u32::MAX);
            let options = FindOptions::builder().batch_size(batch).build();
            // Ours say in which room they are.
            let Some(room) = open.first().and_then(|index| self.drafts.get(*index)).map(|draft| &draft.new.room) else {
                break;
            };
            let query = self.mongo.find(doc! {"$or": some.to_vec()}, options, |document| {
                let message = document::decode(document, room);
                let key = message.client_msg_id.as_deref().map(|client_msg_id| (&message.user, client_msg_id));
                // The draft itself may be among them.
                if let Some((index, draft)) = key.and_then(|key| asked.get(&key))
                    && message.id != draft.stamp.id
                {
                    firsts.insert(*index, message);
                }
                std::ops::ControlFlow::Continue(())
            });
            query.await?;
        }
        Ok(firsts)
    }

    /// The last seq of each room, as the primary has it; those without messages are left out.
    async fn last_seqs(&self, rooms: &[RoomId]) -> Result<HashMap<RoomId, i64>, Fault> {
        let questions = rooms.iter().map(read::last).collect();
        let mut last = HashMap::new();
        let found = |question: usize, document: &mongodb::bson::RawDocument| {
            last.extend(rooms.get(question).cloned().zip(read::seq(document)));
        };
        self.mongo.ask(questions, ReadConcern::local(), found).await?;
        Ok(last)
    }

    fn settle_stored(&mut self, stored: &HashMap<MessageId, i64>) {
        for draft in self.drafts.iter_mut().filter(|draft| draft.fate.is_none()) {
            if let Some(seq) = stored.get(&draft.stamp.id) {
                draft.stamp.in_doubt = None;
                draft.fate = Some(Fate::Stored(*seq));
            }
        }
    }

    /// Those that were sent and are still without a fate will never be stored.
    fn refuse(&mut self, sent: &[(usize, i64)]) {
        for (index, _) in sent {
            if let Some(draft) = self.drafts.get_mut(*index).filter(|draft| draft.fate.is_none()) {
                draft.stamp.in_doubt = None;
                draft.fate = Some(Fate::Refused(Refusal::Internal));
            }
        }
    }

    fn answer_repeats(&mut self) {
        for (repeat, first) in &self.repeats {
            let answer = self.drafts.get(*first).and_then(|first| match first.fate.as_ref()? {
                Fate::Stored(seq) => {
                    let message = first.new.stored(first.stamp.id, *seq, first.stamp.timestamp);
                    Some(Fate::Duplicate(Box::new(Message { temp_id: None, ..message })))
                }
                fate @ (Fate::Duplicate(_) | Fate::Refused(_)) => Some(fate.clone()),
            });
            if let Some(draft) = self.drafts.get_mut(*repeat).filter(|draft| draft.fate.is_none()) {
                draft.fate = answer;
            }
        }
    }
}

/// For each draft that says the same as an earlier one, which.
fn repeats(drafts: &[Draft<'_>]) -> HashMap<usize, usize> {
    let mut first: HashMap<(&UserId, &str), usize> = HashMap::new();
    let mut repeats = HashMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        if let Some(id) = &draft.new.client_msg_id {
            let first = *first.entry((&draft.new.user, id)).or_insert(index);
            if first != index {
                repeats.insert(index, first);
            }
        }
    }
    repeats
}

impl Answer {
    /// What the server says of a command with so many documents. A write concern that was not reached says nothing.
    fn read(reply: &Document, sent: usize) -> Result<Self, Fault> {
        if reply.contains_key("writeConcernError") {
            return Err(Fault::Down("MongoDB could not make it durable"));
        }
        let stored = reply.get("n").and_then(number).and_then(|n| usize::try_from(n).ok());
        let error = reply.get_array("writeErrors").ok().and_then(|errors| errors.first()).and_then(Bson::as_document);
        let stopped = error.map(|error| {
            let at = error.get("index").and_then(number).and_then(|index| usize::try_from(index).ok());
            at.map(|at| Stopped {
                at,
                code: error.get("code").and_then(number).and_then(|code| i32::try_from(code).ok()).unwrap_or(0),
                our_key: error.get_document("keyPattern").map_or(true, |keys| {
                    keys.keys().next().is_some_and(|key| ["_id", "room", "userId"].contains(&key.as_str()))
                }),
            })
        });
        match (stored, stopped) {
            (Some(stored), None) if stored == sent => Ok(Self { stored, stopped: None }),
            (Some(stored), Some(Some(stopped))) if stored <= stopped.at && stopped.at < sent => {
                Ok(Self { stored, stopped: Some(stopped) })
            }
            _ => Err(Fault::Down("MongoDB gave an answer that makes no sense")),
        }
    }
}

/// A number of any type in a server's answer.
pub(super) fn number(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some((*number).into()),
        Bson::Int64(number) => Some(*number),
        Bson::Double(number) => ids::whole(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_believed_when_it_makes_sense() {
        let refused = |index: i32, keys: Document| doc! {"index": index, "code": 11000, "keyPattern": keys};
        let read = |reply: Document| Answer::read(&reply, 3).map(|a| (a.stored, a.stopped.map(|s| s.our_key)));
        assert_eq!(read(doc! {"n": 3, "ok": 1.0}), Ok((3, None)));
        assert_eq!(read(doc! {"n": 1_i64, "writeErrors": [refused(1, doc! {"room": 1})]}), Ok((1, Some(true))));
        assert_eq!(read(doc! {"n": 0, "writeErrors": [refused(2, doc! {"room": 1})]}), Ok((0, Some(true))));
        assert_eq!(read(doc! {"n": 0.0, "writeErrors": [refused(0, doc! {"content": 1})]}), Ok((0, Some(false))));
        for nonsense in [
            doc! {"n": 2},
            doc! {"ok": 1},
            doc! {"n": 2, "writeErrors": [refused(1, doc! {})]},
            doc! {"n": 1, "writeErrors": [{"code": 11000}]},
            doc! {"n": 3, "writeErrors": [refused(3, doc! {})]},
            doc! {"n": 3, "writeConcernError": {"code": 64}},
        ] {
            assert!(matches!(read(nonsense.clone()), Err(Fault::Down(_))), "{nonsense}");
        }
    }
}
