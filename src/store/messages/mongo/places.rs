//! Places in the history of rooms that somebody paged to lately, so that the next page begins there.
//!
//! Owns the way to a place: an age (how many messages of the replaced service are newer) is only found by counting, and
//! in a room with a million of them counting from the newest would take seconds. Pages follow each other, so the
//! neighbourhood of the next one is known; what is not is walked to, a bounded way for each question.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow::Break;
use std::sync::{Mutex, PoisonError};

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;

use super::Mongo;
use super::place::{Place, index, newest_first, unnumbered};
use crate::ids::RoomId;
use crate::store::fault::Fault;

/// Messages that one question may pass over: some ten milliseconds of a server.
const STRIDE: u64 = 20_000;
/// Strides of one call. It fails when that was not enough, and asked again goes on from where it came.
const STRIDES: u32 = 5;
const TOO_FAR: Fault = Fault::Late("a page is too far from those that were read lately");
/// Places are kept this far apart.
const APART: u64 = 500;
/// Places kept; when there are more, all are forgotten and walked to again. About 2 MB.
const CAPACITY: usize = 10_000;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Places {
    known: Mutex<Known>,
    /// [`STRIDE`], less in tests.
    pub(super) stride: u64,
    /// [`APART`], less in tests.
    pub(super) apart: u64,
}

impl Default for Places {
    fn default() -> Self {
        Self { known: Mutex::default(), stride: STRIDE, apart: APART }
    }
}

#[derive(Debug, Default)]
struct Known {
    /// By age: of the place's message and one more, so of the first that is older.
    rooms: HashMap<RoomId, BTreeMap<u64, Place>>,
    count: usize,
}

impl Places {
    /// The known place nearest before the message of that age: `age` is the first that is older than it.
    fn nearest(&self, room: &RoomId, age: u64) -> Option<(u64, Place)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.rooms.get(room)?.range(..=age).next_back().map(|(age, place)| (*age, place.clone()))
    }

    /// Keeps the place of the message before the one of that age.
    pub(super) fn keep(&self, room: &RoomId, age: u64, place: Place) {
        if self.nearest(room, age).map_or(age, |(near, _)| age - near) < self.apart {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.count >= CAPACITY {
            *known = Known::default();
        }
        if known.rooms.entry(room.clone()).or_default().insert(age, place).is_none() {
            known.count += 1;
        }
    }
}

/// Where to begin to look for a room's messages of some age and more.
#[derive(Debug)]
pub(super) struct Start {
    /// Of the first message that is found from here.
    age: u64,
    /// `None`: at the newest of the room.
    place: Option<Place>,
}

impl Start {
    /// Messages to pass over to the one of that age.
    pub(super) fn skip(&self, age: u64) -> u64 {
        age.saturating_sub(self.age)
    }

    /// The age of the message after so many.
    pub(super) fn age(&self, passed: u64) -> u64 {
        self.age.saturating_add(passed)
    }

    /// Finds all messages from here.
    pub(super) fn all(&self, room: &RoomId) -> Document {
        self.place.as_ref().map_or_else(|| unnumbered(room), |place| place.older_or_undated(room))
    }

    /// What to look with: if the first does not find enough, the second finds the rest as well.
    pub(super) fn filters(&self, room: &RoomId) -> impl Iterator<Item = Document> {
        let first = self.place.as_ref().map(|place| place.older(room));
        first.into_iter().chain([self.all(room)])
    }
}

impl Mongo {
    /// Where to look for the message of that age: it is there within [`STRIDE`] messages, or there is none so old.
    ///
    /// # Errors
    /// [`Fault::Late`] when it is too far from every place that is known.
    pub(super) async fn walk_to(&self, room: &RoomId, age: u64) -> Result<Start, Fault> {
        let mut start = match self.places.nearest(room, age) {
            Some((age, place)) => Start { age, place: Some(place) },
            None => Start { age: 0, place: None },
        };
        let stride = self.places.stride;
        for _ in 0..STRIDES {
            if start.skip(age) < stride {
                return Ok(start);
            }
            let options = FindOptions::builder()
                .projection(doc! {"timestamp": 1})
                .hint(index())
                .sort(newest_first())
                .skip(stride - 1)
                .limit(1)
                .build();
            let filter = start.place.as_ref().map_or_else(|| unnumbered(room), |place| place.older(room));
            let mut there = None;
            self.find(filter, options, |document| {
                there = Place::of(document);
                Break(())
            })
            .await?;
            // The room ends before, but for messages without a date, of which there are few if any.
            let Some(place) = there else { return Ok(start) };
            let reached = start.age(stride);
            self.places.keep(room, reached, place.clone());
            start = Start { age: reached, place: Some(place) };
        }
        Err(TOO_FAR)
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{DateTime, oid::ObjectId, rawdoc};

    use super::*;

    fn place(n: u64) -> Place {
        let time = DateTime::from_millis(i64::try_from(n).unwrap());
        Place::of(&rawdoc! {"_id": ObjectId::from_bytes([0; 12]), "timestamp": time}).unwrap()
    }

    #[test]
    fn places_are_kept_apart_and_found_from_below() {
        let (places, room) = (Places::default(), |id: &str| RoomId::from_text(id).unwrap());
        for age in [499, 500, 700, 1000, 999, 5000] {
            places.keep(&room("a"), age, place(age));
        }
        let nearest = |age| places.nearest(&room("a"), age).map(|(age, _)| age);
        let found = [0, 499, 500, 999, 1000, 4999, 5000, u64::MAX].map(nearest);
        assert_eq!(found, [None, None, Some(500), Some(500), Some(1000), Some(1000), Some(5000), Some(5000)]);
        assert_eq!(places.nearest(&room("b"), 5000), None);
    }

    #[test]
    fn full_of_places_all_are_forgotten() {
        let (places, room) = (Places::default(), RoomId::from_text("a").unwrap());
        for n in 1..=CAPACITY as u64 {
            places.keep(&room, n * APART, place(n));
        }
        assert_eq!(places.nearest(&room, APART).map(|(age, _)| age), Some(APART));
        let last = (CAPACITY as u64 + 1) * APART;
        places.keep(&room, last, place(1));
        assert_eq!(places.nearest(&room, last - 1), None);
        assert_eq!(places.nearest(&room, last), Some((last, place(1))));
    }
}
