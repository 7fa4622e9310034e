//! From effects to bytes: what the application asked for becomes frames, frames go into outboxes, outboxes to sockets.
//!
//! Owns the fan-out. A packet is encoded and framed once, appended to the outbox of each receiving connection of this
//! core, and mailed to those other cores that the directory names. The writes themselves happen in [`State::flush`],
//! once per turn of the core's loop.

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connections::{Connections, NORMAL_CLOSE, Upper, WebSocket, Wire};
use super::core::State;
use super::mailbox::{Answer, Frames, Mail};
use super::metrics::Metrics;
use super::outbox::{Bounds, Outbox, SharedFrame};
use super::recovery::Form;
use crate::chat::application::{Application, Now};
use crate::chat::effect::{Effect, OutEvent};
use crate::chat::event;
use crate::engineio::body::Body;
use crate::engineio::frame;
use crate::engineio::packet;
use crate::engineio::payload::ServerPacket;
use crate::engineio::session::{self, CloseReason, Farewell, Sink, Transport};
use crate::ids::{ConnectionKey, CoreId, NamespaceId, Offset, RoomId, SocketKey, UserId};
use crate::socketio::{self, AckId, Parser};

/// Frames handed to one vectored write; Linux takes at most 1024.
const MAX_SLICES: usize = 64;

/// Within what time clients of a stopping server are asked to come back: spread, so that they do not all come at once.
const RECONNECT_WITHIN_MS: u64 = 5000;

impl<A: Application> State<A> {
    /// Does everything the application asked for, and what it asks for meanwhile.
    pub(crate) fn execute(&mut self, now: Now) {
        loop {
            for effect in std::mem::take(&mut self.effects) {
                self.perform(effect, now);
            }
            for key in std::mem::take(&mut self.overflowed) {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.session.abort(CloseReason::Server("slow_consumer"));
                }
                self.settle(key, now);
            }
            if self.effects.is_empty() && self.overflowed.is_empty() {
                return;
            }
        }
    }

    fn perform(&mut self, effect: Effect, now: Now) {
        match effect {
            Effect::Emit { to, event, ack } => {
                let name = self.namespace(to.namespace);
                let offset = if ack.is_none() { self.offset_for(to) } else { None };
                let frames = event_frames(self.shared.settings.parser, name, &event, ack, false, offset);
                self.log_for_socket(to, &frames, now);
                self.send(to.connection, &frames, now);
            }
            Effect::Ack { to, id, args, attachments } => {
                let name = self.namespace(to.namespace);
                let parser = self.shared.settings.parser;
                let head = packet_frame(parser, args.len() + 32, |buffer| {
                    parser.ack(buffer, name, id, &args, &attachments);
                });
                let attachments = attachment_frames(parser, &attachments);
                self.send(to.connection, &Frames { head, attachments, is_volatile: false, offset: None }, now);
            }
            Effect::Broadcast { room, except, event, volatile } => {
                let offset = if volatile { None } else { self.next_offset() };
                let frames = event_frames(self.shared.settings.parser, "/", &event, None, volatile, offset);
                let watchers = self.shared.directory.watchers(&room);
                for core in watchers.iter().filter(|core| *core != self.id) {
                    self.mail(core, volatile, || Mail::Room {
                        room: room.clone(),
                        frames: frames.clone(),
                        except: None,
                    });
                }
                self.send_to_room(&room, &frames, except, now);
            }
            Effect::Watch(room) => self.watch(&room),
            Effect::Unwatch(room) => self.unwatch(&room),
            Effect::Store(record) => self.submit(record, now),
            Effect::Presence { user, username, socket, change } => {
                self.change_presence(&user, &username, socket, change, now);
            }
            Effect::Verify { socket, ack, token } => {
                let verdict = self.shared.settings.gate.check(token.reveal(), now.wall);
                self.app.verified(socket, ack, verdict, now, &mut self.effects);
            }
            Effect::Restored { socket, is_certain } => self.handle_restored(socket, is_certain, now),
            Effect::Failed(code) => self.shared.metrics.failed.increment(code.as_str()),
            Effect::Disconnect { socket, reason } => {
                if let Some(connection) = self.connections.get_mut(socket.connection) {
                    connection.session.close(reason, now.instant);
                }
                self.settle(socket.connection, now);
                self.mark_dirty(socket.connection);
            }
        }
    }

    pub(super) fn namespace(&self, id: NamespaceId) -> &'static str {
        self.shared.settings.namespaces.get(usize::from(id.0)).copied().unwrap_or("/")
    }

    /// Posts to another core. A letter that may be lost is not added to a full mailbox.
    pub(super) fn mail(&self, core: CoreId, volatile: bool, mail: impl FnOnce() -> Mail) {
        let Some(mailbox) = self.shared.post.of(core) else { return };
        if volatile && mailbox.is_full() {
            self.shared.metrics.volatile_dropped.increment();
        } else {
            mailbox.post(mail());
        }
    }

    pub(crate) fn send_to_room(&mut self, room: &RoomId, frames: &Frames, except: Option<SocketKey>, now: Now) {
        self.log_for_room(room, frames, except, now);
        let (app, mut recipients) = self.recipients(now);
        for socket in app.members(room).iter().filter(|socket| Some(**socket) != except) {
            recipients.give(socket.connection, frames);
        }
    }

    pub(crate) fn send_to_users(&mut self, users: &[UserId], frames: &Frames, now: Now) {
        let (app, mut recipients) = self.recipients(now);
        for socket in users.iter().flat_map(|user| app.sockets_of(user)) {
            recipients.give(socket.connection, frames);
        }
    }

    pub(crate) fn send_to_all(&mut self, frames: &Frames, except: Option<SocketKey>, now: Now) {
        for key in self.connections.keys() {
            let connected = self.connections.get_mut(key).is_some_and(|connection| connection.is_in(NamespaceId(0)));
            if connected && except.is_none_or(|except| except.connection != key) {
                self.send(key, frames, now);
            }
        }
    }

    /// Queues a packet for one connection.
    pub(super) fn send(&mut self, key: ConnectionKey, frames: &Frames, now: Now) {
        self.recipients(now).1.give(key, frames);
    }

    /// The application, to be asked who receives, and the connections, to be given to.
    fn recipients(&mut self, now: Now) -> (&A, Recipients<'_>) {
        let recipients = Recipients {
            connections: &mut self.connections,
            dirty: &mut self.dirty,
            overflowed: &mut self.overflowed,
            metrics: &self.shared.metrics,
            bounds: self.shared.settings.outbox,
            now: now.instant,
            plain: None,
        };
        (&self.app, recipients)
    }

    /// Queues one frame that must arrive.
    pub(super) fn push(&mut self, key: ConnectionKey, head: SharedFrame, now: Now) {
        self.send(key, &Frames { head, attachments: Arc::default(), is_volatile: false, offset: None }, now);
    }

    /// Queues the answer to a WebSocket ping, unless one is waiting already.
    pub(super) fn pong(&mut self, key: ConnectionKey, payload: &[u8], now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(websocket) = &mut connection.websocket else { return };
        let pong = SharedFrame::control(&frame::pong(payload));
        if connection.session.transport() == Transport::Polling {
            websocket.write_now(&mut Outbox::default(), pong);
        } else if !std::mem::replace(&mut websocket.pong_queued, true) {
            self.push(key, pong, now);
        }
    }

    /// A WebSocket, if its connection still has it.
    pub(super) fn websocket(&mut self, wire: Wire) -> Option<&mut WebSocket> {
        self.connections.get_mut(wire.key)?.websocket.as_mut().filter(|websocket| websocket.serial == wire.serial)
    }

    pub(super) fn mark_dirty(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.connections.get_mut(key)
            && !std::mem::replace(&mut connection.is_dirty, true)
        {
            self.dirty.push(key);
        }
    }

    /// Writes what is queued, connection by connection.
    pub(crate) fn flush(&mut self, now: Now) {
        while !self.dirty.is_empty() {
            for key in std::mem::take(&mut self.dirty) {
                self.contain(key, now, |state| {
                    state.flush_connection(key);
                    state.settle(key, now);
                    state.ask_next(key, now);
                });
            }
        }
    }

    fn flush_connection(&mut self, key: ConnectionKey) {
        let max_payload = self.shared.settings.max_payload;
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.is_dirty = false;
        match connection.session.sink() {
            Sink::None => {}
            Sink::WebSocket => {
                let Some(websocket) = &mut connection.websocket else { return };
                if websocket.is_blocked {
                    return;
                }
                connection.outbox.set_deflates(websocket.deflates);
                match write(&mut connection.outbox, websocket) {
                    Written::All => {
                        websocket.pong_queued = false;
                        connection.session.handle_drained();
                    }
                    Written::Blocked => {
                        websocket.is_blocked = true;
                        websocket.wake();
                    }
                    Written::Failed => connection.session.handle_websocket_closed(false),
                }
            }
            Sink::Poll => {
                let body = match connection.session.answer(connection.outbox.is_empty()) {
                    Some(session::Answer::Outbox) => connection.outbox.take_payload(connection.dialect(), max_payload),
                    Some(session::Answer::Noop) => Body::of(connection.session.revision(), packet::NOOP),
                    None => return,
                };
                let delivered = connection.poll.take().is_some_and(|poll| poll.send(Answer::Payload(body)).is_ok());
                if !delivered {
                    connection.session.abort(CloseReason::RequestAborted);
                }
            }
        }
    }

    /// Answers the probe on the WebSocket that carries it; the outbox still belongs to polling.
    pub(super) fn send_probe_pong(&mut self, key: ConnectionKey) {
        if let Some(websocket) = self.connections.get_mut(key).and_then(|connection| connection.websocket.as_mut()) {
            websocket.write_now(&mut Outbox::default(), SharedFrame::from_text(packet::PONG_PROBE));
        }
        self.mark_dirty(key);
    }

    /// Closes the WebSocket alone.
    pub(super) fn drop_websocket(&mut self, key: ConnectionKey) {
        if let Some(mut websocket) = self.connections.get_mut(key).and_then(|connection| connection.websocket.take()) {
            websocket.close(&mut Outbox::default());
        }
    }

    /// Forgets a session that is over, with a last word to whoever still listens.
    pub(super) fn remove(&mut self, key: ConnectionKey, farewell: Farewell, now: Now) {
        let Some(mut connection) = self.connections.remove(key) else { return };
        self.drop_questions(&mut connection, now);
        self.shared.metrics.sessions.decrement();
        if let Some(poll) = connection.poll.take() {
            let mut body = connection.outbox.take_payload(connection.dialect(), self.shared.settings.max_payload);
            let last = match farewell {
                Farewell::Close => packet::CLOSE,
                Farewell::Noop => packet::NOOP,
            };
            body.append(ServerPacket::Text(last.as_bytes()));
            let _ = poll.send(Answer::Payload(body));
        }
        if let Some(mut websocket) = connection.websocket.take() {
            connection.outbox.set_deflates(websocket.deflates);
            let mut outbox = match connection.session.transport() {
                Transport::WebSocket => connection.outbox,
                Transport::Polling => Outbox::default(),
            };
            websocket.close(&mut outbox);
        }
    }

    /// Tells every client to come back later, each at a time of its own; the cores' times lie between each other's. Who
    /// is not in yet could only be let in to be sent away, and is sent away now.
    pub(crate) fn drain_clients(&mut self, now: Now) {
        let parser = self.shared.settings.parser;
        let cores = u64::try_from(self.shared.settings.cores).unwrap_or(1).max(1);
        let keys = self.connections.keys();
        let count = u64::try_from(keys.len()).unwrap_or(u64::MAX).max(1);
        for (position, key) in (0_u64..).zip(keys) {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let place = position.saturating_mul(cores).saturating_add(self.id.0.into());
            let reconnect_in = 500 + RECONNECT_WITHIN_MS.saturating_mul(place) / count.saturating_mul(cores);
            let event = event::server_draining(reconnect_in);
            if connection.is_in(NamespaceId(0)) {
                // Nobody comes back to this process: an offset would be of no use.
                self.send(key, &event_frames(parser, "/", &event, None, false, None), now);
            } else if matches!(connection.upper, Upper::SocketIo(_)) {
                self.close_session(key, now);
            }
        }
    }

    /// Ends every session; what is queued still goes out.
    pub(crate) fn close_all(&mut self, now: Now) {
        for key in self.connections.keys() {
            self.close_session(key, now);
        }
    }

    fn close_session(&mut self, key: ConnectionKey, now: Now) {
        self.contain(key, now, |state| {
            if let Some(connection) = state.connections.get_mut(key) {
                connection.session.close("server_shutdown", now.instant);
            }
            state.settle(key, now);
            state.mark_dirty(key);
        });
    }
}

/// The connections of a core, while one packet is given to many of them.
struct Recipients<'a> {
    connections: &'a mut Connections,
    dirty: &'a mut Vec<ConnectionKey>,
    overflowed: &'a mut Vec<ConnectionKey>,
    metrics: &'a Metrics,
    bounds: Bounds,
    now: Instant,
    /// The packet for those who take no offsets, once the first of them is there.
    plain: Option<SharedFrame>,
}

impl Recipients<'_> {
    /// Appends a packet to one outbox. A connection that is too slow for it is noted, to be closed afterwards.
    fn give(&mut self, key: ConnectionKey, frames: &Frames) {
        let Some(connection) = self.connections.get_mut(key).filter(|connection| connection.session.is_open()) else {
            return;
        };
        let dialect = connection.dialect();
        let head = match connection.standing.take(frames) {
            Form::Whole => &frames.head,
            Form::Plain => self.plain.get_or_insert_with(|| frames.head.rewritten(socketio::encode::without_offset)),
            Form::Withheld => return,
        };
        if frames.is_volatile {
            if !connection.outbox.push_volatile(head.in_dialect(dialect), self.bounds, self.now) {
                return self.metrics.volatile_dropped.increment();
            }
        } else {
            let mut all = std::iter::once(head).chain(frames.attachments.iter());
            if all.any(|frame| connection.outbox.push(frame.in_dialect(dialect), self.bounds, self.now).is_err()) {
                return self.overflowed.push(key);
            }
        }
        if !std::mem::replace(&mut connection.is_dirty, true) {
            self.dirty.push(key);
        }
    }
}

/// How far a write came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    All,
    Blocked,
    Failed,
}

fn write(outbox: &mut Outbox, websocket: &WebSocket) -> Written {
    while !outbox.is_empty() {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let filled = outbox.slices(&mut slices);
        match websocket.write.try_write_vectored(slices.get(..filled).unwrap_or_default()) {
            Ok(0) => return Written::Failed,
            Ok(count) => outbox.advance(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Written::Blocked,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Written::Failed,
        }
    }
    Written::All
}

impl WebSocket {
    /// Has the reading task look at this connection again.
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Writes a frame past the session's outbox; what the kernel does not take is lost.
    fn write_now(&mut self, outbox: &mut Outbox, frame: SharedFrame) {
        let unbounded = Bounds { bytes: usize::MAX, age: Duration::MAX };
        if outbox.push(frame, unbounded, Instant::now()).is_ok() {
            write(outbox, self);
        }
    }

    /// Writes what is left and a close frame, as far as the kernel takes it. The connection ends when the last half of
    /// it is dropped.
    pub(super) fn close(&mut self, outbox: &mut Outbox) {
        let reason = if self.close_code == NORMAL_CLOSE { "" } else { "protocol error" };
        self.write_now(outbox, SharedFrame::control(&frame::close(self.close_code, reason)));
        self.wake();
    }
}

/// An event, encoded and framed. With an offset, which is only for JSON, clients may come back for it.
pub(crate) fn event_frames(
    parser: Parser,
    namespace: &str,
    event: &OutEvent,
    ack: Option<AckId>,
    is_volatile: bool,
    offset: Option<Offset>,
) -> Frames {
    let OutEvent { name, args, attachments } = event;
    let head = packet_frame(parser, name.len() + args.len() + 48, |buffer| {
        parser.event(buffer, namespace, name, args, ack, attachments);
        if let Some(offset) = offset {
            socketio::encode::offset(buffer, offset);
        }
    });
    Frames { head, attachments: attachment_frames(parser, attachments), is_volatile, offset }
}

/// One packet, framed as its parser has it: JSON is text behind the type of a message, MessagePack a binary message.
pub(super) fn packet_frame(parser: Parser, capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> SharedFrame {
    match parser {
        Parser::Json => SharedFrame::text(capacity, |buffer| {
            buffer.push(packet::MESSAGE as u8);
            write(buffer);
        }),
        Parser::MsgPack => SharedFrame::binary_with(capacity, write),
    }
}

fn attachment_frames(parser: Parser, attachments: &[bytes::Bytes]) -> Arc<[SharedFrame]> {
    parser.after(attachments).iter().map(|data| SharedFrame::binary(data)).collect()
}
