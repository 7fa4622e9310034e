//! Coming back: into the rooms of before, as far as the store still lets one in, and without a word to anybody.
//!
//! Owns the joins of each socket that comes back and the moment when the last of them is answered. What was missed
//! meanwhile is the server's.

use std::collections::HashMap;

use super::Chat;
use crate::auth::Claims;
use crate::chat::application::Now;
use crate::chat::command::Context;
use crate::chat::effect::{Effect, Join, RecordBody, Refusal};
use crate::chat::pending::{PendingKind, Wish};
use crate::chat::reply::Call;
use crate::chat::rooms::Interest;
use crate::ids::{RoomId, SocketKey};

/// The sockets of a core that are coming back, each of them for a few milliseconds.
#[derive(Debug, Default)]
pub(super) struct Restorations {
    under_way: HashMap<SocketKey, Restoration>,
}

#[derive(Debug)]
struct Restoration {
    awaited: usize,
    /// Whether the store could say of every room so far.
    is_certain: bool,
}

impl Restorations {
    fn begin(&mut self, socket: SocketKey, awaited: usize) {
        self.under_way.insert(socket, Restoration { awaited, is_certain: true });
    }

    fn get(&mut self, socket: SocketKey) -> Option<&mut Restoration> {
        self.under_way.get_mut(&socket)
    }

    pub(super) fn remove(&mut self, socket: SocketKey) {
        self.under_way.remove(&socket);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }
}

impl Chat {
    pub(super) fn begin_restoring(
        &mut self,
        key: SocketKey,
        claims: Option<Claims>,
        mut rooms: Vec<RoomId>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Some(claims) = claims else { return out.push(Effect::Restored { socket: key, is_certain: false }) };
        let user = claims.user.clone();
        self.admit(key, claims, now, out);
        rooms.truncate(self.settings.rooms_per_socket);
        self.restorations.begin(key, rooms.len());
        if rooms.is_empty() {
            return self.finish_restoring(key, out);
        }
        for room in rooms {
            if self.rooms.await_join(&room) == Interest::Began {
                out.push(Effect::Watch(room.clone()));
            }
            let context = Context { room: Some(room.clone()), ..Context::default() };
            let call = Call { socket: key, ack: None, context };
            let join = Join { room, user: user.clone(), since: None };
            let request = self.store(call, PendingKind::Restore(Wish::Enter), RecordBody::Join(join), out);
            if let Some(socket) = self.sockets.get_mut(&key) {
                socket.joining.push(request);
            }
        }
    }

    /// The socket may enter, if it is still the one that asked: from here on it is given what goes to the room.
    pub(super) fn restored(&mut self, key: SocketKey, room: &RoomId, request: u64, wish: Wish, out: &mut Vec<Effect>) {
        if self.restorations.get(key).is_some()
            && wish == Wish::Enter
            && let Some(socket) = self.sockets.get_mut(&key)
            && self.rooms.insert(room, key)
        {
            socket.rooms.push(room.clone());
        }
        self.room_answered(key, room, request, out);
    }

    /// The socket may not enter, or the store cannot say.
    pub(super) fn not_restored(&mut self, call: &Call, request: u64, refusal: Refusal, out: &mut Vec<Effect>) {
        if let Some(restoration) = self.restorations.get(call.socket) {
            restoration.is_certain &= refusal == Refusal::NotMember;
        }
        if let Some(room) = &call.context.room {
            self.room_answered(call.socket, room, request, out);
        }
    }

    fn room_answered(&mut self, key: SocketKey, room: &RoomId, request: u64, out: &mut Vec<Effect>) {
        let Some(restoration) = self.restorations.get(key) else {
            // Nobody waits for it any more, but the room still counts it.
            if self.rooms.settle_join(room) == Interest::Ceased {
                out.push(Effect::Unwatch(room.clone()));
            }
            return;
        };
        restoration.awaited -= 1;
        let is_last = restoration.awaited == 0;
        self.settle_join(key, request, room, out);
        if is_last {
            self.finish_restoring(key, out);
        }
    }

    fn finish_restoring(&mut self, key: SocketKey, out: &mut Vec<Effect>) {
        let Some(restoration) = self.restorations.under_way.remove(&key) else { return };
        if restoration.is_certain {
            self.await_arrival(key, out);
        }
        out.push(Effect::Restored { socket: key, is_certain: restoration.is_certain });
    }
}
