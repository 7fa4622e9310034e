//! Marking messages delivered and read.

use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};

use super::insert::number;
use super::verdict::Verdict;
use super::{COLLECTION, MAJORITY, Mongo, document, ids};
use crate::chat::effect::ReceiptStatus;
use crate::ids::Timestamp;
use crate::store::fault::Fault;
use crate::store::messages::{Mark, Which};

/// Statements in one command.
const MAX_STATEMENTS: usize = 500;

impl Mongo {
    pub(in crate::store::messages) async fn mark(&self, marks: &[Mark], now: Timestamp) -> Result<(), Fault> {
        for marks in marks.chunks(MAX_STATEMENTS) {
            self.update(marks.iter().map(|mark| statement(mark, now)).collect()).await?;
        }
        Ok(())
    }

    /// Makes marks in one command.
    pub(super) async fn update(&self, statements: Vec<Document>) -> Result<(), Fault> {
        let majority = i64::try_from(MAJORITY.as_millis()).unwrap_or(i64::MAX);
        let command = doc! {
            "update": COLLECTION,
            "updates": statements,
            "ordered": false,
            "writeConcern": {"w": "majority", "j": true, "wtimeout": majority},
        };
        let reply = self.command(RawDocumentBuf::try_from(&command).map_err(|_| Fault::Refused)?).await?;
        if reply.contains_key("writeConcernError") {
            return Err(Fault::Down("MongoDB could not make it durable"));
        }
        for error in reply.get_array("writeErrors").into_iter().flatten().filter_map(Bson::as_document) {
            let code = error.get("code").and_then(number).and_then(|code| i32::try_from(code).ok()).unwrap_or(0);
            match Verdict::of_code(code) {
                Verdict::Down(reason) => return Err(Fault::Down(reason)),
                Verdict::Full => return Err(Fault::Full),
                Verdict::Operator(remedy) => return Err(self.complain(remedy)),
                // A rule of the collection, say, that old messages do not meet; the others are marked.
                Verdict::Late(reason) => return Err(Fault::Late(reason)),
                Verdict::Duplicate | Verdict::Refused => tracing::error!(code, "MongoDB refused to mark a message"),
            }
        }
        Ok(())
    }
}

/// The messages that the mark is for and that do not have it.
fn query(mark: &Mark) -> Document {
    let mut query = match &mark.which {
        Which::One(id) => doc! {"_id": document::object_id(*id)},
        Which::Seqs(first, last) => {
            doc! {"room": mark.room.as_str(), "seq": {"$gte": (*first).max(1), "$lte": *last}}
        }
    };
    query.insert("userId", doc! {"$nin": ids::forms(mark.user.as_str())});
    query.insert(mark.status.as_str(), doc! {"$ne": true});
    query
}

fn statement(mark: &Mark, now: Timestamp) -> Document {
    let multi = !matches!(mark.which, Which::One(_));
    doc! {"q": query(mark), "u": [{"$set": set(mark.status, now)}], "multi": multi}
}

/// What a mark changes in a message that does not have it.
pub(super) fn set(status: ReceiptStatus, now: Timestamp) -> Document {
    let now = document::date(now);
    let delivered_at = doc! {"$ifNull": ["$deliveredAt", now]};
    match status {
        ReceiptStatus::Delivered => doc! {"delivered": true, "deliveredAt": delivered_at},
        ReceiptStatus::Read => doc! {"delivered": true, "deliveredAt": delivered_at, "read": true, "readAt": now},
    }
}
