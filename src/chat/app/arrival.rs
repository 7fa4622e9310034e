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
            admitted_after: self.requests.latest(),
            typing: Typing::default(),
            limiter: Limiter::new(self.settings.rates, now.instant),
            arrived: false,
            chosen: None,
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

    /// The user's conversations are known.
    pub(super) fn arrived(&mut self, key: SocketKey, conversations: Vec<RoomId>, out: &mut Vec<Effect>) {
        // Whoever left and came back on the same connection meanwhile asked twice, and arrives once.
        if let Some(socket) = self.sockets.get_mut(&key).filter(|socket| !socket.arrived) {
            socket.arrived = true;
            out.push(socket.presence(key, PresenceChange::Arrived { conversations }));
            if let Some(status) = socket.chosen.take() {
                out.push(socket.presence(key, PresenceChange::Chose(status)));
            }
        }
    }
}
