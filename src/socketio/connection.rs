//! The Socket.IO side of one connection: what a packet means after all that came before it.
//!
//! Owns which namespaces the client has joined or asks to join, and the two clocks of a connection (time to the first
//! CONNECT, time for attachments). Must not know who may join, what an event does, or how answers travel.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::ids::NamespaceId;
use crate::socketio::ack::AckId;
use crate::socketio::decode::{self, Decoder};
use crate::socketio::error::{DecodeError, ProtocolError};
use crate::socketio::event::{Args, Event};
use crate::socketio::msgpack;
use crate::socketio::packet::{Packet, PacketKind};
use crate::socketio::parser::Parser;
use crate::socketio::revision::Revision;

/// Most namespaces that one connection may have joined, or asked to join, at a time.
pub const MAX_NAMESPACES: u32 = 4;

/// Most CONNECT packets in the life of one connection, known namespaces or not, accepted or not: enough for a client
/// that comes back with a new token, too few to make work of.
pub const MAX_CONNECTS: u8 = 16;

/// Most namespaces a server may offer; later ones in its list are unknown to every client.
pub const MAX_OFFERED_NAMESPACES: usize = 8;

/// What the client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// To join. Answer with [`Connection::accept`] and CONNECT, or [`Connection::refuse`] and CONNECT_ERROR.
    Connect {
        /// Which namespace.
        namespace: NamespaceId,
        /// The credentials, a JSON object as text.
        auth: Option<Cow<'a, str>>,
    },
    /// To join what does not exist. Answer with CONNECT_ERROR `{"message":"Invalid namespace"}`, as the reference does.
    UnknownNamespace {
        /// The name as the client gave it; safe to write back into a packet, not into a log.
        name: Cow<'a, str>,
    },
    /// An event.
    Event {
        /// Where.
        namespace: NamespaceId,
        /// What.
        event: Event<'a>,
        /// Answer under this id, if the client wants an answer.
        ack: Option<AckId>,
    },
    /// The answer to an event of the server's.
    Ack {
        /// Where.
        namespace: NamespaceId,
        /// The id the server gave. It may be unknown: see [`PendingAcks::take`](crate::socketio::PendingAcks::take).
        id: AckId,
        /// The answer.
        args: Args<'a>,
        /// What the placeholders in `args` stand for, by index.
        attachments: Vec<Bytes>,
    },
    /// The client has left; it is no longer connected here.
    Disconnect {
        /// Which namespace.
        namespace: NamespaceId,
    },
}

/// One client's connection, from its first message to its last.
///
/// [`text`](Self::text) and [`binary`](Self::binary) take every message in the order it came; `namespaces` must be the
/// same list each time, and its indices are the [`NamespaceId`]s. [`deadline`](Self::deadline) says when to call
/// [`handle_timeout`](Self::handle_timeout) at the latest. After any error, close the connection.
///
/// Follows socket.io 4.8.4 (`dist/client.js`): a packet for a namespace that is not joined ends the connection, even
/// when it was joined a moment ago; leaving every namespace does not, and does not start the connect timeout again.
/// Stricter in one place: a second CONNECT also ends it while the first still waits for its answer. More lenient in
/// another: in revision 4 a CONNECT for `/`, which the opening of the connection asked for, ends nothing.
#[derive(Debug)]
pub struct Connection {
    parser: Parser,
    decoder: Decoder,
    revision: Revision,
    /// Until the first successful CONNECT.
    connect_deadline: Option<Instant>,
    connected: NamespaceSet,
    pending: NamespaceSet,
    connects: u8,
}

impl Connection {
    /// A connection that was opened now and has `connect_timeout` to join its first namespace.
    #[must_use]
    pub fn new(parser: Parser, revision: Revision, now: Instant, connect_timeout: Duration) -> Self {
        Self {
            parser,
            decoder: Decoder::default(),
            revision,
            connect_deadline: Some(now + connect_timeout),
            connected: NamespaceSet::default(),
            pending: NamespaceSet::default(),
            connects: 0,
        }
    }

    /// The revision it speaks.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// What the client asks for by opening the connection: in revision 4, to join `/`. To be called once, before
    /// anything that it says.
    pub fn opening(&mut self, namespaces: &[&str]) -> Option<Incoming<'static>> {
        match self.revision {
            Revision::V4 => {
                let namespace = find(namespaces, "/")?;
                self.pending.insert(namespace);
                Some(Incoming::Connect { namespace, auth: None })
            }
            Revision::V5 => None,
        }
    }

    /// Takes a text message. `None` when there is nothing to do: attachments are still to come, an ack without an id was
    /// ignored, or a CONNECT that revision 4 has no need of.
    ///
    /// # Errors
    /// [`ProtocolError`]: the client broke a rule and the connection is to be closed.
    pub fn text<'a>(
        &mut self,
        text: &'a str,
        now: Instant,
        namespaces: &[&str],
    ) -> Result<Option<Incoming<'a>>, ProtocolError> {
        let connect = match (self.parser, self.revision) {
            (Parser::MsgPack, _) => return Err(DecodeError::TextPacket.into()),
            (Parser::Json, Revision::V4) if !self.decoder.is_waiting() => decode::connect_v4(text).transpose()?,
            (Parser::Json, Revision::V4 | Revision::V5) => None,
        };
        let packet = match connect {
            None => self.decoder.text(text, now)?,
            connect => connect,
        };
        packet.map_or(Ok(None), |packet| self.handle(packet, namespaces))
    }

    /// Takes a binary message: the next attachment of the packet before, or with MessagePack a packet. `None` as for [`text`](Self::text).
    ///
    /// # Errors
    /// [`ProtocolError`]: the client broke a rule and the connection is to be closed.
    pub fn binary(
        &mut self,
        data: Bytes,
        now: Instant,
        namespaces: &[&str],
    ) -> Result<Option<Incoming<'static>>, ProtocolError> {
        let packet = match self.parser {
            Parser::Json => self.decoder.binary(data, now)?,
            Parser::MsgPack => Some(msgpack::decode(&data)?),
        };
        packet.map_or(Ok(None), |packet| self.handle(packet, namespaces))
    }

    fn handle<'a>(&mut self, packet: Packet<'a>, namespaces: &[&str]) -> Result<Option<Incoming<'a>>, ProtocolError> {
        let known = find(namespaces, &packet.namespace);
        let joined = known.filter(|namespace| self.is_connected(*namespace)).ok_or(ProtocolError::NotConnected);
        Ok(match packet.kind {
            PacketKind::Connect => self.handle_connect(known, packet)?,
            PacketKind::Disconnect => {
                let namespace = joined?;
                self.connected.remove(namespace);
                Some(Incoming::Disconnect { namespace })
            }
            PacketKind::Event => {
                let (namespace, ack) = (joined?, packet.id);
                Some(Incoming::Event { namespace, event: Event::try_from(packet)?, ack })
            }
            PacketKind::Ack => {
                let namespace = joined?;
                let attachments = packet.attachments;
                packet.id.map(|id| Incoming::Ack { namespace, id, args: Args::from_array(packet.data), attachments })
            }
            PacketKind::ConnectError => return Err(DecodeError::ServerOnly.into()),
        })
    }

    fn handle_connect<'a>(
        &mut self,
        known: Option<NamespaceId>,
        packet: Packet<'a>,
    ) -> Result<Option<Incoming<'a>>, ProtocolError> {
        if self.connects >= MAX_CONNECTS {
            return Err(ProtocolError::TooManyConnects);
        }
        self.connects += 1;
        let Some(namespace) = known else { return Ok(Some(Incoming::UnknownNamespace { name: packet.namespace })) };
        if self.connected.contains(namespace) || self.pending.contains(namespace) {
            return match (self.revision, &*packet.namespace) {
                (Revision::V4, "/") => Ok(None),
                _ => Err(ProtocolError::ConnectTwice),
            };
        }
        if self.connected.len() + self.pending.len() >= MAX_NAMESPACES {
            return Err(ProtocolError::TooManyNamespaces);
        }
        self.pending.insert(namespace);
        Ok(Some(Incoming::Connect { namespace, auth: Some(packet.data).filter(|data| !data.is_empty()) }))
    }

    /// The client may join: from now on it is connected there. `false`, and no change, when it is not waiting for that.
    pub fn accept(&mut self, namespace: NamespaceId) -> bool {
        let waiting = self.pending.remove(namespace);
        if waiting {
            self.connected.insert(namespace);
            self.connect_deadline = None;
        }
        waiting
    }

    /// The client may not join. It may ask again. `false` when it is not waiting for that.
    pub fn refuse(&mut self, namespace: NamespaceId) -> bool {
        self.pending.remove(namespace)
    }

    /// The server puts the client out, or takes its request for refused. `false` when it was neither in nor waiting.
    pub fn disconnect(&mut self, namespace: NamespaceId) -> bool {
        self.connected.remove(namespace) || self.pending.remove(namespace)
    }

    /// Whether the client has joined the namespace.
    #[must_use]
    pub fn is_connected(&self, namespace: NamespaceId) -> bool {
        self.connected.contains(namespace)
    }

    /// The namespaces that the client has joined, in the order of their ids.
    pub fn connected(&self) -> impl Iterator<Item = NamespaceId> + use<> {
        let connected = self.connected;
        (0..8).map(NamespaceId).filter(move |namespace| connected.contains(*namespace))
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to say; `None` while no clock is running.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.connect_deadline.into_iter().chain(self.decoder.deadline()).min()
    }

    /// To be called when the deadline has passed; earlier it does nothing.
    ///
    /// # Errors
    /// [`ProtocolError::ConnectTimeout`] when no namespace was joined in time, [`DecodeError::AttachmentsLate`] when
    /// attachments are missing: the connection is to be closed.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        if self.connect_deadline.is_some_and(|deadline| deadline <= now) {
            return Err(ProtocolError::ConnectTimeout);
        }
        if self.decoder.deadline().is_some_and(|deadline| deadline <= now) {
            return Err(DecodeError::AttachmentsLate.into());
        }
        Ok(())
    }
}

/// The id of an offered namespace.
fn find(namespaces: &[&str], name: &str) -> Option<NamespaceId> {
    let mut offered = (0..).zip(namespaces.iter().take(MAX_OFFERED_NAMESPACES));
    offered.find(|(_, offered)| **offered == name).map(|(index, _)| NamespaceId(index))
}

/// A set of the first eight namespaces; others are never in it.
#[derive(Clone, Copy, Debug, Default)]
struct NamespaceSet(u8);

impl NamespaceSet {
    fn bit(namespace: NamespaceId) -> u8 {
        1u8.checked_shl(namespace.0.into()).unwrap_or(0)
    }

    fn contains(self, namespace: NamespaceId) -> bool {
        self.0 & Self::bit(namespace) != 0
    }

    fn insert(&mut self, namespace: NamespaceId) {
        self.0 |= Self::bit(namespace);
    }

    /// Whether it was there.
    fn remove(&mut self, namespace: NamespaceId) -> bool {
        let was = self.contains(namespace);
        self.0 &= !Self::bit(namespace);
        was
    }

    fn len(self) -> u32 {
        self.0.count_ones()
    }
}

#[cfg(test)]
mod tests;
