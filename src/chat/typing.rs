//! Who is typing where: forwarded sparingly, and never left hanging.
//!
//! Owns the two rules of the contract: a start is forwarded at most every 3 s, and typing stops by itself 6 s after
//! the last start.

use std::time::{Duration, Instant};

use crate::ids::RoomId;

/// Repeated starts within this time are not forwarded again.
pub const FORWARD_EVERY: Duration = Duration::from_secs(3);
/// Without another start, typing is over after this time.
pub const STOPS_AFTER: Duration = Duration::from_secs(6);

/// The rooms one socket is typing in; rarely more than one.
#[derive(Debug, Default)]
pub struct Typing(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    room: RoomId,
    forwarded: Instant,
    started: Instant,
    /// A stopped entry stays until its expiry has been looked at, so that stopping and starting over and over queues
    /// no second one.
    is_typing: bool,
}

/// What a `typing:start` leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// The others are told, and its end is to be watched for.
    First,
    /// The others are told once more.
    Again,
    /// The others know already.
    Known,
}

/// What became of typing whose time may be up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It is over; the others are told.
    Over,
    /// Another start came: look again then.
    Until(Instant),
    /// It had been stopped before.
    Stopped,
}

impl Typing {
    /// A `typing:start`.
    pub fn start(&mut self, room: &RoomId, now: Instant) -> Started {
        let Some(entry) = self.entry(room) else {
            self.0.push(Entry { room: room.clone(), forwarded: now, started: now, is_typing: true });
            return Started::First;
        };
        entry.started = now;
        let known = entry.is_typing && now.saturating_duration_since(entry.forwarded) < FORWARD_EVERY;
        if known {
            return Started::Known;
        }
        entry.is_typing = true;
        entry.forwarded = now;
        Started::Again
    }

    /// A `typing:stop`. Whether the others are told.
    pub fn stop(&mut self, room: &RoomId) -> bool {
        self.entry(room).is_some_and(|entry| std::mem::take(&mut entry.is_typing))
    }

    /// Stops typing in the room if its time is up.
    pub fn expire(&mut self, room: &RoomId, now: Instant) -> Expiry {
        let expiry = match self.entry(room) {
            Some(entry) if entry.is_typing && now < entry.started + STOPS_AFTER => {
                return Expiry::Until(entry.started + STOPS_AFTER);
            }
            Some(entry) if entry.is_typing => Expiry::Over,
            _ => Expiry::Stopped,
        };
        self.0.retain(|entry| entry.room != *room);
        expiry
    }

    fn entry(&mut self, room: &RoomId) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.room == *room)
    }

    /// The socket is gone: the rooms where others must be told.
    pub fn stop_all(&mut self) -> Vec<RoomId> {
        std::mem::take(&mut self.0).into_iter().filter(|entry| entry.is_typing).map(|entry| entry.room).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_forwarded_every_three_seconds() {
        let start = Instant::now();
        let room = RoomId::from_text("r").unwrap();
        let mut typing = Typing::default();
        let forwarded: Vec<u64> = (0..70)
            .map(|i| i * 100)
            .filter(|ms| typing.start(&room, start + Duration::from_millis(*ms)) != Started::Known)
            .collect();
        assert_eq!(forwarded, [0, 3000, 6000]);
    }

    #[test]
    fn typing_is_over_six_seconds_after_the_last_start() {
        let start = Instant::now();
        let room = RoomId::from_text("r").unwrap();
        let mut typing = Typing::default();
        typing.start(&room, start);
        typing.start(&room, start + Duration::from_secs(2));
        let until = start + STOPS_AFTER + Duration::from_secs(2);
        assert_eq!(typing.expire(&room, start + STOPS_AFTER), Expiry::Until(until), "the second start counts");
        assert_eq!(typing.expire(&room, until), Expiry::Over);
        assert_eq!(typing.expire(&room, until), Expiry::Stopped, "nothing is said twice");
        assert!(!typing.stop(&room));
    }

    #[test]
    fn stopping_and_starting_again_is_told_at_once_but_watched_once() {
        let now = Instant::now();
        let room = RoomId::from_text("r").unwrap();
        let mut typing = Typing::default();
        assert_eq!(typing.start(&room, now), Started::First);
        assert!(typing.stop(&room));
        assert!(!typing.stop(&room), "told once");
        assert_eq!(typing.start(&room, now), Started::Again);
        assert!(typing.stop(&room));
        assert_eq!(typing.expire(&room, now), Expiry::Stopped);
        assert_eq!(typing.start(&room, now), Started::First);
    }

    #[test]
    fn a_socket_that_goes_stops_typing_everywhere() {
        let now = Instant::now();
        let mut typing = Typing::default();
        for room in ["a", "b"] {
            typing.start(&RoomId::from_text(room).unwrap(), now);
        }
        assert_eq!(typing.stop_all().len(), 2);
        assert!(typing.stop_all().is_empty());
    }
}
