//! A packet as a value: what the wire's text and attachments say, before anyone asks whether it may be said now.
//!
//! Knows no wire form but the type's digit, and no state.

use std::borrow::Cow;

use bytes::Bytes;

use crate::socketio::ack::AckId;

/// The type of a packet. BINARY_EVENT and BINARY_ACK are not types of their own here: they are an event and an ack with
/// attachments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketKind {
    /// Joining a namespace, or the answer that it was joined.
    Connect,
    /// Leaving a namespace.
    Disconnect,
    /// An event: a name and arguments.
    Event,
    /// The answer to an event.
    Ack,
    /// The answer that a namespace may not be joined. Sent by servers only.
    ConnectError,
}

impl PacketKind {
    /// The digit that stands for the type on the wire; events and acks with attachments have one of their own.
    #[must_use]
    pub fn digit(self, has_attachments: bool) -> u8 {
        match self {
            Self::Connect => b'0',
            Self::Disconnect => b'1',
            Self::Event if has_attachments => b'5',
            Self::Event => b'2',
            Self::Ack if has_attachments => b'6',
            Self::Ack => b'3',
            Self::ConnectError => b'4',
        }
    }
}

/// One packet, borrowing from the message it was read from where it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its type.
    pub kind: PacketKind,
    /// The namespace; `/` when the wire names none.
    pub namespace: Cow<'a, str>,
    /// On an event: answer under this id. On an ack: the answer to the event that had it.
    pub id: Option<AckId>,
    /// The payload, JSON text as it was sent; empty when there is none.
    pub data: Cow<'a, str>,
    /// What `{"_placeholder":true,"num":N}` in `data` stands for, by index.
    pub attachments: Vec<Bytes>,
}

impl Packet<'_> {
    /// The same packet, no longer tied to the message it came from.
    #[must_use]
    pub fn into_owned(self) -> Packet<'static> {
        Packet {
            kind: self.kind,
            namespace: match self.namespace {
                Cow::Borrowed("/") => Cow::Borrowed("/"),
                other => Cow::Owned(other.into_owned()),
            },
            id: self.id,
            data: Cow::Owned(self.data.into_owned()),
            attachments: self.attachments,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owned_packet_says_the_same() {
        for namespace in ["/", "/admin"] {
            let packet = Packet {
                kind: PacketKind::Event,
                namespace: Cow::Borrowed(namespace),
                id: Some(AckId(7)),
                data: Cow::Borrowed("[\"a\"]"),
                attachments: vec![Bytes::from_static(b"x")],
            };
            assert_eq!(packet.clone().into_owned(), packet);
        }
    }
}
