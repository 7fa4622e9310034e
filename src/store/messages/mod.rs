//! The messages side of a store: what was said, in which order, and the marks on it.
//!
//! Owns the choice between MongoDB and the embedded file, and the numbering. Does not ask who may say or read it.

mod embedded;
mod mongo;

use std::collections::HashMap;

use super::fault::Fault;
use super::reader::Reader;
use crate::chat::effect::{Missed, NewMessage, Page, PageRequest, ReceiptStatus, Refusal};
use crate::chat::event::Message;
use crate::ids::{MessageId, RoomId, Timestamp, UserId};

pub(super) use embedded::Embedded;
pub(super) use mongo::Mongo;
pub use mongo::MongoSettings;

/// What a message got from us, kept with it until it is known to be stored: sent again it is the same message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) id: MessageId,
    pub(super) timestamp: Timestamp,
    /// The number under which it was last sent to the store, when it is not known whether that arrived.
    pub(super) in_doubt: Option<i64>,
}

/// A message on its way into the store.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) new: &'a NewMessage,
    pub(super) stamp: &'a mut Stamp,
    /// `None` until it is known.
    pub(super) fate: Option<Fate>,
}

/// What became of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Stored under this seq, with the stamp's id and time.
    Stored(i64),
    /// The user had sent it before; here is the first one as stored (`temp_id` is not set).
    Duplicate(Box<Message>),
    /// The store refused it alone.
    Refused(Refusal),
}

/// A message that a receipt is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its seq; `None` for one of the replaced service.
    pub(super) seq: Option<i64>,
    /// Its author.
    pub(super) user: UserId,
    pub(super) delivered: bool,
    pub(super) read: bool,
    pub(super) timestamp: Timestamp,
}

/// Messages to be marked. Those of the reader are left alone, those that have the mark keep its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) room: RoomId,
    pub(super) user: UserId,
    pub(super) status: ReceiptStatus,
    pub(super) which: Which,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Which {
    /// One message, numbered or not.
    One(MessageId),
    /// All with a seq from the first to the second, both included.
    Seqs(i64, i64),
}

/// The same for the messages without a seq up to a time, those of the replaced service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OldMark {
    pub(super) room: RoomId,
    pub(super) user: UserId,
    pub(super) status: ReceiptStatus,
    pub(super) until: Timestamp,
}

/// The last seq of the rooms that a lane has lately written to, so that most batches need not ask. May be behind when
/// another server writes; the unique index tells.
#[derive(Debug, Default)]
pub(super) struct LastSeqs(HashMap<RoomId, i64>);

impl LastSeqs {
    /// About 2 MB with ids of ordinary length; when full, all are forgotten and asked again.
    const CAPACITY: usize = 20_000;

    pub(super) fn get(&self, room: &RoomId) -> Option<i64> {
        self.0.get(room).copied()
    }

    pub(super) fn set(&mut self, room: &RoomId, seq: i64) {
        if self.0.len() >= Self::CAPACITY && !self.0.contains_key(room) {
            self.0.clear();
        }
        self.0.insert(room.clone(), seq);
    }

    pub(super) fn forget(&mut self, room: &RoomId) {
        self.0.remove(room);
    }
}

/// Where the messages are.
#[derive(Debug)]
pub(super) enum Messages {
    Mongo(Box<Mongo>),
    Embedded(Embedded),
}

impl Messages {
    /// Brings the side up if it is not: connects, makes the indexes. Cheap once it succeeded.
    pub(super) async fn ready(&self) -> Result<(), Fault> {
        match self {
            Self::Mongo(mongo) => mongo.ready().await,
            // Asked by a task of the drivers' threads, while a lane may hold the file.
            Self::Embedded(embedded) => tokio::task::block_in_place(|| embedded.ready()),
        }
    }

    /// Asks for a sign of life.
    pub(super) async fn ping(&self) -> Result<(), Fault> {
        match self {
            Self::Mongo(mongo) => mongo.ping().await,
            Self::Embedded(_) => Ok(()),
        }
    }

    /// Stores drafts, those of one room in their order and under consecutive seqs, durably. A draft that the store
    /// refuses fails alone and takes no seq. On a fault the drafts without a fate are to be given again, first of
    /// their rooms; those that may have arrived are then found by their stamp.
    pub(super) async fn insert(&self, seqs: &mut LastSeqs, drafts: &mut [Draft<'_>]) -> Result<(), Fault> {
        match self {
            Self::Mongo(mongo) => mongo.insert(seqs, drafts).await,
            Self::Embedded(embedded) => embedded.insert(drafts),
        }
    }

    /// The messages of these ids, each looked for in its room; in one query.
    pub(super) async fn targets(&self, wanted: &[(RoomId, MessageId)]) -> Result<Vec<Option<Target>>, Fault> {
        match self {
            Self::Mongo(mongo) => mongo.targets(wanted).await,
            Self::Embedded(embedded) => embedded.targets(wanted),
        }
    }

    /// Seq and author of the messages after `after`, ascending, at most `limit`.
    pub(super) async fn authors(&self, room: &RoomId, after: i64, limit: usize) -> Result<Vec<(i64, UserId)>, Fault> {
        match self {
            Self::Mongo(mongo) => mongo.authors(room, after, limit).await,
            Self::Embedded(embedded) => embedded.authors(room, after, limit),
        }
    }

    /// Marks messages delivered or read, in one bulk write.
    pub(super) async fn mark(&self, marks: &[Mark], now: Timestamp) -> Result<(), Fault> {
        match self {
            Self::Mongo(mongo) => mongo.mark(marks, now).await,
            Self::Embedded(embedded) => embedded.mark(marks, now),
        }
    }

    /// Marks messages of the replaced service, from the newest down and no more than takes a few seconds. For each mark
    /// whether it changed a message.
    pub(super) async fn mark_old(&self, marks: &[OldMark], now: Timestamp) -> Result<Vec<bool>, Fault> {
        match self {
            Self::Mongo(mongo) => mongo.mark_old(marks, now).await,
            // The file never held any.
            Self::Embedded(_) => Ok(vec![false; marks.len()]),
        }
    }

    /// Seq of the latest message, 0 when there is none.
    pub(super) async fn last_seq(&self, room: &RoomId) -> Result<i64, Fault> {
        match self {
            Self::Mongo(mongo) => mongo.last_seq(room).await,
            Self::Embedded(embedded) => embedded.last_seq(room),
        }
    }

    /// Messages of others that the user has not read, counted up to [`Joined::MAX_UNREAD`](crate::chat::effect::Joined::MAX_UNREAD).
    pub(super) async fn unread(&self, room: &RoomId, user: &UserId, reader: &Reader) -> Result<u64, Fault> {
        match self {
            Self::Mongo(mongo) => mongo.unread(room, user, reader).await,
            Self::Embedded(embedded) => embedded.unread(room, user, reader),
        }
    }

    /// What came after `since` up to `fence`, oldest first, as much as [`Missed`] may hold.
    pub(super) async fn missed(&self, room: &RoomId, since: i64, fence: i64) -> Result<Missed, Fault> {
        match self {
            Self::Mongo(mongo) => mongo.missed(room, since, fence).await,
            Self::Embedded(embedded) => embedded.missed(room, since, fence),
        }
    }

    /// One page of a room's history.
    pub(super) async fn page(&self, room: &RoomId, request: &PageRequest) -> Result<Page, Fault> {
        match self {
            Self::Mongo(mongo) => mongo.page(room, request).await,
            Self::Embedded(embedded) => embedded.page(room, request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r5_the_last_seqs_that_are_remembered_are_bounded() {
        let room = |number: usize| RoomId::from_text(&number.to_string()).unwrap();
        let mut seqs = LastSeqs::default();
        for number in 0..LastSeqs::CAPACITY {
            seqs.set(&room(number), 5);
        }
        seqs.set(&room(0), 6);
        assert_eq!((seqs.get(&room(0)), seqs.get(&room(1))), (Some(6), Some(5)), "full, and nothing is forgotten");
        seqs.set(&room(LastSeqs::CAPACITY), 1);
        assert_eq!(seqs.0.len(), 1);
        assert_eq!((seqs.get(&room(0)), seqs.get(&room(LastSeqs::CAPACITY))), (None, Some(1)), "asked again");
    }
}
