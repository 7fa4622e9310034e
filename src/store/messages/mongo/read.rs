//! Questions about messages: by id, by seq, counted, and what somebody missed.

use std::collections::HashMap;
use std::ops::ControlFlow::Continue;

use mongodb::bson::{Bson, Document, RawBsonRef, RawDocument, doc};
use mongodb::options::{FindOptions, ReadConcern};

use super::{Mongo, document, ids};
use crate::chat::effect::{Joined, Missed, PageRequest, ReceiptStatus};
use crate::ids::{MessageId, RoomId, UserId};
use crate::store::fault::Fault;
use crate::store::messages::Target;
use crate::store::reader::{MAX_UNREAD_STEPS, Reader};

/// How many documents come in one answer: 10 MB if each is as large as can be, one round trip for a page of usual size.
pub(super) const BATCH: u32 = 101;

/// The query for the numbered messages of a room after a seq.
pub(super) fn after(room: &RoomId, seq: i64) -> Document {
    // No seq is below 1; saying so lets the partial index serve the query.
    doc! {"room": room.as_str(), "seq": {"$gt": seq.max(0)}}
}

/// The last seq of a room as a question for [`Mongo::ask`].
pub(super) fn last(room: &RoomId) -> Vec<Document> {
    vec![
        doc! {"$match": after(room, 0)},
        doc! {"$sort": {"seq": -1}},
        doc! {"$limit": 1},
        doc! {"$project": {"_id": 0, "seq": 1}},
    ]
}

pub(super) fn seq(document: &RawDocument) -> Option<i64> {
    document.get("seq").ok().flatten().and_then(ids::integer)
}

impl Mongo {
    pub(in crate::store::messages) async fn targets(
        &self,
        wanted: &[(RoomId, MessageId)],
    ) -> Result<Vec<Option<Target>>, Fault> {
        let all: Vec<Bson> = wanted.iter().map(|(_, id)| Bson::ObjectId(document::object_id(*id))).collect();
        let fields =
            doc! {"seq": 1, "room": 1, "conversationId": 1, "userId": 1, "delivered": 1, "read": 1, "timestamp": 1};
        let options = FindOptions::builder().projection(fields).batch_size(BATCH).build();
        let mut found = HashMap::with_capacity(wanted.len());
        self.find(doc! {"_id": {"$in": all}}, options, |document| {
            if let Some((id, room, target)) = target(document) {
                found.insert((id, room), target);
            }
            Continue(())
        })
        .await?;
        Ok(wanted.iter().map(|(room, id)| found.get(&(*id, room.clone())).cloned()).collect())
    }

    pub(in crate::store::messages) async fn authors(
        &self,
        room: &RoomId,
        after_seq: i64,
        limit: usize,
    ) -> Result<Vec<(i64, UserId)>, Fault> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let options = FindOptions::builder()
            .projection(doc! {"_id": 0, "seq": 1, "userId": 1})
            .sort(doc! {"seq": 1})
            .limit(i64::from(limit))
            .batch_size(limit.saturating_add(1))
            .build();
        let mut authors = Vec::new();
        self.find(after(room, after_seq), options, |document| {
            let user = document.get("userId").ok().flatten().and_then(ids::user);
            authors.extend(seq(document).map(|seq| (seq, user.unwrap_or_else(UserId::nobody))));
            Continue(())
        })
        .await?;
        Ok(authors)
    }

    pub(in crate::store::messages) async fn last_seq(&self, room: &RoomId) -> Result<i64, Fault> {
        let mut newest = 0;
        self.ask(vec![last(room)], ReadConcern::majority(), |_, document| newest = seq(document).unwrap_or(0)).await?;
        Ok(newest)
    }

    pub(in crate::store::messages) async fn unread(
        &self,
        room: &RoomId,
        user: &UserId,
        reader: &Reader,
    ) -> Result<u64, Fault> {
        let read = reader.watermark(ReceiptStatus::Read);
        let singly: Vec<i64> = reader
            .single()
            .iter()
            .filter_map(|(seq, status)| (*seq > read && *status == ReceiptStatus::Read).then_some(*seq))
            .collect();
        let question = vec![
            doc! {"$match": after(room, read)},
            doc! {"$sort": {"seq": -1}},
            doc! {"$limit": MAX_UNREAD_STEPS},
            doc! {"$match": {"userId": {"$nin": ids::forms(user.as_str())}, "seq": {"$nin": singly}}},
            doc! {"$limit": i64::try_from(Joined::MAX_UNREAD).unwrap_or(i64::MAX)},
            doc! {"$count": "unread"},
        ];
        let mut unread = 0;
        self.ask(vec![question], ReadConcern::majority(), |_, document| {
            unread = document.get("unread").ok().flatten().and_then(ids::integer).unwrap_or(0);
        })
        .await?;
        Ok(u64::try_from(unread).unwrap_or(0))
    }

    /// A page like any other, so that who has not even seen all of the replaced service's messages gets those too.
    pub(in crate::store::messages) async fn missed(
        &self,
        room: &RoomId,
        since: i64,
        fence: i64,
    ) -> Result<Missed, Fault> {
        let (before, limit) = (Some(fence.saturating_add(1)), Missed::MAX_MESSAGES);
        let page = self.page(room, &PageRequest { before, after: Some(since), limit }).await?;
        Ok(Missed { messages: page.messages, complete: !page.has_more })
    }
}

/// What a receipt needs to know of a message, and which message of which room it is.
fn target(document: &RawDocument) -> Option<(MessageId, RoomId, Target)> {
    let get = |name: &str| document.get(name).ok().flatten();
    let flag = |name: &str| get(name) == Some(RawBsonRef::Boolean(true));
    let target = Target {
        seq: seq(document),
        user: get("userId").and_then(ids::user).unwrap_or_else(UserId::nobody),
        delivered: flag("delivered"),
        read: flag("read"),
        timestamp: document::time(document),
    };
    let room = get("room").and_then(ids::room).or_else(|| get("conversationId").and_then(ids::room))?;
    Some((get("_id").and_then(document::message_id)?, room, target))
}
