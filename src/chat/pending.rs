//! The requests of one core that wait for the store.
//!
//! Owns their numbers and what must still be known of each when its outcome comes. Knows nothing of what that outcome
//! then does.

use std::collections::HashMap;

use super::reply::Call;
use crate::ids::RoomId;

/// A request that waits for the store.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) number: u64,
    pub(super) call: Call,
    pub(super) kind: PendingKind,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PendingKind {
    Join(Wish),
    /// A join of one who comes back: part of the restoration with that number.
    Restore {
        restoration: u64,
        wish: Wish,
    },
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
    last: u64,
}

impl Requests {
    /// A request begins to wait; the number returned is its own for ever.
    pub(super) fn begin(&mut self, call: Call, kind: PendingKind) -> u64 {
        self.last += 1;
        self.waiting.insert(self.last, Pending { number: self.last, call, kind });
        self.last
    }

    /// The number of the request that began to wait last.
    pub(super) fn latest(&self) -> u64 {
        self.last
    }

    /// The request's outcome is here; `None` when one was before.
    pub(super) fn end(&mut self, request: u64) -> Option<Pending> {
        self.waiting.remove(&request)
    }

    /// Lowers the wish of those of the joins `numbers` that are for the room. Whether there is one.
    pub(super) fn lower_wish(&mut self, numbers: &[u64], room: &RoomId, to: Wish) -> bool {
        let mut had_asked = false;
        for number in numbers {
            if let Some(Pending { call, kind: PendingKind::Join(wish) | PendingKind::Restore { wish, .. }, .. }) =
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
        self.waiting.is_empty()
    }
}
