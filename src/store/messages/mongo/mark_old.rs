//! Marking messages of the replaced service, of which a room may have any number.
//!
//! They are gone through from the newest down, in steps that each take a small part of the time that a question has.

use std::collections::HashMap;
use std::ops::ControlFlow::Continue;
use std::time::{Duration, Instant};

use mongodb::bson::{Bson, Document, RawBsonRef, doc};
use mongodb::options::FindOptions;

use super::mark::set;
use super::place::{Place, index, newest_first, unnumbered};
use super::{Mongo, document, ids};
use crate::chat::effect::ReceiptStatus;
use crate::ids::{RoomId, Timestamp, UserId};
use crate::store::fault::Fault;
use crate::store::messages::OldMark;

/// Messages looked at by one question, and changed by one command at most.
const STEP: u32 = 500;
/// Steps for one mark: older messages than these stay as they are. 25 pages of the longest.
const STEPS: u32 = 10;
/// When this is over, each further mark of the call gets only its first step.
const BUDGET: Duration = Duration::from_secs(2);

/// What marking needs to know of a message.
struct Old {
    id: Bson,
    user: UserId,
    delivered: bool,
    read: bool,
}

impl Mongo {
    pub(in crate::store::messages) async fn mark_old(
        &self,
        marks: &[OldMark],
        now: Timestamp,
    ) -> Result<Vec<bool>, Fault> {
        self.mark_in_steps(marks, now, STEP, STEPS).await
    }

    /// Marks of one room up to one time go through its messages together.
    pub(super) async fn mark_in_steps(
        &self,
        marks: &[OldMark],
        now: Timestamp,
        step: u32,
        steps: u32,
    ) -> Result<Vec<bool>, Fault> {
        let mut together: HashMap<(&RoomId, Timestamp), Vec<(usize, &OldMark)>> = HashMap::new();
        for (index, mark) in marks.iter().enumerate() {
            together.entry((&mark.room, mark.until)).or_default().push((index, mark));
        }
        let mut changed = vec![false; marks.len()];
        let began = Instant::now();
        for ((room, until), marks) in together {
            let mut below = unnumbered(room);
            below.insert("timestamp", doc! {"$lte": document::date(until)});
            for _ in 0..steps {
                let (messages, last) = self.step(below, step).await?;
                let statements = statements(&messages, &marks, now, &mut changed);
                if !statements.is_empty() {
                    self.update(statements).await?;
                }
                let Some(last) = last.filter(|_| began.elapsed() < BUDGET) else { break };
                below = last.older(room);
            }
        }
        Ok(changed)
    }

    /// The newest of those messages, and the place of the last when there may be more.
    async fn step(&self, of: Document, most: u32) -> Result<(Vec<Old>, Option<Place>), Fault> {
        let options = FindOptions::builder()
            .projection(doc! {"timestamp": 1, "userId": 1, "delivered": 1, "read": 1})
            .hint(index())
            .sort(newest_first())
            .limit(i64::from(most))
            .batch_size(most.saturating_add(1))
            .build();
        let (mut messages, mut last) = (Vec::new(), None);
        let mut found = 0;
        self.find(of, options, |document| {
            let get = |name: &str| document.get(name).ok().flatten();
            let flag = |name: &str| get(name) == Some(RawBsonRef::Boolean(true));
            found += 1;
            last = Place::of(document);
            messages.extend(get("_id").and_then(|id| Bson::try_from(id).ok()).map(|id| Old {
                id,
                user: get("userId").and_then(ids::user).unwrap_or_else(UserId::nobody),
                delivered: flag("delivered"),
                read: flag("read"),
            }));
            Continue(())
        })
        .await?;
        Ok((messages, last.filter(|_| found == most)))
    }
}

/// What makes the marks on these messages, one statement for each status, and which of the marks change any.
fn statements(messages: &[Old], marks: &[(usize, &OldMark)], now: Timestamp, changed: &mut [bool]) -> Vec<Document> {
    let mut statements = Vec::new();
    for status in [ReceiptStatus::Delivered, ReceiptStatus::Read] {
        let marks = || marks.iter().filter(|(_, mark)| mark.status == status);
        let mut ids = Vec::new();
        for message in messages {
            let has_mark = match status {
                ReceiptStatus::Delivered => message.delivered,
                ReceiptStatus::Read => message.read,
            };
            let mut lacking = marks().filter(|(_, mark)| !has_mark && mark.user != message.user).peekable();
            ids.extend(lacking.peek().map(|_| message.id.clone()));
            lacking.for_each(|(index, _)| changed.iter_mut().skip(*index).take(1).for_each(|mark| *mark = true));
        }
        if !ids.is_empty() {
            let query = doc! {"_id": {"$in": ids}, status.as_str(): {"$ne": true}};
            statements.push(doc! {"q": query, "u": [{"$set": set(status, now)}], "multi": true});
        }
    }
    statements
}
