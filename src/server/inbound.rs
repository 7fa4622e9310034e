//! From bytes to the application: what arrives on a WebSocket, in a POST, or by the passing of time.
//!
//! Owns the way up through the layers (frame, packet, session, Socket.IO, application) and what a fault in one of them
//! does to the connection. Nothing is written here; effects and queued frames are `outbound`'s.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot::Sender;

use super::connections::{NORMAL_CLOSE, Upper, Wire};
use super::core::State;
use super::gate::ConnectError;
use super::mailbox::{Aborted, Answer, Call, Request};
use super::outbox::SharedFrame;
use crate::chat::application::{Application, Now};
use crate::chat::effect::{Committed, Outcome, Refusal};
use crate::chat::event::Online;
use crate::engineio::body::{self, Form};
use crate::engineio::error::{HandshakeError, PacketError};
use crate::engineio::frame::{self, Frame};
use crate::engineio::handshake::Query;
use crate::engineio::packet::{self, ClientPacket};
use crate::engineio::session::{CloseReason, Output, Received, Revision, Transport};
use crate::ids::{ConnectionKey, Offset, SessionId, SocketKey};
use crate::socketio::{Event, Incoming};

/// RFC 6455 section 7.4.1: the peer broke the protocol above the frames.
pub(super) const PROTOCOL_ERROR: u16 = 1002;
/// The same: what the peer does is legal and unreasonable.
const POLICY_VIOLATION: u16 = 1008;

impl<A: Application> State<A> {
    /// Bytes from a WebSocket.
    pub(crate) fn handle_input(&mut self, wire: Wire, input: &mut [u8], now: Now) {
        self.contain(wire.key, now, |state| state.read_frames(wire, input, now));
    }

    fn read_frames(&mut self, wire: Wire, input: &mut [u8], now: Now) {
        let key = wire.key;
        let max_payload = self.shared.settings.max_payload;
        let Some(websocket) = self.websocket(wire) else { return };
        let mut frames = std::mem::replace(&mut websocket.frames, frame::FrameReader::new(max_payload, false));
        let mut at = 0;
        while let Some(rest) = input.get_mut(at..).filter(|rest| !rest.is_empty()) {
            match frames.read(rest, now.instant) {
                Ok((consumed, frame)) => {
                    at += consumed;
                    if let Some(frame) = frame {
                        self.handle_frame(key, frame, now);
                    }
                }
                Err(error) => {
                    tracing::debug!(reason = error.reason(), "websocket closed");
                    self.fail(key, Transport::WebSocket, error.close_code(), error.reason());
                    break;
                }
            }
        }
        if let Some(websocket) = self.websocket(wire) {
            websocket.frames = frames;
        }
        self.settle(key, now);
    }

    fn handle_frame(&mut self, key: ConnectionKey, frame: Frame<'_>, now: Now) {
        let Some(revision) = self.connections.get_mut(key).map(|connection| connection.session.revision()) else {
            return;
        };
        match frame {
            Frame::Text(text) => self.handle_message(key, ClientPacket::decode(&text, revision), now),
            Frame::Binary(bytes) => {
                let packet = match revision {
                    Revision::V3 => ClientPacket::decode_binary_v3(&bytes),
                    Revision::V4 => Ok(ClientPacket::Binary(Bytes::copy_from_slice(&bytes))),
                };
                self.handle_message(key, packet, now);
            }
            Frame::Ping(payload) => self.pong(key, &payload, now),
            Frame::Pong => {}
            Frame::Close(_) => {
                let Some(connection) = self.connections.get_mut(key) else { return };
                match connection.session.transport() {
                    Transport::WebSocket => connection.session.handle_websocket_closed(true),
                    Transport::Polling => connection.session.handle_probe_error(),
                }
            }
        }
    }

    fn handle_message(&mut self, key: ConnectionKey, packet: Result<ClientPacket<'_>, PacketError>, now: Now) {
        match packet {
            Ok(packet) => self.handle_packet(key, Transport::WebSocket, packet, now),
            Err(error) => {
                tracing::debug!(reason = error.reason(), "packet refused");
                self.fail(key, Transport::WebSocket, PROTOCOL_ERROR, error.reason());
            }
        }
    }

    /// The WebSocket's connection ended.
    pub(crate) fn handle_disconnect(&mut self, wire: Wire, now: Now) {
        if self.websocket(wire).is_none() {
            return;
        }
        self.contain(wire.key, now, |state| {
            let Some(connection) = state.connections.get_mut(wire.key) else { return };
            // Dropped last: it may be what tells the client, who then comes back for what it finds here.
            let _websocket = connection.websocket.take();
            connection.session.handle_websocket_closed(false);
            state.settle(wire.key, now);
        });
    }

    /// What came over `source` is not the protocol: the session ends, or only the probe if that is where it came from.
    pub(super) fn fail(&mut self, key: ConnectionKey, source: Transport, close_code: u16, reason: &'static str) {
        self.shared.metrics.protocol_errors.increment(reason);
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(websocket) = &mut connection.websocket {
            websocket.close_code = close_code;
        }
        if source == Transport::WebSocket && connection.session.transport() == Transport::Polling {
            connection.session.handle_probe_error();
        } else {
            connection.session.handle_parse_error();
        }
    }

    fn handle_packet(&mut self, key: ConnectionKey, source: Transport, packet: ClientPacket<'_>, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let namespaces = self.shared.settings.namespaces;
        let incoming = match (connection.session.handle_packet(source, packet, now.instant), &mut connection.upper) {
            (Received::Nothing, _) => return,
            (Received::Ping(data), _) => return self.push(key, text_frame(packet::PONG, data), now),
            (Received::Text(text), Upper::Echo) => return self.push(key, text_frame(packet::MESSAGE, text), now),
            (Received::Binary(bytes), Upper::Echo) => return self.push(key, SharedFrame::binary(&bytes), now),
            (Received::Text(text), Upper::SocketIo(upper)) => upper.text(text, now.instant, namespaces),
            (Received::Binary(bytes), Upper::SocketIo(upper)) => upper.binary(bytes, now.instant, namespaces),
        };
        match incoming {
            Ok(Some(incoming)) => self.handle_incoming(key, incoming, now),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(reason = error.reason(), "socket.io packet refused");
                self.fail(key, source, PROTOCOL_ERROR, error.reason());
            }
        }
        // What the application wants done for this packet comes before what it says to the next.
        self.execute(now);
    }

    pub(super) fn handle_incoming(&mut self, key: ConnectionKey, incoming: Incoming<'_>, now: Now) {
        let socket = |namespace| SocketKey { connection: key, namespace };
        match incoming {
            Incoming::Connect { namespace, auth } => self.connect(key, namespace, auth.as_deref(), now),
            Incoming::UnknownNamespace { name } => {
                self.refuse_connect(key, &name, ConnectError::UNKNOWN_NAMESPACE, now);
            }
            Incoming::Event { namespace, event, ack } => {
                self.shared.metrics.events.increment();
                self.app.event(socket(namespace), event, ack, now, &mut self.effects);
            }
            Incoming::Ack { namespace, id, args, attachments } => {
                let answer = Event { name: "".into(), args, attachments };
                self.app.acknowledged(socket(namespace), id, answer, now, &mut self.effects);
            }
            Incoming::Disconnect { namespace } => {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.standing.leave(namespace);
                }
                self.shared.metrics.sockets.decrement();
                self.app.disconnect(socket(namespace), now, &mut self.effects);
            }
        }
    }

    /// A request of long-polling.
    pub(crate) fn handle_call(&mut self, call: Call, now: Now) {
        let Call { sid, request, reply } = call;
        let Some(key) = self.connections.find(&sid) else {
            let _ = reply.send(Answer::Refused(HandshakeError::UnknownSession));
            return;
        };
        self.contain(key, now, |state| state.handle_request(key, request, reply, now));
    }

    /// A request that is never answered, because of a panic, is answered by the end of its session.
    fn handle_request(&mut self, key: ConnectionKey, request: Request, reply: Sender<Answer>, now: Now) {
        match request {
            Request::Poll => self.handle_poll(key, reply, now),
            Request::Exists(query) => {
                let _ = reply.send(self.exists(key, query));
            }
            Request::PostBegin => {
                let taken = self.connections.get_mut(key).map(|connection| connection.session.handle_post(now.instant));
                let _ = reply.send(if let Some(Ok(())) = taken { Answer::Done } else { bad_request() });
                self.settle(key, now);
            }
            Request::PostBody { body, form } => {
                let _ = reply.send(self.handle_post(key, form, &body, now));
                self.settle(key, now);
            }
        }
    }

    /// A session does not change its revision; one of revision 3 that takes bytes may learn that it takes none.
    fn exists(&mut self, key: ConnectionKey, query: Query) -> Answer {
        match self.connections.get_mut(key) {
            Some(connection) if query.revision == Some(connection.session.revision()) => {
                connection.base64 |= query.base64;
                Answer::Done
            }
            _ => bad_request(),
        }
    }

    fn handle_poll(&mut self, key: ConnectionKey, reply: Sender<Answer>, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.session.handle_poll(now.instant) {
            Ok(()) => {
                connection.poll = Some(reply);
                // Not answered before what else has arrived is read: an `upgrade` sent before this poll comes first.
                self.mark_dirty(key);
            }
            Err(_) => {
                let _ = reply.send(bad_request());
            }
        }
        self.settle(key, now);
    }

    fn handle_post(&mut self, key: ConnectionKey, form: Form, body: &[u8], now: Now) -> Answer {
        let Some(connection) = self.connections.get_mut(key) else { return bad_request() };
        let refused = match body::decode(connection.session.revision(), form, body) {
            Err(error) => {
                tracing::debug!(reason = error.reason(), "payload refused");
                Some(error.reason())
            }
            Ok(mut packets) => packets.find_map(|packet| match packet {
                Ok(packet) => {
                    self.handle_packet(key, Transport::Polling, packet, now);
                    None
                }
                Err(error) => {
                    tracing::debug!(reason = error.reason(), "packet refused");
                    Some(error.reason())
                }
            }),
        };
        if let Some(reason) = refused {
            self.fail(key, Transport::Polling, PROTOCOL_ERROR, reason);
            return bad_request();
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.session.handle_post_end();
        }
        Answer::Done
    }

    /// A client went away in the middle of a request.
    pub(crate) fn handle_abort(&mut self, sid: &SessionId, request: Aborted, now: Now) {
        let Some(key) = self.connections.find(sid) else { return };
        self.contain(key, now, |state| {
            if let Some(connection) = state.connections.get_mut(key) {
                match request {
                    Aborted::Poll => connection.session.handle_poll_aborted(),
                    Aborted::Post => connection.session.handle_post_aborted(),
                }
            }
            state.settle(key, now);
        });
    }

    /// A connection's deadline has passed.
    pub(crate) fn handle_timeout(&mut self, key: ConnectionKey, now: Now) {
        let bounds = self.shared.settings.outbox;
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.session.handle_timeout(now.instant);
        if !connection.session.is_open() {
            return self.settle(key, now);
        }
        let upper = match &mut connection.upper {
            Upper::SocketIo(upper) => upper.handle_timeout(now.instant),
            Upper::Echo => Ok(()),
        };
        let unfinished = connection.websocket.as_ref().and_then(|websocket| websocket.frames.unfinished_since());
        let is_late = |since: Instant| since + frame::MESSAGE_TIMEOUT <= now.instant;
        if connection.outbox.deadline(bounds).is_some_and(|deadline| deadline <= now.instant) {
            // Settled when it is closed, not before: its deadline lies in the past until then.
            return self.overflowed.push(key);
        }
        if let Err(error) = upper {
            tracing::debug!(reason = error.reason(), "connection timed out");
            connection.session.abort(CloseReason::Server(error.reason()));
        } else if unfinished.is_some_and(is_late) {
            self.fail(key, Transport::WebSocket, POLICY_VIOLATION, "message_late");
        } else {
            self.give_up_restoring(key, now);
        }
        self.settle(key, now);
    }

    /// Does what the session asks for after something happened to it, and notes when it wants to be looked at again.
    pub(crate) fn settle(&mut self, key: ConnectionKey, now: Now) {
        let bounds = self.shared.settings.outbox;
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return };
            match connection.session.poll_output() {
                Output::Ping => self.push(key, SharedFrame::from_text(packet::PING), now),
                Output::ProbePong => self.send_probe_pong(key),
                Output::Upgraded => {
                    // A client ends its polls before it upgrades; one that did not is told that polling is over.
                    if let Some(poll) = connection.poll.take() {
                        let _ = poll.send(bad_request());
                    }
                    self.mark_dirty(key);
                }
                Output::DropProbe => self.drop_websocket(key),
                Output::Closed(reason) => {
                    tracing::debug!(reason = reason.as_str(), "session closed");
                    self.shared.metrics.closed.increment(reason.as_str());
                    if let (CloseReason::ParseError, Some(websocket)) = (reason, &mut connection.websocket)
                        && websocket.close_code == NORMAL_CLOSE
                    {
                        websocket.close_code = PROTOCOL_ERROR;
                    }
                    self.detach(key, reason, now);
                }
                Output::Remove(farewell) => return self.remove(key, farewell, now),
                Output::Wait(at) => {
                    let deadline = connection.deadline(at, bounds);
                    self.timers.schedule(key, &mut connection.scheduled, deadline);
                    return;
                }
            }
        }
    }

    /// Tells the application that the connection's sockets are gone.
    fn detach(&mut self, key: ConnectionKey, reason: CloseReason, now: Now) {
        self.leave_behind(key, reason, now);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.places.clear();
        let Upper::SocketIo(upper) = &connection.upper else { return };
        for namespace in upper.connected() {
            self.shared.metrics.sockets.decrement();
            self.app.disconnect(SocketKey { connection: key, namespace }, now, &mut self.effects);
        }
    }

    /// The store finished with a record of this core.
    pub(crate) fn handle_outcome(&mut self, outcome: Outcome, fence: Option<Offset>, now: Now) {
        self.contain(outcome.origin.socket.connection, now, |state| {
            state.question_answered(outcome.origin.socket.connection, outcome.origin.request);
            let mut online = Online::default();
            if let Ok(Committed::Joined(joined)) = &outcome.result {
                state.shared.directory.enter(&joined.user, &joined.room);
                online = state.shared.directory.online(&joined.room);
            }
            let entrance = state.entrance(&outcome);
            state.app.outcome(outcome, online, now, &mut state.effects);
            if let Some(entrance) = entrance {
                state.log_entrance(entrance, fence, now);
            }
        });
    }

    /// Answers the records that the store has had for too long. One that it has not begun with is taken back; of one
    /// that it has, the answer is that it is not known.
    pub(crate) fn expire_records(&mut self, now: Now) {
        let mut unknown = 0_u32;
        while self.persisting.front().is_some_and(|(at, _, ticket)| *at <= now.instant || ticket.is_done()) {
            let Some((_, origin, ticket)) = self.persisting.pop_front() else { break };
            if ticket.is_done() {
                continue;
            }
            unknown += u32::from(!ticket.cancel());
            self.question_answered(origin.socket.connection, origin.request);
            let outcome = Outcome { origin, result: Err(Refusal::Unavailable) };
            self.app.outcome(outcome, Online::default(), now, &mut self.effects);
        }
        if unknown > 0 {
            tracing::warn!(records = unknown, "the store did not answer in time; what became of these is not known");
        }
    }
}

fn bad_request() -> Answer {
    Answer::Refused(HandshakeError::BadRequest)
}

/// A text packet of Engine.IO.
fn text_frame(packet_type: char, data: &str) -> SharedFrame {
    SharedFrame::text(1 + data.len(), |buffer| {
        buffer.push(packet_type as u8);
        buffer.extend_from_slice(data.as_bytes());
    })
}
