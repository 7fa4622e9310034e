//! Coming in: the state of a new socket, and the moment from which presence counts it.
//!
//! Owns what is known of a socket before it asks for anything.

use super::tokens::Token;
use super::{Chat, Socket};
use crate::auth::Claims;
use crate::chat::application::Now;
use crate::chat::command::Context;
use crate::chat::effect::{Effect, RecordBody};
use crate::chat::limit::Limiter;
use crate::chat::pending::PendingKind;
use crate::chat::presence::PresenceChange;
use crate::chat::reply::Call;
use crate::chat::typing::Typing;
use crate::ids::{RoomId, SocketKey};

impl Chat {
    /// The socket is there, and in no room.
    pub(super) fn admit(&mut self, key: SocketKey, claims: Claims, now: Now, out: &mut Vec<Effect>) {
        self.users.entry(claims.user.clone()).or_default().push(key);
        let socket = Socket {
            user: claims.user.clone(),
            username: claims.username.clone(),
            rooms: Vec::new(),
            joining: Vec::new(),
            typing: Typing::default(),
            limiter: Limiter::new(self.settings.rates, now.instant),
            arrived: false,
            chosen: None,
            lost: Vec::new(),
            token: Token::new(claims),
        };
        self.sockets.insert(key, socket);
        self.watch_token(key, now, out);
    }

    /// Asks for the user's conversations, whose members are who may see the user.
    pub(super) fn await_arrival(&mut self, key: SocketKey, out: &mut Vec<Effect>) {
        let Some(socket) = self.sockets.get(&key) else { return };
        let conversations = RecordBody::Conversations { user: socket.user.clone() };
        let call = Call { socket: key, ack: None, context: Context::default() };
        self.store(call, PendingKind::Arrival, conversations, out);
    }

    /// The user is no member of the room any more, which the answer that is on its way may not know yet. Bounded by the
    /// removals within the time of one answer.
    pub(super) fn lose(&mut self, key: SocketKey, room: &RoomId) {
        if let Some(socket) = self.sockets.get_mut(&key).filter(|socket| !socket.arrived)
            && !socket.lost.contains(room)
        {
            socket.lost.push(room.clone());
        }
    }

    /// The user's conversations are known.
    pub(super) fn arrived(&mut self, key: SocketKey, mut conversations: Vec<RoomId>, out: &mut Vec<Effect>) {
        if let Some(socket) = self.sockets.get_mut(&key) {
            socket.arrived = true;
            let lost = std::mem::take(&mut socket.lost);
            conversations.retain(|room| !lost.contains(room));
            out.push(socket.presence(key, PresenceChange::Arrived { conversations }));
            if let Some(status) = socket.chosen.take() {
                out.push(socket.presence(key, PresenceChange::Chose(status)));
            }
        }
    }
}
