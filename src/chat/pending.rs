//! The requests of one core that wait for the store.
//!
//! Owns their numbers and what must still be known of each when its outcome comes. Knows nothing of what that outcome
//! then does.

use std::collections::HashMap;

use super::reply::Call;
use crate::ids::{RoomId, SocketKey};

/// A request that waits for the store.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) call: Call,
    pub(super) kind: PendingKind,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PendingKind {
    Join {
        /// The client left again before the store answered.
        left: bool,
    },
    /// A join of one who comes back: part of the restoration with that number.
    Restore {
        number: u64,
        /// The user's membership ended before the store answered.
        left: bool,
    },
    Send,
    History,
    Receipt,
    Typing {
        is_typing: bool,
    },
    Arrival,
}

/// All that wait, by number. Bounded by the store's queue: a request enters only together with its record.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: HashMap<u64, Pending>,
    last: u64,
}

impl Requests {
    /// A request begins to wait; the number returned is its own for ever.
    pub(super) fn begin(&mut self, call: Call, kind: PendingKind) -> u64 {
        self.last += 1;
        self.waiting.insert(self.last, Pending { call, kind });
        self.last
    }

    /// The request's outcome is here; `None` when one was before.
    pub(super) fn end(&mut self, request: u64) -> Option<Pending> {
        self.waiting.remove(&request)
    }

    /// The socket leaves the room before it was let in. Says whether it had asked to be.
    pub(super) fn leave(&mut self, socket: SocketKey, room: &RoomId) -> bool {
        let mut had_asked = false;
        for pending in self.waiting.values_mut().filter(|pending| pending.call.socket == socket) {
            if let PendingKind::Join { left } | PendingKind::Restore { left, .. } = &mut pending.kind
                && pending.call.context.room.as_ref() == Some(room)
            {
                *left = true;
                had_asked = true;
            }
        }
        had_asked
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
