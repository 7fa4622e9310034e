//! Who may be in a room: everybody whom a join let in and who was not told to be out since.
//!
//! Apart from the cache of answers, whose entries come and go with announcements and age: whoever reads in silence asks
//! nothing for days and is in the room all the same. Nobody says here when somebody leaves, so a seat stays listed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::store::Seat;

/// Seats listed: 15 rooms for each of 65,000 clients, about 200 MB with ids of ordinary length, and what a sweep asks
/// about in some seconds. One more displaces the seat whose latest join is longest ago, most likely of somebody who has
/// left; whoever is still there is put out and may join again, because nobody is to sit where no sweep looks.
const CAPACITY: usize = 1_000_000;

/// See the module's text. Shared by all lanes.
#[derive(Debug)]
pub(super) struct LetIn {
    listed: Mutex<Listed>,
    has_displaced: Notify,
}

#[derive(Debug)]
struct Listed {
    capacity: usize,
    /// Each with the number of its latest join.
    seats: HashMap<Seat, u64>,
    by_join: BTreeMap<u64, Seat>,
    joins: u64,
    /// To be told. Taken at once, unless a sweep waits for the structure: then no more seats than the joins meanwhile.
    displaced: Vec<Seat>,
}

impl Default for LetIn {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl LetIn {
    fn new(capacity: usize) -> Self {
        let (seats, by_join, displaced) = (HashMap::new(), BTreeMap::new(), Vec::new());
        let listed = Mutex::new(Listed { capacity, seats, by_join, joins: 0, displaced });
        Self { listed, has_displaced: Notify::new() }
    }

    /// A join of this seat is about to be answered with yes.
    pub(super) fn add(&self, seat: &Seat) {
        let mut listed = self.listed();
        let number = listed.joins;
        listed.joins += 1;
        listed.by_join.insert(number, seat.clone());
        if let Some(before) = listed.seats.insert(seat.clone(), number) {
            listed.by_join.remove(&before);
        }
        if listed.seats.len() > listed.capacity
            && let Some((_, oldest)) = listed.by_join.pop_first()
        {
            listed.seats.remove(&oldest);
            listed.displaced.push(oldest);
            self.has_displaced.notify_one();
        }
    }

    pub(super) fn contains(&self, seat: &Seat) -> bool {
        self.listed().seats.contains_key(seat)
    }

    /// The user is told to be out.
    pub(super) fn remove(&self, seat: &Seat) {
        let mut listed = self.listed();
        if let Some(number) = listed.seats.remove(seat) {
            listed.by_join.remove(&number);
        }
    }

    pub(super) fn all(&self) -> Vec<Seat> {
        self.listed().seats.keys().cloned().collect()
    }

    /// Waits until seats were displaced, and takes them. Dropped while it waits it loses none.
    pub(super) async fn displaced(&self) -> Vec<Seat> {
        loop {
            let displaced = std::mem::take(&mut self.listed().displaced);
            if !displaced.is_empty() {
                return displaced;
            }
            self.has_displaced.notified().await;
        }
    }

    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::ids::{RoomId, UserId};

    fn seat(user: &str) -> Seat {
        (RoomId::from_text("r").unwrap(), UserId::from_text(user).unwrap())
    }

    #[tokio::test]
    async fn the_latest_joins_stay_and_who_is_displaced_is_told() {
        let let_in = LetIn::new(2);
        for user in ["ann", "bob", "ann", "eve"] {
            let_in.add(&seat(user));
        }
        let listed = ["ann", "bob", "eve"].map(|user| let_in.contains(&seat(user)));
        assert_eq!(listed, [true, false, true], "ann joined again");
        assert_eq!(let_in.displaced().await, [seat("bob")]);
        let_in.remove(&seat("ann"));
        let_in.add(&seat("bob"));
        assert_eq!(let_in.displaced().now_or_never(), None);
        let mut all = let_in.all();
        all.sort_by(|(_, one), (_, other)| one.as_str().cmp(other.as_str()));
        assert_eq!(all, [seat("bob"), seat("eve")]);
        let listed = let_in.listed();
        assert_eq!((listed.seats.len(), listed.by_join.len()), (2, 2));
    }
}
