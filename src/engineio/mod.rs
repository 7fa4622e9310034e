//! Engine.IO revision 4, revision 3 where that is allowed, and the WebSocket framing under them, as pure functions and
//! state machines.
//!
//! Owns everything between the bytes of a connection and the messages it carries:
//!
//! | module | owns | rules from |
//! |---|---|---|
//! | [`packet`] | one packet: type digit and data | Engine.IO protocol v4, "Packet encoding" |
//! | [`payload`] | several packets in one HTTP body: `0x1e`, base64, their count | the same, "HTTP long-polling" |
//! | [`payload_v3`] | the same of revision 3: lengths, binary bodies | Engine.IO protocol v3, "Payload encoding"; the reference server's parser for it |
//! | [`body`] | which of the two a session's bodies are | |
//! | [`handshake`] | query parameters, the open packet, the headers of a WebSocket upgrade | the same, "Handshake"; RFC 6455 section 4.2 |
//! | [`frame`] | WebSocket frames, as a server reads and writes them | RFC 6455 sections 5 and 7 |
//! | [`deflate`] | compressed messages of WebSocket | RFC 7692 |
//! | [`session`] | transports, heartbeat, upgrade and the end of a session | the same, "Protocol"; the reference server |
//! | [`error`] | one error enum for each of them | the close codes and messages of the same texts |
//!
//! ```text
//!   WebSocket   bytes ─ frame ──► text or binary message ─┐
//!                                                         ├─ packet ──► ClientPacket
//!   polling     body ── payload ─► pieces between 0x1e ───┤
//!   (EIO=3)     body ── payload_v3 ─► pieces by length ───┘
//! ```
//!
//! It must not know Socket.IO, the chat, HTTP libraries or sockets. It draws no randomness and reads no clock: session
//! ids and `now` come in as arguments. Bytes from the network are only ever refused, by an error that says what was
//! wrong; no input panics, and nothing is allocated from a length that a client merely declared.

pub mod body;
pub mod deflate;
pub mod error;
pub mod frame;
pub mod handshake;
pub mod packet;
pub mod payload;
pub mod payload_v3;
pub mod session;
