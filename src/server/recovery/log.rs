//! What a core gave to its sockets, kept for those who lost their connection meanwhile.
//!
//! Owns the order of what was given and the bounds on it, and finds in it what one socket has missed. A pure structure:
//! it knows neither sessions nor cores.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::ids::{Offset, RoomId, SocketKey};
use crate::server::mailbox::Frames;

/// How much a log keeps; of what is too much the oldest goes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes of frames and entries.
    pub(crate) bytes: usize,
    /// How many entries one search may have to look at.
    pub(crate) entries: usize,
    /// For how long anybody may come back.
    pub(crate) age: Duration,
}

/// An event that was given to a socket. `room`: through which room it came, if through one.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) room: Option<RoomId>,
    pub(crate) frames: Frames,
}

/// One thing that happened. Only events that have an offset are here.
#[derive(Debug)]
pub(crate) enum What {
    /// An event went to a room.
    Room { room: RoomId, except: Option<SocketKey>, frames: Frames },
    /// An event went to one socket.
    Socket { socket: SocketKey, frames: Frames },
    /// A socket connected, having last seen what it presented, and was given what it had missed. Nothing before this
    /// was given to it.
    Connected { socket: SocketKey, presented: Option<Offset>, replayed: Box<[Given]> },
    /// A socket entered a room. Nothing that went to the room before this was given to it.
    Entered { socket: SocketKey, room: RoomId },
}

/// Somebody who comes back.
#[derive(Debug)]
pub(crate) struct Seeker {
    /// What it was.
    pub(crate) socket: SocketKey,
    /// Its rooms when it left, those of them that it may still enter, and the fence where it does.
    pub(crate) rooms: HashMap<RoomId, Offset>,
    /// On which side of the fences the events are that it seeks.
    pub(crate) side: Side,
    /// The last offset that it was given, or presented when it was given none.
    pub(crate) last: Option<Offset>,
    /// The log's [`end`](Log::end) when it left.
    pub(crate) left: u64,
}

/// A side of a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

impl Side {
    fn has(self, frames: &Frames, fence: Offset) -> bool {
        frames.offset.is_some_and(|offset| match self {
            Self::Before => offset < fence,
            Self::After => offset > fence,
        })
    }
}

/// The log of one core.
#[derive(Debug)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    /// Position of the first entry: how many have been dropped.
    first: u64,
    bytes: usize,
    bounds: Bounds,
}

/// A pointer to the shared frame and about ninety bytes.
#[derive(Debug)]
struct Entry {
    at: Instant,
    what: What,
}

/// How much later than they must, entries are dropped while nothing is added: one look at a time, not one for each.
const SLACK: Duration = Duration::from_secs(1);

impl Log {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { entries: VecDeque::new(), first: 0, bytes: 0, bounds }
    }

    /// The position that the next entry will have.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Adds what happened, and drops what is too much then.
    pub(crate) fn push(&mut self, what: What, now: Instant) {
        let entry = Entry { at: now, what };
        self.bytes += entry.weight();
        // Room is made first, so that the queue never grows beyond the bound.
        while self.entries.len() >= self.bounds.entries.max(1) {
            self.drop_first();
        }
        self.entries.push_back(entry);
        while self.bytes > self.bounds.bytes {
            self.drop_first();
        }
        self.expire(now);
    }

    /// Drops what nobody can come back for any more.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.entries.front().is_some_and(|entry| entry.at + self.bounds.age < now) {
            self.drop_first();
        }
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// When [`Self::expire`] is to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.entries.front().map(|entry| entry.at + self.bounds.age + SLACK)
    }

    fn drop_first(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.weight();
            self.first += 1;
        }
    }

    /// What the seeker was given, or would have been, after the event named by `offset`; in order. `None` when the log
    /// cannot tell any more, or when it is more than `most` bytes. Looks only at what came after that event.
    pub(crate) fn missed(&self, seeker: Seeker, offset: Option<Offset>, most: usize) -> Option<Vec<Given>> {
        let Seeker { socket, mut rooms, side, last, left } = seeker;
        let mut missed = Missed { events: VecDeque::new(), bytes: 0, most };
        let names = |frames: &Frames| offset.is_some() && frames.offset == offset;
        let mut position = self.end();
        for entry in self.entries.iter().rev() {
            position -= 1;
            if position < left && offset == last {
                return Some(missed.events.into());
            }
            match &entry.what {
                What::Room { frames, .. } if position < left && names(frames) => return Some(missed.events.into()),
                What::Room { room, except, frames } => {
                    if *except != Some(socket) && rooms.get(room).is_some_and(|fence| side.has(frames, *fence)) {
                        missed.add(Some(room), frames)?;
                    }
                }
                What::Socket { socket: to, frames } if *to == socket => {
                    if names(frames) {
                        return Some(missed.events.into());
                    }
                    missed.add(None, frames)?;
                }
                What::Connected { socket: to, presented, replayed } if *to == socket => {
                    for given in replayed.iter().rev() {
                        if names(&given.frames) {
                            return Some(missed.events.into());
                        }
                        if given.room.as_ref().is_none_or(|room| rooms.contains_key(room)) {
                            missed.add(given.room.as_ref(), &given.frames)?;
                        }
                    }
                    return (*presented == offset).then(|| missed.events.into());
                }
                What::Entered { socket: who, room } if *who == socket => {
                    rooms.remove(room);
                }
                What::Socket { .. } | What::Connected { .. } | What::Entered { .. } => {}
            }
        }
        (offset == last && self.first <= left).then(|| missed.events.into())
    }
}

/// What was found, from the last to the first.
struct Missed {
    events: VecDeque<Given>,
    bytes: usize,
    most: usize,
}

impl Missed {
    fn add(&mut self, room: Option<&RoomId>, frames: &Frames) -> Option<()> {
        self.bytes += frames.len();
        self.events.push_front(Given { room: room.cloned(), frames: frames.clone() });
        (self.bytes <= self.most).then_some(())
    }
}

impl Entry {
    /// Frames count in full for each entry that holds them, though many may share them.
    fn weight(&self) -> usize {
        size_of::<Self>()
            + match &self.what {
                What::Room { frames, .. } | What::Socket { frames, .. } => frames.len(),
                What::Connected { replayed, .. } => {
                    replayed.iter().map(|given| size_of::<Given>() + given.frames.len()).sum()
                }
                What::Entered { .. } => 0,
            }
    }
}

#[cfg(test)]
mod tests;
