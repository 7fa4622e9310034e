//! The chat application of one core: commands in, effects out.
//!
//! Owns the sockets' chat state (user, rooms, typing, limits) and the requests that wait for the store. Who is a
//! member, what is stored and in which order is the store's to say; how bytes travel is the server's.

mod arrival;
mod entering;
mod restoring;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::application::{Application, ConnectRequest, Now};
use super::command::{self, Command, Context, Limits, Send};
use super::deadlines::{Deadlines, Entry};
use super::effect::{
    Committed, Effect, History, NewMessage, NewReceipt, Origin, Outcome, PageRequest, Record, RecordBody, Refusal,
};
use super::event::{self, Failure, Online};
use super::limit::{Limiter, Rates, Verdict};
use super::pending::{Pending, PendingKind, Requests, Wish};
use super::presence::{PresenceChange, Status};
use super::reply::Call;
use super::rooms::{Interest, Rooms};
use super::typing::{Expiry, STOPS_AFTER, Started, Typing};
use crate::ids::{CoreId, RoomId, SocketKey, UserId};
use crate::socketio::{AckId, Event};
use restoring::Restorations;

/// How this deployment's chat behaves.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What a payload may hold.
    pub limits: Limits,
    /// How much one socket may ask for.
    pub rates: Rates,
    /// Rooms that one socket may be in at a time.
    pub rooms_per_socket: usize,
}

/// The chat on one core.
#[derive(Debug)]
pub struct Chat {
    core: CoreId,
    settings: Settings,
    sockets: HashMap<SocketKey, Socket>,
    users: HashMap<UserId, Vec<SocketKey>>,
    rooms: Rooms,
    requests: Requests,
    typing_ends: Deadlines<(SocketKey, RoomId)>,
    token_ends: Deadlines<SocketKey>,
    restorations: Restorations,
}

#[derive(Debug)]
struct Socket {
    user: UserId,
    username: Arc<str>,
    rooms: Vec<RoomId>,
    /// The requests by which it asked to be let into rooms.
    joining: Vec<u64>,
    /// Requests up to this number are not its own: somebody else may have been connected here before.
    admitted_after: u64,
    typing: Typing,
    limiter: Limiter,
    /// Whether presence counts this socket: from the moment the user's conversations are known.
    arrived: bool,
    /// A status chosen before that moment, to be announced then.
    chosen: Option<Status>,
    token_end: Option<Entry>,
}

impl Chat {
    /// An empty chat for one core.
    #[must_use]
    pub fn new(core: CoreId, settings: Settings) -> Self {
        Self {
            core,
            settings,
            sockets: HashMap::new(),
            users: HashMap::new(),
            rooms: Rooms::default(),
            requests: Requests::default(),
            typing_ends: Deadlines::default(),
            token_ends: Deadlines::default(),
            restorations: Restorations::default(),
        }
    }

    fn handle(&mut self, call: Call, command: Command, now: Now, out: &mut Vec<Effect>) {
        match command {
            Command::Join { room, since } => self.join(call, room, since, out),
            Command::Leave { room } => self.leave(call, &room, now, out),
            Command::Send(send) => self.send(call, send, out),
            Command::History { room, request } => self.history(call, room, request, out),
            Command::Typing { room, is_typing } => self.typing(call, room, is_typing, now, out),
            Command::Receipt { room, message, status, up_to } => {
                let Some(socket) = self.sockets.get(&call.socket) else { return };
                let receipt = NewReceipt { room, user: socket.user.clone(), message, status, up_to };
                self.store(call, PendingKind::Receipt, RecordBody::Receipt(receipt), out);
            }
            Command::Presence(status) => {
                let Some(socket) = self.sockets.get_mut(&call.socket) else { return };
                if socket.arrived {
                    out.push(socket.presence(call.socket, PresenceChange::Chose(status)));
                } else {
                    socket.chosen = Some(status);
                }
                call.done(out);
            }
        }
    }

    fn send(&mut self, call: Call, send: Send, out: &mut Vec<Effect>) {
        let Some(socket) = self.sockets.get(&call.socket) else { return };
        let message = NewMessage {
            room: send.room,
            user: socket.user.clone(),
            username: Arc::clone(&socket.username),
            content: send.content,
            kind: send.kind,
            attachments: send.attachments,
            temp_id: send.temp_id,
            client_msg_id: send.client_msg_id,
        };
        self.store(call, PendingKind::Send, RecordBody::Message(message), out);
    }

    /// A page has no event of its own, so without an ack there is nowhere to put it.
    fn history(&mut self, call: Call, room: RoomId, request: PageRequest, out: &mut Vec<Effect>) {
        if call.ack.is_none() {
            return call.fail(&Failure::needs_ack(&call.context.event), out);
        }
        let Some(socket) = self.sockets.get(&call.socket) else { return };
        let history = History { room, user: socket.user.clone(), request };
        self.store(call, PendingKind::History, RecordBody::History(history), out);
    }

    /// Whoever is in the room is a member; of somebody who is not, the store must be asked.
    fn typing(&mut self, call: Call, room: RoomId, is_typing: bool, now: Now, out: &mut Vec<Effect>) {
        let Some(socket) = self.sockets.get(&call.socket) else { return };
        if socket.rooms.contains(&room) {
            self.show_typing(call.socket, &room, is_typing, now, out);
            return call.done(out);
        }
        let access = RecordBody::Access { room, user: socket.user.clone() };
        self.store(call, PendingKind::Typing { is_typing }, access, out);
    }

    fn show_typing(&mut self, key: SocketKey, room: &RoomId, is_typing: bool, now: Now, out: &mut Vec<Effect>) {
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        let is_news = if is_typing {
            let started = socket.typing.start(room, now.instant);
            if started == Started::First {
                self.typing_ends.push(now.instant + STOPS_AFTER, (key, room.clone()));
            }
            started != Started::Known
        } else {
            socket.typing.stop(room)
        };
        if is_news {
            out.push(typing_effect(key, socket, room, is_typing));
        }
    }

    fn store(&mut self, call: Call, kind: PendingKind, body: RecordBody, out: &mut Vec<Effect>) -> u64 {
        let socket = call.socket;
        let request = self.requests.begin(call, kind);
        out.push(Effect::Store(Record { origin: Origin { core: self.core, socket, request }, body }));
        request
    }

    fn committed(&mut self, pending: Pending, committed: Committed, online: &Online, now: Now, out: &mut Vec<Effect>) {
        let Pending { number, call, kind } = pending;
        match committed {
            Committed::Message { message, .. } => call.sent(&message, out),
            Committed::History { room, page } => call.answer(event::history_ack(&room, &page), out),
            Committed::Receipt(_) => call.done(out),
            Committed::Joined(joined) => match kind {
                PendingKind::Restore { restoration, wish } => {
                    self.restored(call.socket, &joined.room, (number, restoration), wish, out);
                }
                PendingKind::Join(wish) => {
                    self.joined(&call, &joined, wish, online, now, out);
                    self.settle_join(call.socket, number, &joined.room, out);
                }
                _ => {}
            },
            Committed::Access => {
                if let (PendingKind::Typing { is_typing }, Some(room)) = (kind, &call.context.room) {
                    self.show_typing(call.socket, room, is_typing, now, out);
                }
                call.done(out);
            }
            Committed::Conversations(conversations) => self.arrived(call.socket, conversations, out),
        }
    }

    fn refused(&mut self, pending: Pending, refusal: Refusal, out: &mut Vec<Effect>) {
        let Pending { number, call, kind } = pending;
        let summary = match kind {
            // Without the store nobody's contacts are known, but the user is here all the same.
            PendingKind::Arrival => return self.arrived(call.socket, Vec::new(), out),
            PendingKind::Restore { restoration, .. } => {
                return self.not_restored(&call, (number, restoration), refusal, out);
            }
            PendingKind::Join(_) => {
                if let Some(room) = &call.context.room {
                    self.settle_join(call.socket, number, room, out);
                }
                Some("Failed to join room")
            }
            PendingKind::Send => Some("Failed to send message"),
            PendingKind::History | PendingKind::Receipt | PendingKind::Typing { .. } => None,
        };
        if self.sockets.contains_key(&call.socket) {
            call.fail(&Failure::of_store(refusal, summary), out);
        }
    }
}

impl Socket {
    fn presence(&self, socket: SocketKey, change: PresenceChange) -> Effect {
        Effect::Presence { user: self.user.clone(), username: Arc::clone(&self.username), socket, change }
    }
}

fn typing_effect(key: SocketKey, socket: &Socket, room: &RoomId, is_typing: bool) -> Effect {
    Effect::Broadcast {
        room: room.clone(),
        except: Some(key),
        event: event::typing_user(&socket.user, &socket.username, room, is_typing),
        volatile: true,
    }
}

impl Application for Chat {
    fn connect(&mut self, socket: SocketKey, request: ConnectRequest<'_>, now: Now, out: &mut Vec<Effect>) {
        let Some(claims) = request.claims else {
            // A chat without users makes no sense: the server is set up wrongly, and lets nobody in.
            out.push(Effect::Disconnect { socket, reason: "no_claims" });
            return;
        };
        self.admit(socket, claims, now);
        self.await_arrival(socket, out);
    }

    fn restore(
        &mut self,
        socket: SocketKey,
        request: ConnectRequest<'_>,
        rooms: Vec<RoomId>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.begin_restoring(socket, request.claims, rooms, now, out);
    }

    fn event(&mut self, key: SocketKey, event: Event<'_>, ack: Option<AckId>, now: Now, out: &mut Vec<Effect>) {
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        let size = event.name.len() + event.args.raw().len();
        let verdict = socket.limiter.take(self.settings.rates, size, now.instant);
        let (context, command) = command::parse(&event.name, event.args.first(), &self.settings.limits);
        let call = Call { socket: key, ack, context };
        match (verdict, command) {
            (Verdict::Pass, Ok(command)) => self.handle(call, command, now, out),
            (Verdict::Pass, Err(failure)) => call.fail(&failure, out),
            (Verdict::Limited { retry_after }, _) => call.fail(&Failure::rate_limited(retry_after), out),
            (Verdict::Disconnect { retry_after }, _) => {
                call.fail(&Failure::rate_limited(retry_after), out);
                out.push(Effect::Disconnect { socket: key, reason: "rate_limited" });
            }
        }
    }

    /// The chat asks no client for an acknowledgement, so there is none to wait for.
    fn acknowledged(&mut self, _: SocketKey, _: AckId, _: Event<'_>, _: Now, _: &mut Vec<Effect>) {}

    fn disconnect(&mut self, key: SocketKey, _now: Now, out: &mut Vec<Effect>) {
        let Some(mut socket) = self.sockets.remove(&key) else { return };
        self.restorations.remove(key);
        if let Some(entry) = socket.token_end {
            self.token_ends.remove(entry);
        }
        for room in socket.typing.stop_all() {
            out.push(typing_effect(key, &socket, &room, false));
        }
        for room in &socket.rooms {
            if self.rooms.remove(room, key) == Interest::Ceased {
                out.push(Effect::Unwatch(room.clone()));
            }
        }
        if let Some(sockets) = self.users.get_mut(&socket.user) {
            sockets.retain(|other| *other != key);
            if sockets.is_empty() {
                self.users.remove(&socket.user);
            }
        }
        if socket.arrived {
            out.push(socket.presence(key, PresenceChange::Left));
        }
    }

    fn outcome(&mut self, outcome: Outcome, online: Online, now: Now, out: &mut Vec<Effect>) {
        let Some(pending) = self.requests.end(outcome.origin.request) else { return };
        if self.sockets.get(&pending.call.socket).is_some_and(|socket| pending.number <= socket.admitted_after) {
            return self.not_for_this_one(pending, out);
        }
        match outcome.result {
            Ok(committed) => self.committed(pending, committed, &online, now, out),
            Err(refusal) => self.refused(pending, refusal, out),
        }
    }

    fn removed(&mut self, room: &RoomId, user: &UserId, now: Now, out: &mut Vec<Effect>) {
        for key in self.sockets_of(user).to_vec() {
            if self.take_out(key, room, Wish::Removed, now, out) {
                let context = Context { event: "room:join".to_owned(), room: Some(room.clone()), ..Context::default() };
                Call { socket: key, ack: None, context }.fail(&Failure::of_store(Refusal::NotMember, None), out);
            }
        }
    }

    fn timeout(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some(key) = self.token_ends.pop_due(now.instant) {
            let context = Context { event: "token".to_owned(), ..Context::default() };
            Call { socket: key, ack: None, context }.fail(&Failure::token_expired(), out);
            out.push(Effect::Disconnect { socket: key, reason: "token_expired" });
        }
        while let Some((key, room)) = self.typing_ends.pop_due(now.instant) {
            let Some(socket) = self.sockets.get_mut(&key) else { continue };
            match socket.typing.expire(&room, now.instant) {
                Expiry::Over => out.push(typing_effect(key, socket, &room, false)),
                Expiry::Until(due) => drop(self.typing_ends.push(due, (key, room))),
                Expiry::Stopped => {}
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.typing_ends.deadline().into_iter().chain(self.token_ends.deadline()).min()
    }

    fn members(&self, room: &RoomId) -> &[SocketKey] {
        self.rooms.members(room)
    }

    fn seat_of(&self, socket: SocketKey) -> Option<(&UserId, &[RoomId])> {
        self.sockets.get(&socket).map(|socket| (&socket.user, socket.rooms.as_slice()))
    }

    fn sockets_of(&self, user: &UserId) -> &[SocketKey] {
        self.users.get(user).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
