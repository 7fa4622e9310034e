//! Packets as MessagePack: what the npm package `socket.io-msgpack-parser` sends and expects.
//!
//! Owns the wire form of such packets and nothing else. To everything above they are the same [`Packet`]s as those of
//! JSON: a payload as JSON text, and attachments in the place of its placeholders.
//!
//! A packet is one binary message: a map of `type` (0 to 4), `nsp`, `data` and `id`, in any order, the last two only
//! when the packet has them. Other keys (`options` is one that clients send) are read over. There are no packets of
//! several messages; binary is inside. What is not plain MessagePack is the dialect of notepack.io 2.2, and each is read as
//! the text that `JSON.stringify` would have made of the same value:
//!
//! | on the wire | what a client had | here |
//! |---|---|---|
//! | fixext 1 of type 0 | `undefined` | `null`, or no member at all in an object |
//! | fixext 8 of type 0 | a `Date`, in milliseconds | its `toISOString()`; `null` out of its range |
//! | ext 8, 16, 32 of type 0 | a typed array, in Node | an attachment |
//! | bin 8, 16, 32 | a `Buffer`, an `ArrayBuffer` | an attachment |
//! | float of no number | `NaN`, an infinity | `null` |
//! | int or float of a whole number | a number | its decimal digits, all of them |
//!
//! Refused although notepack.io reads it, always something that it does not write: other ext types, keys that are no text or
//! come twice in one map, text that is not UTF-8, and a `type` or `id` that is a float, negative or nil. The limits of JSON
//! hold here too: depth, attachments and their bytes, the lengths of names. An object that looks like a placeholder means what
//! it means in JSON: it is plain data in a packet without attachments, and refused in one that has some.
//!
//! No length is believed before as many bytes are there. JSON text is at most six times as long as the message it stands
//! for, plus ten placeholders.
//!
//! [`Packet`]: crate::socketio::Packet

mod date;
mod decode;
pub(super) mod encode;
mod read;

pub use decode::decode;
