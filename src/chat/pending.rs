//! The requests of one core that wait for the store.
//!
//! Owns their numbers, what must still be known of each when its outcome comes, and whether its socket has left by then.
//! Knows nothing of what that outcome then does.

use std::collections::HashMap;

use super::reply::Call;
use crate::ids::{RoomId, SocketKey};

/// A request that waits for the store.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) number: u64,
    pub(super) call: Call,
    pub(super) kind: PendingKind,
    /// Its socket has left: whoever is in that place now did not ask for this. Known when it ends.
    pub(super) is_outlived: bool,
    tenant: u64,
}

/// A place (a connection's namespace) for which requests wait. Sockets follow one another in it, each a tenant.
#[derive(Debug, Default)]
struct Place {
    tenant: u64,
    waiting: usize,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PendingKind {
    Join(Wish),
    /// A join of one who comes back.
    Restore(Wish),
    Send,
    History,
    Receipt,
    Typing {
        is_typing: bool,
    },
    Arrival,
}

/// What is to become of a join when the store says yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    /// The socket enters.
    Enter,
    /// It does not: the client left again meanwhile. It is still told what it asked for.
    Left,
    /// It does not, and is told nothing of the room: the user is no member any more.
    Removed,
}

/// All that wait, by number. Bounded by the store's queue, and by the questions that wait for their turn before it: a
/// request enters only together with its record.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: HashMap<u64, Pending>,
    /// Only places for which something waits: counted, so that a socket can leave without a look at its requests.
    places: HashMap<SocketKey, Place>,
    last: u64,
}

impl Requests {
    /// A request begins to wait; the number returned is its own for ever.
    pub(super) fn begin(&mut self, call: Call, kind: PendingKind) -> u64 {
        self.last += 1;
        let place = self.places.entry(call.socket).or_default();
        place.waiting += 1;
        let pending = Pending { number: self.last, call, kind, is_outlived: false, tenant: place.tenant };
        self.waiting.insert(self.last, pending);
        self.last
    }

    /// The request's outcome is here; `None` when one was before.
    pub(super) fn end(&mut self, request: u64) -> Option<Pending> {
        let mut pending = self.waiting.remove(&request)?;
        if let Some(place) = self.places.get_mut(&pending.call.socket) {
            pending.is_outlived = place.tenant != pending.tenant;
            place.waiting -= 1;
            if place.waiting == 0 {
                self.places.remove(&pending.call.socket);
            }
        }
        Some(pending)
    }

    /// The socket has left, and what it asked for outlives it.
    pub(super) fn outlive(&mut self, socket: SocketKey) {
        if let Some(place) = self.places.get_mut(&socket) {
            place.tenant += 1;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Lowers the wish of those of the joins `numbers` that are for the room. Whether there is one.
    pub(super) fn lower_wish(&mut self, numbers: &[u64], room: &RoomId, to: Wish) -> bool {
        let mut had_asked = false;
        for number in numbers {
            if let Some(Pending { call, kind: PendingKind::Join(wish) | PendingKind::Restore(wish), .. }) =
                self.waiting.get_mut(number)
                && call.context.room.as_ref() == Some(room)
            {
                *wish = to.max(*wish);
                had_asked = true;
            }
        }
        had_asked
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.places.is_empty()
    }
}
