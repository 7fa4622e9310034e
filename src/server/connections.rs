//! A core's connections: one struct each, in a table of reusable slots.
//!
//! Owns the state of a connection and the generational keys. What is done with it is written in `inbound` and
//! `outbound`.

use std::collections::HashMap;
use std::task::Waker;
use std::time::Instant;

use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::oneshot;

use super::admission::Places;
use super::mailbox::Answer;
use super::newcomers::Newcomer;
use super::outbox::{Bounds, Outbox};
use super::pacing::Pacing;
use super::recovery::Standing;
use crate::engineio::frame::{FrameReader, MESSAGE_TIMEOUT};
use crate::engineio::handshake::Dialect;
use crate::engineio::session::{Revision, Session};
use crate::ids::{ConnectionKey, NamespaceId, SessionId};
use crate::socketio;

/// One Engine.IO session and everything that hangs on it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sid: SessionId,
    pub(crate) session: Session,
    pub(crate) upper: Upper,
    pub(crate) outbox: Outbox,
    /// Revision 3: a request said `b64=1`, and from then on nothing is sent as bytes.
    pub(crate) base64: bool,
    /// The way to answer the held poll.
    pub(crate) poll: Option<oneshot::Sender<Answer>>,
    /// The WebSocket that is the transport, or is being probed to become it.
    pub(crate) websocket: Option<WebSocket>,
    /// The handshake's `Authorization` header, until a CONNECT was accepted.
    pub(crate) authorization: Option<Box<str>>,
    /// Its place among those who have not said yet who they are, until a CONNECT was accepted. Boxed, because for most of
    /// its life a connection has none.
    pub(crate) newcomer: Option<Box<Newcomer>>,
    /// The users that it is counted for, by namespace.
    pub(crate) places: Places,
    /// When the timer table has this connection next.
    pub(crate) scheduled: Option<Instant>,
    /// Whether it is on the list of connections to flush.
    pub(crate) is_dirty: bool,
    /// Questions with long answers.
    pub(crate) pacing: Option<Box<Pacing>>,
    /// Whether, and as whom, its socket may come back.
    pub(crate) standing: Standing,
}

/// What a session's messages are for.
#[derive(Debug)]
pub(crate) enum Upper {
    /// Socket.IO.
    SocketIo(socketio::Connection),
    /// A bare Engine.IO echo, for conformance suites.
    Echo,
}

/// One WebSocket of a connection. A session may see several before one of them becomes its transport, so the serial
/// tells the present one from those whose tasks are still on their way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) key: ConnectionKey,
    pub(crate) serial: u32,
}

/// A WebSocket. Its reading half lives in the task that waits for it.
#[derive(Debug)]
pub(crate) struct WebSocket {
    pub(crate) write: OwnedWriteHalf,
    pub(crate) serial: u32,
    pub(crate) frames: FrameReader,
    /// permessage-deflate was agreed on.
    pub(crate) deflates: bool,
    /// Wakes the reading task, which also waits for writability.
    pub(crate) waker: Option<Waker>,
    /// The kernel takes no more for now.
    pub(crate) is_blocked: bool,
    /// A pong waits in the outbox; of several pings only one needs an answer (RFC 6455 section 5.5.3).
    pub(crate) pong_queued: bool,
    /// The status code of the close frame, when something else than a normal end.
    pub(crate) close_code: u16,
}

/// RFC 6455 section 7.4.1.
pub(crate) const NORMAL_CLOSE: u16 = 1000;

impl WebSocket {
    pub(crate) fn new(write: OwnedWriteHalf, serial: u32, max_payload: usize, deflates: bool) -> Self {
        Self {
            write,
            serial,
            frames: FrameReader::new(max_payload, deflates),
            deflates,
            waker: None,
            is_blocked: false,
            pong_queued: false,
            close_code: NORMAL_CLOSE,
        }
    }
}

impl Connection {
    /// Whether the client has joined a namespace.
    pub(crate) fn is_in(&self, namespace: NamespaceId) -> bool {
        match &self.upper {
            Upper::SocketIo(upper) => upper.is_connected(namespace),
            Upper::Echo => false,
        }
    }

    /// In what form the client takes what it is sent.
    pub(crate) fn dialect(&self) -> Dialect {
        match self.session.revision() {
            Revision::V3 => Dialect::V3 { base64: self.base64 },
            Revision::V4 => Dialect::V4,
        }
    }

    /// The earliest time at which something is due here. Of a session that is over only the session's own deadline
    /// counts: nobody is left to be late.
    pub(crate) fn deadline(&self, wait: Instant, bounds: Bounds) -> Instant {
        if !self.session.is_open() {
            return wait;
        }
        let upper = match &self.upper {
            Upper::SocketIo(connection) => connection.deadline(),
            Upper::Echo => None,
        };
        let unfinished = self.websocket.as_ref().and_then(|websocket| websocket.frames.unfinished_since());
        let restoring = self.standing.deadline();
        [upper, restoring, self.outbox.deadline(bounds), unfinished.map(|since| since + MESSAGE_TIMEOUT)]
            .into_iter()
            .flatten()
            .fold(wait, Instant::min)
    }
}

/// The connections of one core, by key and by `sid`.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_sid: HashMap<SessionId, ConnectionKey>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

impl Connections {
    /// Adds a connection. `None` when four thousand million are there already.
    pub(crate) fn insert(&mut self, connection: Connection) -> Option<ConnectionKey> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(Slot::default());
                u32::try_from(self.slots.len() - 1).ok()?
            }
        };
        let slot = self.slots.get_mut(index as usize)?;
        let key = ConnectionKey { index, generation: slot.generation };
        self.by_sid.insert(connection.sid, key);
        slot.connection = Some(Box::new(connection));
        Some(key)
    }

    pub(crate) fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.generation == key.generation).then_some(slot.connection.as_deref_mut()).flatten()
    }

    pub(crate) fn find(&self, sid: &SessionId) -> Option<ConnectionKey> {
        self.by_sid.get(sid).copied()
    }

    pub(crate) fn remove(&mut self, key: ConnectionKey) -> Option<Box<Connection>> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        let connection = slot.connection.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        self.by_sid.remove(&connection.sid);
        Some(connection)
    }

    pub(crate) fn keys(&self) -> Vec<ConnectionKey> {
        self.by_sid.values().copied().collect()
    }
}
