//! Which of the two forms of packets a server speaks.
//!
//! The reference calls it the parser, and both ends have to be set up with the same one: nothing on the wire says which it is.

use bytes::Bytes;

use crate::ids::SocketId;
use crate::socketio::ack::AckId;
use crate::socketio::revision::Revision;
use crate::socketio::{encode, msgpack};

/// A wire form of packets. Every function appends one packet to a buffer; what it means is said in [`encode`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parser {
    /// The one that clients have built in: text, and binary messages for the attachments after it.
    #[default]
    Json,
    /// `socket.io-msgpack-parser`: one binary message, attachments inside. See [`msgpack`].
    MsgPack,
}

impl Parser {
    /// CONNECT.
    pub fn connect(self, out: &mut Vec<u8>, revision: Revision, namespace: &str, sid: SocketId) {
        match self {
            Self::Json => encode::connect(out, revision, namespace, sid),
            Self::MsgPack => msgpack::encode::connect(out, revision, namespace, sid),
        }
    }

    /// CONNECT_ERROR; `error` is a JSON object, in revision 4 a JSON string.
    pub fn connect_error(self, out: &mut Vec<u8>, namespace: &str, error: &str) {
        match self {
            Self::Json => encode::connect_error(out, namespace, error),
            Self::MsgPack => msgpack::encode::connect_error(out, namespace, error),
        }
    }

    /// DISCONNECT.
    pub fn disconnect(self, out: &mut Vec<u8>, namespace: &str) {
        match self {
            Self::Json => encode::disconnect(out, namespace),
            Self::MsgPack => msgpack::encode::disconnect(out, namespace),
        }
    }

    /// EVENT. Of attachments JSON writes the number only: the caller sends them [`after`](Self::after) the packet.
    pub fn event(
        self,
        out: &mut Vec<u8>,
        namespace: &str,
        name: &str,
        args: &str,
        ack: Option<AckId>,
        attachments: &[Bytes],
    ) {
        match self {
            Self::Json => encode::event(out, namespace, name, args, ack, attachments.len()),
            Self::MsgPack => msgpack::encode::event(out, namespace, name, args, ack, attachments),
        }
    }

    /// ACK. Attachments as in [`event`](Self::event).
    pub fn ack(self, out: &mut Vec<u8>, namespace: &str, id: AckId, args: &str, attachments: &[Bytes]) {
        match self {
            Self::Json => encode::ack(out, namespace, id, args, attachments.len()),
            Self::MsgPack => msgpack::encode::ack(out, namespace, id, args, attachments),
        }
    }

    /// Those of a packet's attachments that follow it, one binary message each.
    #[must_use]
    pub fn after(self, attachments: &[Bytes]) -> &[Bytes] {
        match self {
            Self::Json => attachments,
            Self::MsgPack => &[],
        }
    }
}
