//! The way in: as a new socket, or as the one that was left behind.
//!
//! Owns what a connection is to recovery, and each step of a socket's coming back on the core where it does.

use std::collections::HashMap;
use std::time::Instant;

use super::client::Returning;
use super::log::{Given, Seeker, Side, What};
use super::sessions::Ticket;
use super::{Letter, ROOT};
use crate::auth::Claims;
use crate::chat::application::{Application, ConnectRequest, Now};
use crate::config::limits::{MAX_REPLAYED_BYTES, RESTORE_TIMEOUT};
use crate::engineio::session::Transport;
use crate::ids::{ConnectionKey, CoreId, NamespaceId, Offset, PrivateId, RoomId, SocketId, SocketKey, TOKEN_BYTES};
use crate::server::connections::Upper;
use crate::server::core::State;
use crate::server::inbound::PROTOCOL_ERROR;
use crate::server::mailbox::Frames;
use crate::server::outbound::packet_frame;
use crate::socketio;

/// What a connection's socket in [`ROOT`] is to recovery. Every idle connection has one: 24 bytes.
#[derive(Debug)]
pub(crate) enum Standing {
    /// Its client does not understand offsets, or the server gives none.
    Unable,
    /// Not connected yet.
    Able,
    /// About to be what it was.
    Restoring(Box<Restoring>),
    /// Connected; may come back.
    Known {
        pid: PrivateId,
        /// The last offset that it was given, or presented when it was given none.
        last: Option<Offset>,
    },
}

/// A socket on its way back.
#[derive(Debug)]
pub(crate) struct Restoring {
    ticket: Ticket,
    /// Where it was.
    core: CoreId,
    socket: SocketKey,
    pid: PrivateId,
    offset: Option<Offset>,
    /// For the application, now or when it has to begin anew.
    claims: Claims,
    payload: Option<Box<str>>,
    /// When it begins anew.
    until: Instant,
    /// The end of this core's log when the application was told of it: what came after that is not given to it yet.
    began: Option<u64>,
    /// The rooms that the store let it into, and from which offset on what goes there is for this core to give.
    fences: HashMap<RoomId, Offset>,
}

impl Restoring {
    /// The store let it into a room.
    pub(super) fn pass(&mut self, room: RoomId, fence: Offset) {
        self.fences.insert(room, fence);
    }
}

/// How a frame goes to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Whole,
    /// Without its offset.
    Plain,
    /// Not now, or not at all.
    Withheld,
}

impl Standing {
    /// Whether the socket is one that may come back, or is coming back.
    pub(crate) fn is_known(&self) -> bool {
        match self {
            Self::Restoring(_) | Self::Known { .. } => true,
            Self::Unable | Self::Able => false,
        }
    }

    /// The client has left a namespace, and may connect to it again.
    pub(crate) fn leave(&mut self, namespace: NamespaceId) {
        if namespace == ROOT && matches!(self, Self::Known { .. }) {
            *self = Self::Able;
        }
    }

    /// When it has waited for long enough.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Restoring(restoring) => Some(restoring.until),
            Self::Unable | Self::Able | Self::Known { .. } => None,
        }
    }

    /// A packet is given to the connection.
    pub(crate) fn take(&mut self, frames: &Frames) -> Form {
        match (self, frames.offset) {
            (Self::Restoring(_), None) if frames.is_volatile => Form::Withheld,
            (_, None) => Form::Whole,
            (Self::Known { last, .. }, offset @ Some(_)) => {
                *last = offset;
                Form::Whole
            }
            // The log has it.
            (Self::Restoring(_), Some(_)) => Form::Withheld,
            (Self::Unable | Self::Able, Some(_)) => Form::Plain,
        }
    }
}

impl<A: Application> State<A> {
    /// A client whose token is good comes in: as what it was, if that can be, otherwise as a new socket.
    pub(crate) fn enter(&mut self, key: ConnectionKey, namespace: NamespaceId, request: ConnectRequest<'_>, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let returning = match &connection.standing {
            Standing::Able if namespace == ROOT => Returning::read(request.payload),
            _ => Returning::default(),
        };
        if !self.claim(key, returning, &request, now) {
            self.enter_anew(key, namespace, request, returning.offset, now);
        }
    }

    /// Asks the core that has what the client comes back for. `false` when there is none.
    fn claim(&mut self, key: ConnectionKey, returning: Returning, request: &ConnectRequest<'_>, now: Now) -> bool {
        let (Some(recovery), Some(pid), Some(claims)) = (&mut self.recovery, returning.pid, &request.claims) else {
            return false;
        };
        let Some((core, socket)) = recovery.registry.whereabouts.get(&pid).map(|place| *place) else { return false };
        let Some(connection) = self.connections.get_mut(key) else { return false };
        recovery.attempts += 1;
        let ticket = Ticket { core: self.id, connection: key, number: recovery.attempts };
        connection.standing = Standing::Restoring(Box::new(Restoring {
            ticket,
            core,
            socket,
            pid,
            offset: returning.offset,
            claims: claims.clone(),
            payload: request.payload.map(Box::from),
            until: now.instant + RESTORE_TIMEOUT,
            began: None,
            fences: HashMap::new(),
        }));
        self.write_to(core, Letter::Claim { socket, pid, user: claims.user.clone(), ticket });
        true
    }

    /// The socket is a new one.
    fn enter_anew(
        &mut self,
        key: ConnectionKey,
        namespace: NamespaceId,
        request: ConnectRequest<'_>,
        presented: Option<Offset>,
        now: Now,
    ) {
        let mut random = [0; TOKEN_BYTES];
        if getrandom::fill(&mut random).is_err() {
            return self.fail(key, Transport::Polling, PROTOCOL_ERROR, "no_randomness");
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        let is_able = matches!(connection.standing, Standing::Able) && namespace == ROOT && request.claims.is_some();
        let pid = is_able.then(|| PrivateId::new(random));
        let sid = pid.map_or_else(|| SocketId::new(random), |pid| pid.public());
        if let Some(pid) = pid {
            connection.standing = Standing::Known { pid, last: presented };
        }
        let socket = SocketKey { connection: key, namespace };
        if !self.accept(socket, sid, pid, now) {
            return;
        }
        if let Some(recovery) = self.recovery.as_mut().filter(|_| pid.is_some()) {
            let connected = What::Connected { socket, presented, replayed: Box::default() };
            recovery.log.push(connected, now.instant);
        }
        self.app.connect(socket, request, now, &mut self.effects);
    }

    /// Answers a CONNECT with CONNECT. `false` when nobody waits for that any more.
    fn accept(&mut self, socket: SocketKey, sid: SocketId, pid: Option<PrivateId>, now: Now) -> bool {
        let name = self.namespace(socket.namespace);
        let Some(connection) = self.connections.get_mut(socket.connection) else { return false };
        let Upper::SocketIo(upper) = &mut connection.upper else { return false };
        if !upper.accept(socket.namespace) {
            return false;
        }
        self.shared.metrics.sockets.increment();
        let (parser, revision) = (self.shared.settings.parser, upper.revision());
        let frame = packet_frame(parser, 96, |buffer| match pid {
            Some(pid) => socketio::encode::connect_recoverable(buffer, name, sid, pid),
            None => parser.connect(buffer, revision, name, sid),
        });
        self.push(socket.connection, frame, now);
        true
    }

    /// The attempt that a letter or an effect is about, if it is still under way.
    pub(super) fn restoring(&mut self, key: ConnectionKey) -> Option<&mut Restoring> {
        match &mut self.connections.get_mut(key)?.standing {
            Standing::Restoring(restoring) => Some(restoring),
            Standing::Unable | Standing::Able | Standing::Known { .. } => None,
        }
    }

    fn is_under_way(&mut self, ticket: Ticket) -> bool {
        self.restoring(ticket.connection).is_some_and(|restoring| restoring.ticket == ticket)
    }

    /// The old core's answer: the application may ask the store for the rooms.
    pub(super) fn handle_claimed(&mut self, ticket: Ticket, rooms: Option<Vec<RoomId>>, now: Now) {
        let key = ticket.connection;
        if !self.is_under_way(ticket) {
            return;
        }
        let end = self.recovery.as_ref().map(|recovery| recovery.log.end());
        let (Some(rooms), Some(restoring)) = (rooms, self.restoring(key)) else { return self.begin_anew(key, now) };
        restoring.began = end;
        let (claims, payload) = (Some(restoring.claims.clone()), restoring.payload.clone());
        let request = ConnectRequest { claims, payload: payload.as_deref() };
        let socket = SocketKey { connection: key, namespace: ROOT };
        self.app.restore(socket, request, rooms, now, &mut self.effects);
    }

    /// The store's answer: what went to these rooms before it is known to the old core, and the rest to this one.
    pub(in crate::server) fn handle_restored(&mut self, socket: SocketKey, is_certain: bool, now: Now) {
        let key = socket.connection;
        let Some(restoring) = self.restoring(key) else { return };
        if !is_certain {
            return self.begin_anew(key, now);
        }
        let Restoring { core, socket, ticket, offset, .. } = *restoring;
        let rooms = restoring.fences.clone();
        self.write_to(core, Letter::Fetch { socket, ticket, rooms, offset });
    }

    /// The old core's last word: the client is told everything, in order.
    pub(super) fn handle_missed(&mut self, ticket: Ticket, events: Option<Vec<Given>>, now: Now) {
        let key = ticket.connection;
        if !self.is_under_way(ticket) {
            return;
        }
        let Some(events) = events.and_then(|events| self.with_withheld(key, events)) else {
            return self.begin_anew(key, now);
        };
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Standing::Restoring(restoring) = std::mem::replace(&mut connection.standing, Standing::Able) else {
            return;
        };
        let Restoring { core, socket: old, pid, offset, .. } = *restoring;
        connection.standing = Standing::Known { pid, last: offset };
        let socket = SocketKey { connection: key, namespace: ROOT };
        if !self.accept(socket, pid.public(), Some(pid), now) {
            return;
        }
        self.write_to(core, Letter::Forget { socket: old, ticket });
        self.shared.metrics.recovered.increment();
        for given in &events {
            self.send(key, &given.frames, now);
        }
        if let Some(recovery) = &mut self.recovery {
            let connected = What::Connected { socket, presented: offset, replayed: events.into() };
            recovery.log.push(connected, now.instant);
        }
    }

    /// What the old core had for a socket, then what came to this one meanwhile; of rooms that it is still in. `None` when
    /// the log has forgotten some of it, or when that is too much.
    fn with_withheld(&mut self, key: ConnectionKey, mut events: Vec<Given>) -> Option<Vec<Given>> {
        let restoring = self.restoring(key)?;
        let (left, mut rooms) = (restoring.began?, std::mem::take(&mut restoring.fences));
        let socket = SocketKey { connection: key, namespace: ROOT };
        let (_, present) = self.app.seat_of(socket)?;
        rooms.retain(|room, _| present.contains(room));
        events.retain(|given| given.room.as_ref().is_none_or(|room| rooms.contains_key(room)));
        let seeker = Seeker { socket, rooms, side: Side::After, last: None, left };
        events.extend(self.recovery.as_ref()?.log.missed(seeker, None, MAX_REPLAYED_BYTES)?);
        Some(events)
    }

    /// Takes back what was begun for a socket that does not come back after all.
    fn undo(&mut self, key: ConnectionKey, restoring: &Restoring, now: Now) {
        if restoring.began.is_some() {
            self.app.disconnect(SocketKey { connection: key, namespace: ROOT }, now, &mut self.effects);
        }
    }

    /// What the socket was cannot be had: it is a new one.
    fn begin_anew(&mut self, key: ConnectionKey, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Standing::Restoring(restoring) = std::mem::replace(&mut connection.standing, Standing::Able) else {
            return;
        };
        self.undo(key, &restoring, now);
        self.write_to(restoring.core, Letter::Forget { socket: restoring.socket, ticket: restoring.ticket });
        let Restoring { claims, payload, offset, .. } = *restoring;
        let request = ConnectRequest { claims: Some(claims), payload: payload.as_deref() };
        self.enter_anew(key, ROOT, request, offset, now);
    }

    /// The connection ended in the middle: what the socket was may be had the next time.
    pub(super) fn abandon(&mut self, key: ConnectionKey, restoring: &Restoring, now: Now) {
        self.undo(key, restoring, now);
        self.write_to(restoring.core, Letter::Release { socket: restoring.socket, ticket: restoring.ticket });
    }

    /// A socket that has waited for long enough is a new one.
    pub(in crate::server) fn give_up_restoring(&mut self, key: ConnectionKey, now: Now) {
        if self.restoring(key).is_some_and(|restoring| restoring.until <= now.instant) {
            self.begin_anew(key, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_connection_carries_is_24_bytes() {
        assert_eq!(size_of::<Standing>(), 24);
    }
}
