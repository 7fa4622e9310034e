//! Marking messages delivered and read.

use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::options::ReadConcern;

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
    /// The server only says how many messages a whole command changed. So for several marks it is first asked which
    /// have something to change; a mark that another server makes at the same moment is then changed by both.
    pub(in crate::store::messages) async fn mark(&self, marks: &[Mark], now: Timestamp) -> Result<Vec<bool>, Fault> {
        let mut changed = vec![marks.len() == 1; marks.len()];
        if marks.len() > 1 {
            let questions = marks.iter().map(|mark| vec![doc! {"$match": query(mark)}, doc! {"$limit": 1}]);
            let found =
                |question: usize, _: &_| changed.iter_mut().skip(question).take(1).for_each(|mark| *mark = true);
            self.ask(questions.collect(), ReadConcern::majority(), found).await?;
        }
        let open: Vec<&Mark> = marks.iter().zip(&changed).filter(|(_, open)| **open).map(|(mark, _)| mark).collect();
        let mut modified = 0;
        for marks in open.chunks(MAX_STATEMENTS) {
            modified += self.update(marks, now).await?;
        }
        if let [only] = changed.as_mut_slice() {
            *only = modified > 0;
        }
        Ok(changed)
    }

    /// Makes the marks in one command; how many messages it changed.
    async fn update(&self, marks: &[&Mark], now: Timestamp) -> Result<i64, Fault> {
        let statements: Vec<Bson> = marks.iter().map(|mark| Bson::Document(statement(mark, now))).collect();
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
        Ok(reply.get("nModified").and_then(number).unwrap_or(0))
    }
}

/// The messages that the mark is for and that do not have it.
fn query(mark: &Mark) -> Document {
    let mut query = match &mark.which {
        Which::One(id) => doc! {"_id": document::object_id(*id)},
        Which::Seqs(first, last) => {
            doc! {"room": mark.room.as_str(), "seq": {"$gte": (*first).max(1), "$lte": *last}}
        }
        Which::Unnumbered(until) => doc! {
            "conversationId": {"$in": ids::forms(mark.room.as_str())},
            "seq": null,
            "timestamp": {"$lte": document::date(*until)},
        },
    };
    query.insert("userId", doc! {"$nin": ids::forms(mark.user.as_str())});
    query.insert(mark.status.as_str(), doc! {"$ne": true});
    query
}

fn statement(mark: &Mark, now: Timestamp) -> Document {
    let now = document::date(now);
    let delivered_at = doc! {"$ifNull": ["$deliveredAt", now]};
    let set = match mark.status {
        ReceiptStatus::Delivered => doc! {"delivered": true, "deliveredAt": delivered_at},
        ReceiptStatus::Read => doc! {"delivered": true, "deliveredAt": delivered_at, "read": true, "readAt": now},
    };
    let multi = !matches!(mark.which, Which::One(_));
    doc! {"q": query(mark), "u": [{"$set": set}], "multi": multi}
}
