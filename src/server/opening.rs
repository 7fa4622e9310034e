//! How sessions and sockets begin: the handshake of Engine.IO, and joining a namespace.
//!
//! Owns what a new connection starts with, in either revision of the protocols, and who is let in with what answer. What
//! is said afterwards is `inbound`'s.

use super::connections::{Connection, Upper};
use super::core::State;
use super::gate::ConnectError;
use super::outbound::packet_frame;
use super::settings::Settings;
use super::websocket::Handshake;
use crate::chat::application::{Application, ConnectRequest, Now};
use crate::engineio::handshake::{Dialect, OpenPacket};
use crate::engineio::session::{Revision, Session, Timings, Transport};
use crate::ids::{ConnectionKey, NamespaceId, SessionId};
use crate::socketio;

impl<A: Application> State<A> {
    /// A new session, on this core. `None` for one that was on its way when the server began to stop: it would not be
    /// told so any more.
    pub(crate) fn open(&mut self, handshake: Handshake, transport: Transport, now: Now) -> Option<ConnectionKey> {
        if self.shared.phase.is_draining() {
            return None;
        }
        let settings = &self.shared.settings;
        let Handshake { sid, dialect, is_echo, authorization, standing, newcomer } = handshake;
        let revision = dialect.revision();
        let upper = if is_echo {
            Upper::Echo
        } else {
            let socket_io = match revision {
                Revision::V3 => socketio::Revision::V4,
                Revision::V4 => socketio::Revision::V5,
            };
            Upper::SocketIo(socketio::Connection::new(
                settings.parser,
                socket_io,
                now.instant,
                settings.connect_timeout,
            ))
        };
        let connection = Connection {
            sid,
            session: Session::new(transport, revision, settings.timings, now.instant),
            upper,
            outbox: Default::default(),
            base64: dialect == Dialect::V3 { base64: true },
            poll: None,
            websocket: None,
            authorization,
            // An echo never says who it is.
            newcomer: (!is_echo).then(|| Box::new(newcomer)),
            places: Default::default(),
            scheduled: None,
            is_dirty: false,
            pacing: None,
            standing,
        };
        let key = self.connections.insert(connection)?;
        self.shared.metrics.sessions.increment();
        self.settle(key, now);
        Some(key)
    }

    /// Grants what a client asks for by opening a session, once the open packet is on its way.
    pub(crate) fn welcome(&mut self, key: ConnectionKey, now: Now) {
        let namespaces = self.shared.settings.namespaces;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Upper::SocketIo(upper) = &mut connection.upper else { return };
        if let Some(incoming) = upper.opening(namespaces) {
            self.contain(key, now, |state| {
                state.handle_incoming(key, incoming, now);
                state.execute(now);
                state.settle(key, now);
            });
        }
    }

    /// The packet that begins a session.
    pub(crate) fn open_packet(&self, sid: SessionId, transport: Transport) -> String {
        let Settings { timings, max_payload, .. } = &self.shared.settings;
        let Timings { ping_interval, ping_timeout, .. } = *timings;
        OpenPacket { sid, transport, ping_interval, ping_timeout, max_payload: *max_payload }.encode()
    }

    /// A client asks to join a namespace, with credentials in the packet or in the handshake's header.
    pub(super) fn connect(&mut self, key: ConnectionKey, namespace: NamespaceId, payload: Option<&str>, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Upper::SocketIo(upper) = &mut connection.upper else { return };
        let revision = upper.revision();
        let name = self.shared.settings.namespaces.get(usize::from(namespace.0)).copied().unwrap_or("/");
        let identity = self.shared.settings.gate.identify(payload, connection.authorization.as_deref(), now.wall);
        let refused = match identity {
            Err(error) => error.into(),
            Ok(claims) => {
                let users = &self.shared.users;
                match claims.as_ref().map(|claims| connection.places.take(namespace, &claims.user, users)) {
                    Some(false) => ConnectError::TOO_MANY_OF_USER,
                    Some(true) | None => {
                        connection.newcomer = None;
                        // Revision 4 has no other credentials, and may have more namespaces to join.
                        if revision == socketio::Revision::V5 || self.shared.settings.namespaces.len() == 1 {
                            connection.authorization = None;
                        }
                        return self.enter(key, namespace, ConnectRequest { claims, payload }, now);
                    }
                }
            }
        };
        upper.refuse(namespace);
        self.refuse_connect(key, name, refused, now);
    }

    /// Tells a client that it may not join a namespace.
    pub(super) fn refuse_connect(&mut self, key: ConnectionKey, namespace: &str, error: ConnectError, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Upper::SocketIo(upper) = &connection.upper else { return };
        self.shared.metrics.connects_refused.increment(error.code.unwrap_or("invalid_namespace"));
        let error = error.json(upper.revision());
        let parser = self.shared.settings.parser;
        let capacity = namespace.len() + error.len() + 32;
        let frame = packet_frame(parser, capacity, |buffer| parser.connect_error(buffer, namespace, &error));
        self.push(key, frame, now);
    }
}
