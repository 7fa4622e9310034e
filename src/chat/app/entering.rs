//! Entering a room, and leaving it, of one's own will or not.
//!
//! Owns what lies between the wish and the store's answer: the client may leave again, the user may be removed, and the
//! socket may be gone, with another user's in its place.

use super::{Chat, typing_effect};
use crate::chat::application::Now;
use crate::chat::effect::{Effect, Join, Joined, RecordBody, Refusal};
use crate::chat::event::{self, Failure, Online};
use crate::chat::pending::{Pending, PendingKind, Wish};
use crate::chat::reply::Call;
use crate::chat::rooms::Interest;
use crate::ids::{RoomId, SocketKey};

impl Chat {
    pub(super) fn join(&mut self, call: Call, room: RoomId, since: Option<i64>, out: &mut Vec<Effect>) {
        let most = self.settings.rooms_per_socket;
        let Some(socket) = self.sockets.get_mut(&call.socket) else { return };
        if socket.rooms.len() + socket.joining.len() >= most && !socket.rooms.contains(&room) {
            return call.fail(&Failure::too_many_rooms(most), out);
        }
        let join = Join { room: room.clone(), user: socket.user.clone(), since };
        if self.rooms.await_join(&room) == Interest::Began {
            out.push(Effect::Watch(room));
        }
        let key = call.socket;
        let request = self.store(call, PendingKind::Join(Wish::Enter), RecordBody::Join(join), out);
        if let Some(socket) = self.sockets.get_mut(&key) {
            socket.joining.push(request);
        }
    }

    pub(super) fn leave(&mut self, call: Call, room: &RoomId, now: Now, out: &mut Vec<Effect>) {
        self.take_out(call.socket, room, Wish::Left, now, out);
        call.done(out);
    }

    /// Takes a socket out of a room, also where it has yet to be let in. Says whether it was in, or about to be.
    pub(super) fn take_out(
        &mut self,
        key: SocketKey,
        room: &RoomId,
        why: Wish,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> bool {
        let Some(socket) = self.sockets.get_mut(&key) else { return false };
        let was_coming = self.requests.lower_wish(&socket.joining, room, why);
        if socket.typing.stop(room) {
            out.push(typing_effect(key, socket, room, false));
        }
        let Some(position) = socket.rooms.iter().position(|joined| joined == room) else { return was_coming };
        socket.rooms.swap_remove(position);
        out.push(Effect::Broadcast {
            room: room.clone(),
            except: Some(key),
            event: event::user_left(&socket.user, &socket.username, room, now.wall),
            volatile: false,
        });
        if self.rooms.remove(room, key) == Interest::Ceased {
            out.push(Effect::Unwatch(room.clone()));
        }
        true
    }

    /// The answer is a fence: from here on every commit of the room reaches this socket, and none before it does.
    pub(super) fn joined(
        &mut self,
        call: &Call,
        joined: &Joined,
        wish: Wish,
        online: &Online,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let room = &joined.room;
        let Some(socket) = self.sockets.get_mut(&call.socket) else { return };
        if wish == Wish::Removed {
            // The event that says so went out when it happened; what the store had said before must not follow it.
            return call.answer(event::error_ack(&Failure::of_store(Refusal::NotMember, None)), out);
        }
        let entered = wish == Wish::Enter && self.rooms.insert(room, call.socket);
        if entered {
            socket.rooms.push(room.clone());
        }
        let event = event::room_joined(joined, online, now.wall);
        out.push(Effect::Emit { to: call.socket, event, ack: None });
        call.answer(event::joined_ack(joined, online, now.wall), out);
        if entered {
            out.push(Effect::Broadcast {
                room: room.clone(),
                except: Some(call.socket),
                event: event::user_joined(&socket.user, &socket.username, room, now.wall),
                volatile: false,
            });
        }
    }

    /// Who asked has left: only the room still counts it.
    pub(super) fn settle_outlived(&mut self, pending: Pending, out: &mut Vec<Effect>) {
        let (PendingKind::Join(_) | PendingKind::Restore(_), Some(room)) = (pending.kind, pending.call.context.room)
        else {
            return;
        };
        if self.rooms.settle_join(&room) == Interest::Ceased {
            out.push(Effect::Unwatch(room));
        }
    }

    pub(super) fn settle_join(&mut self, socket: SocketKey, request: u64, room: &RoomId, out: &mut Vec<Effect>) {
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.joining.retain(|number| *number != request);
        }
        if self.rooms.settle_join(room) == Interest::Ceased {
            out.push(Effect::Unwatch(room.clone()));
        }
    }
}
