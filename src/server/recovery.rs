//! Connection state recovery: who lost the connection comes back as the same socket, and is given what it missed.
//!
//! ```text
//!        old core                          new core
//!   connection lost
//!   Session, Log ◄──── Claim ──────────── CONNECT {token, pid, offset}     the token is checked first
//!        │ ─────────── Claimed {rooms} ──►  the store is asked for each room; what comes is logged, not given
//!        │ ◄────────── Fetch {fences} ───── the last room is answered
//!        │ ─────────── Missed {events} ──►  CONNECT {sid, pid}, what was missed there, and here
//!   gone ◄──────────── Forget
//! ```
//!
//! Nothing gets lost between the two, and nothing is given by both: the store's answer to a join is a fence with an offset
//! of its own. What went to the room before it has a lower one, and was mailed to the old core before `Fetch` is; what goes
//! there later has a higher one, and comes to the new core, which is told of the room since before it asked the store.
//! Whatever goes wrong on the way (no such session, another user's, too much was missed, the store is late) makes the
//! socket a new one, and joining with `since` closes the gap.
//!
//! Owns what sockets leave behind on a core, and the letters. [`entrance`] is the new core's part, [`log`] what was
//! given, [`sessions`] who may come back for it, [`client`] who understands it.

mod client;
mod entrance;
mod log;
mod sessions;

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;

use super::core::State;
use super::mailbox::{Frames, Mail};
use super::settings;
use crate::chat::application::{Application, Now};
use crate::chat::effect::{Committed, Outcome};
use crate::config::limits::MAX_REPLAYED_BYTES;
use crate::engineio::session::CloseReason;
use crate::ids::{ConnectionKey, CoreId, NamespaceId, Offset, PrivateId, RoomId, SocketKey, Timestamp, UserId};

pub(crate) use client::takes_offsets;
pub(crate) use entrance::{Form, Standing};
use log::{Given, Log, Seeker, Side, What};
use sessions::{Gone, Session, Sessions, Ticket};

/// The one namespace whose sockets come back: the chat's.
const ROOT: NamespaceId = NamespaceId(0);

/// What all cores share of it.
#[derive(Debug)]
pub(crate) struct Registry {
    next_offset: AtomicU64,
    /// Where each session was left. A private id does not tell: it stays the same when its socket moves to another core.
    whereabouts: DashMap<PrivateId, (CoreId, SocketKey)>,
}

impl Registry {
    /// Offsets begin with the time in microseconds, so that no event of an earlier process had one of them.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { next_offset: AtomicU64::new(now.0.saturating_mul(1000)), whereabouts: DashMap::new() }
    }

    /// An offset that no other event has.
    pub(crate) fn next_offset(&self) -> Offset {
        let number = self.next_offset.fetch_add(1, Ordering::Relaxed);
        Offset::new(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }
}

/// What one core has of it.
#[derive(Debug)]
pub(crate) struct Recovery {
    registry: Arc<Registry>,
    window: Duration,
    log: Log,
    sessions: Sessions,
    attempts: u64,
}

impl Recovery {
    pub(crate) fn new(registry: Arc<Registry>, settings: &settings::Recovery, cores: usize) -> Self {
        let share = |of: usize| of / cores.max(1);
        let bounds =
            log::Bounds { bytes: share(settings.bytes), entries: share(settings.entries), age: settings.window };
        let sessions = Sessions::new(share(settings.seats));
        Self { registry, window: settings.window, log: Log::new(bounds), sessions, attempts: 0 }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.log.deadline().into_iter().chain(self.sessions.deadline()).min()
    }
}

/// What cores say to each other about one who comes back. `socket` is what it was on the old core.
#[derive(Debug)]
pub(crate) enum Letter {
    /// To the old core: this user is here, with that private id.
    Claim { socket: SocketKey, pid: PrivateId, user: UserId, ticket: Ticket },
    /// To the new one: its rooms, or that there is nothing to come back to.
    Claimed { ticket: Ticket, rooms: Option<Vec<RoomId>> },
    /// To the old one: give what it missed after that event, and of these rooms before their fences.
    Fetch { socket: SocketKey, ticket: Ticket, rooms: HashMap<RoomId, Offset>, offset: Option<Offset> },
    /// To the new one: all of that, or that it is not known, or too much.
    Missed { ticket: Ticket, events: Option<Vec<Given>> },
    /// To the old one: it is gone again, and may come once more.
    Release { socket: SocketKey, ticket: Ticket },
    /// To the old one: it is back, or has begun anew.
    Forget { socket: SocketKey, ticket: Ticket },
}

/// Whether a client whose connection ended so is expected back. As in the reference server, where only a client that
/// left the namespace, or was put out, is not; and one that broke the protocol.
fn may_return(reason: CloseReason) -> bool {
    match reason {
        CloseReason::ClientClose
        | CloseReason::TransportClose
        | CloseReason::PingTimeout
        | CloseReason::Overlap
        | CloseReason::RequestAborted => true,
        // A decision about the client; also of one that was too slow, for whom the same at once would be too much again.
        CloseReason::ParseError | CloseReason::Server(_) => false,
    }
}

impl<A: Application> State<A> {
    /// An offset for an event that goes to many.
    pub(super) fn next_offset(&self) -> Option<Offset> {
        self.recovery.as_ref().map(|recovery| recovery.registry.next_offset())
    }

    /// An offset for an event that goes to one socket, if that may come back for it.
    pub(super) fn offset_for(&mut self, socket: SocketKey) -> Option<Offset> {
        let recovery = self.recovery.as_ref().filter(|_| socket.namespace == ROOT)?;
        let connection = self.connections.get_mut(socket.connection);
        let is_known = connection.is_some_and(|connection| connection.standing.is_known());
        (is_known || recovery.sessions.contains(socket)).then(|| recovery.registry.next_offset())
    }

    /// Notes what goes to a room.
    pub(super) fn log_for_room(&mut self, room: &RoomId, frames: &Frames, except: Option<SocketKey>, now: Now) {
        if let Some(recovery) = self.recovery.as_mut().filter(|_| frames.offset.is_some()) {
            recovery.log.push(What::Room { room: room.clone(), except, frames: frames.clone() }, now.instant);
        }
    }

    /// Notes what goes to one socket, connected or not.
    pub(super) fn log_for_socket(&mut self, socket: SocketKey, frames: &Frames, now: Now) {
        if let Some(recovery) = self.recovery.as_mut().filter(|_| frames.offset.is_some()) {
            recovery.log.push(What::Socket { socket, frames: frames.clone() }, now.instant);
        }
    }

    /// The room that an outcome may bring its socket into, to be [noted](Self::log_entrance) if it does. One that outlived
    /// the socket that asked brings nobody in, whoever has its place: only what the application makes of it counts.
    pub(super) fn entrance(&mut self, outcome: &Outcome) -> Option<(SocketKey, RoomId)> {
        let Ok(Committed::Joined(joined)) = &outcome.result else { return None };
        let socket = outcome.origin.socket;
        let is_known = self.connections.get_mut(socket.connection)?.standing.is_known();
        let (_, rooms) = self.app.seat_of(socket).filter(|_| is_known)?;
        (!rooms.contains(&joined.room)).then(|| (socket, joined.room.clone()))
    }

    pub(super) fn log_entrance(&mut self, entrance: (SocketKey, RoomId), fence: Option<Offset>, now: Now) {
        let (socket, room) = entrance;
        if !self.app.seat_of(socket).is_some_and(|(_, rooms)| rooms.contains(&room)) {
            return;
        }
        if let Some(restoring) = self.restoring(socket.connection) {
            if let Some(fence) = fence {
                restoring.pass(room, fence);
            }
        } else if let Some(recovery) = &mut self.recovery {
            recovery.log.push(What::Entered { socket, room }, now.instant);
        }
    }

    /// The application cares for a room.
    pub(super) fn watch(&mut self, room: &RoomId) {
        if let Some(recovery) = &mut self.recovery {
            recovery.sessions.note(room, true);
        }
        self.shared.directory.watch(room, self.id);
    }

    /// The application does not care for a room any more. While a session does, its events go on coming.
    pub(super) fn unwatch(&mut self, room: &RoomId) {
        let is_watched = self.recovery.as_mut().is_some_and(|recovery| recovery.sessions.note(room, false));
        if !is_watched {
            self.shared.directory.unwatch(room, self.id);
        }
    }

    /// A connection has ended. What its socket was is kept, if it may come back. To be called before the application
    /// is told that it left.
    pub(super) fn leave_behind(&mut self, key: ConnectionKey, reason: CloseReason, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let is_connected = connection.is_in(ROOT);
        match std::mem::replace(&mut connection.standing, Standing::Unable) {
            Standing::Unable | Standing::Able => {}
            Standing::Restoring(restoring) => self.abandon(key, &restoring, now),
            Standing::Known { pid, last } if is_connected && may_return(reason) => {
                self.keep_session(SocketKey { connection: key, namespace: ROOT }, pid, last, now);
            }
            Standing::Known { .. } => {}
        }
    }

    fn keep_session(&mut self, socket: SocketKey, pid: PrivateId, last: Option<Offset>, now: Now) {
        let Some((user, rooms)) = self.app.seat_of(socket) else { return };
        let Some(recovery) = &mut self.recovery else { return };
        let (left, until) = (recovery.log.end(), now.instant + recovery.window);
        let session = Session { pid, user: user.clone(), rooms: rooms.to_vec(), last, left, until, taken: None };
        let gone = recovery.sessions.add(socket, session);
        recovery.registry.whereabouts.insert(pid, (self.id, socket));
        gone.into_iter().for_each(|gone| self.forget(gone));
    }

    /// What is kept of a session that is over.
    fn forget(&self, gone: Gone) {
        if let Some(recovery) = &self.recovery {
            // Its socket may have come back, and been left again on another core.
            recovery.registry.whereabouts.remove_if(&gone.pid, |_, place| *place == (self.id, gone.socket));
        }
        for room in &gone.unwatched {
            self.shared.directory.unwatch(room, self.id);
        }
    }

    /// Forgets those who do not come back, and what was kept for them.
    pub(super) fn expire_recovery(&mut self, now: Now) {
        let Some(recovery) = &mut self.recovery else { return };
        recovery.log.expire(now.instant);
        let gone: Vec<_> = std::iter::from_fn(|| recovery.sessions.pop_due(now.instant)).collect();
        gone.into_iter().for_each(|gone| self.forget(gone));
    }

    fn write_to(&self, core: CoreId, letter: Letter) {
        if let Some(mailbox) = self.shared.post.of(core) {
            mailbox.post(Mail::Recovery(Box::new(letter)));
        }
    }

    pub(crate) fn handle_letter(&mut self, letter: Letter, now: Now) {
        match letter {
            Letter::Claim { socket, pid, user, ticket } => {
                let rooms = self
                    .recovery
                    .as_mut()
                    .and_then(|recovery| recovery.sessions.take(socket, pid, &user, ticket).map(<[RoomId]>::to_vec));
                self.write_to(ticket.core, Letter::Claimed { ticket, rooms });
            }
            Letter::Fetch { socket, ticket, rooms, offset } => {
                let events = self.missed(socket, ticket, rooms, offset);
                self.write_to(ticket.core, Letter::Missed { ticket, events });
            }
            Letter::Release { socket, ticket } => {
                if let Some(recovery) = &mut self.recovery {
                    recovery.sessions.release(socket, ticket);
                }
            }
            Letter::Forget { socket, ticket } => {
                let gone = self.recovery.as_mut().and_then(|recovery| {
                    recovery.sessions.taken(socket, ticket)?;
                    recovery.sessions.remove(socket)
                });
                if let Some(gone) = gone {
                    self.forget(gone);
                }
            }
            Letter::Claimed { ticket, rooms } => self.handle_claimed(ticket, rooms, now),
            Letter::Missed { ticket, events } => self.handle_missed(ticket, events, now),
        }
    }

    fn missed(
        &self,
        socket: SocketKey,
        ticket: Ticket,
        rooms: HashMap<RoomId, Offset>,
        offset: Option<Offset>,
    ) -> Option<Vec<Given>> {
        let recovery = self.recovery.as_ref()?;
        let session = recovery.sessions.taken(socket, ticket)?;
        let seeker = Seeker { socket, rooms, side: Side::Before, last: session.last, left: session.left };
        recovery.log.missed(seeker, offset, MAX_REPLAYED_BYTES)
    }
}
