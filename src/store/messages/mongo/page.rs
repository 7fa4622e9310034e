//! Pages of a room's history, over our messages and those of the replaced service.
//!
//! The latter have no seq. They stand before seq 1 by (timestamp, _id), under 0, -1, -2 … from the newest backwards:
//! the one under `-n` is found by passing over the `n` newest, or over those since a place near it that is known.

use std::ops::{ControlFlow, Range};

use mongodb::bson::doc;
use mongodb::options::FindOptions;

use super::place::{Place, index, newest_first};
use super::read::BATCH;
use super::{Mongo, document};
use crate::chat::effect::{Page, PageRequest};
use crate::chat::event::Message;
use crate::ids::RoomId;
use crate::store::fault::Fault;
use crate::store::page::PageBuilder;

/// Towards newer messages and towards older ones, as a sort order.
const UP: i32 = 1;
const DOWN: i32 = -1;

impl Mongo {
    pub(in crate::store::messages) async fn page(&self, room: &RoomId, request: &PageRequest) -> Result<Page, Fault> {
        let before = request.before.unwrap_or(i64::MAX);
        let mut page = PageBuilder::new(request);
        match request.after {
            None => {
                self.numbered(room, 0, before, DOWN, &mut page).await?;
                self.unnumbered(room, ages(i64::MIN, before), DOWN, &mut page).await?;
            }
            Some(after) => {
                self.unnumbered(room, ages(after, before), UP, &mut page).await?;
                self.numbered(room, after, before, UP, &mut page).await?;
            }
        }
        Ok(page.finish())
    }

    /// Adds messages with a seq between the two.
    async fn numbered(
        &self,
        room: &RoomId,
        after: i64,
        before: i64,
        order: i32,
        page: &mut PageBuilder,
    ) -> Result<(), Fault> {
        if page.is_full() || before <= 1 {
            return Ok(());
        }
        let filter = doc! {"room": room.as_str(), "seq": {"$gt": after.max(0), "$lt": before}};
        let limit = i64::try_from(page.wanted()).unwrap_or(i64::MAX);
        let options = FindOptions::builder().sort(doc! {"seq": order}).limit(limit).batch_size(BATCH).build();
        self.find(filter, options, |document| add(page, document::decode(document, room))).await
    }

    /// Adds messages without a seq, chosen by how many are newer.
    async fn unnumbered(
        &self,
        room: &RoomId,
        ages: Range<u64>,
        order: i32,
        page: &mut PageBuilder,
    ) -> Result<(), Fault> {
        if page.is_full() || ages.is_empty() {
            return Ok(());
        }
        let wanted = u64::try_from(page.wanted()).unwrap_or(u64::MAX);
        // Asked for newest first in any case, because that is how they are counted.
        let ages = if order == DOWN {
            ages
        } else {
            let end = self.first_missing(room, ages.end).await?;
            ages.start.max(end.saturating_sub(wanted))..end
        };
        let limit = wanted.min(ages.end.saturating_sub(ages.start));
        if limit == 0 {
            return Ok(());
        }
        let start = self.walk_to(room, ages.start).await?;
        let end = ages.start.saturating_add(limit);
        let (mut age, mut last, mut upwards) = (ages.start, None, Vec::new());
        for filter in start.filters(room) {
            if age >= end || page.is_full() {
                break;
            }
            let options = FindOptions::builder()
                .hint(index())
                .sort(newest_first())
                .skip(start.skip(age))
                .limit(i64::try_from(end - age).unwrap_or(i64::MAX))
                .batch_size(BATCH)
                .build();
            self.find(filter, options, |document| {
                let seq = -i64::try_from(age).unwrap_or(i64::MAX);
                let message = Message { seq, ..document::decode(document, room) };
                age += 1;
                last = Place::of(document);
                if order == DOWN {
                    return add(page, message);
                }
                upwards.push(message);
                ControlFlow::Continue(())
            })
            .await?;
        }
        if let Some(last) = last {
            self.places.keep(room, age, last);
        }
        for message in upwards.into_iter().rev() {
            if add(page, message).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The lowest age that no message has, or this one if that is lower.
    async fn first_missing(&self, room: &RoomId, age: u64) -> Result<u64, Fault> {
        let start = self.walk_to(room, age).await?;
        let most = start.skip(age).min(self.places.stride);
        if most == 0 {
            return Ok(age);
        }
        let filter = start.all(room);
        let query = async {
            self.messages().await?.count_documents(filter).hint(index()).limit(most).max_time(super::READ).await
        };
        Ok(start.age(self.bounded(super::READ, query).await?))
    }
}

fn add(page: &mut PageBuilder, message: Message) -> ControlFlow<()> {
    if page.push(message) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// More than any room has, and far from what a server cannot add to.
const MOST: u64 = 1 << 53;

/// How many newer messages without a seq those have that stand between the two: `0..` are all of them.
fn ages(after: i64, before: i64) -> Range<u64> {
    let newer = |seq: i64| u64::try_from(seq.saturating_neg()).unwrap_or(0).min(MOST);
    let start = if before > 0 { 0 } else { newer(before).saturating_add(1) };
    start..newer(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_on_seqs_is_a_range_of_ages() {
        for ((after, before), expected) in [
            ((i64::MIN, i64::MAX), 0..MOST),
            ((i64::MIN, 1), 0..MOST),
            ((i64::MIN, 0), 1..MOST),
            ((i64::MIN, -49), 50..MOST),
            ((-3, 1), 0..3),
            ((-3, 0), 1..3),
            ((-1, 5), 0..1),
        ] {
            assert_eq!(ages(after, before), expected, "{after} {before}");
        }
        for (after, before) in [(0, 5), (7, i64::MAX), (-3, -3), (-3, -2), (2, -5)] {
            assert!(ages(after, before).is_empty(), "{after} {before}");
        }
    }
}
