//! The Socket.IO protocol, revision 5 and as much of revision 4 as differs ([`Revision`]), for the server's side of a
//! connection.
//!
//! Owns the form of packets and what one connection may say when: packet types, namespaces, ack ids, the binary
//! attachments that follow a packet, and the limits on all of them. Must not know how packets travel (Engine.IO, HTTP,
//! WebSocket), what an event means, or what time it is: `now` comes in, deadlines go out.
//!
//! ```text
//! <type>[<attachments>-][<namespace>,][<ack id>][<JSON>]        then the attachments, one binary message each
//!
//! text, bytes ─► Decoder ─► Packet ─► Connection ─► Incoming ─► the application
//! the application ─► encode ─► text, then its attachments
//! ```
//!
//! That is the form that every client has built in. A server may be set up for another, [`Parser::MsgPack`]; then a packet is one
//! binary message, and [`msgpack`] takes the place of [`decode`] and [`encode`].
//!
//! The rules are those of `docs/socket.io-protocol/v5-current.md` in socketio/socket.io; where its text is silent, those
//! of socket.io-parser 4.2.7 and socket.io 4.8.4. What is refused here although the reference takes it, always
//! something that no client library writes:
//!
//! - an event whose name is a number, not valid Unicode, or longer than [`MAX_EVENT_NAME_BYTES`];
//! - an EVENT without a payload, an ACK with an id and no payload, an id on CONNECT or DISCONNECT, CONNECT_ERROR;
//! - types, counts and ids in another form than plain digits (an empty text, `5 1-`, `51e0-`, leading zeros), ids beyond
//!   64 bits;
//! - JSON nested deeper than [`MAX_DEPTH`], or with white space around it;
//! - a placeholder with other keys or a `num` that is not plain digits, an attachment that is used twice or never;
//! - a namespace with a query (but for CONNECT in revision 4), with control characters, or longer than [`MAX_NAMESPACE_BYTES`].
//!
//! Taken here although the reference refuses it: its reserved event names (`connect`, `newListener` …), which to the
//! application are events that it does not know.

pub mod ack;
pub mod connection;
pub mod decode;
pub mod encode;
pub mod error;
pub mod event;
mod json;
pub mod msgpack;
pub mod packet;
pub mod parser;
mod revision;

pub use ack::{AckId, PendingAcks};
pub use connection::{Connection, Incoming};
pub use decode::{Decoder, MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, MAX_NAMESPACE_BYTES};
pub use error::{DecodeError, ProtocolError};
pub use event::{Args, Event, MAX_EVENT_NAME_BYTES};
pub use json::MAX_DEPTH;
pub use packet::{Packet, PacketKind};
pub use parser::Parser;
pub use revision::Revision;
