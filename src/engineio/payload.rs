//! Several packets in the body of one HTTP request or response, as revision 4 writes them.
//!
//! Owns the separator, the base64 of outgoing binary packets and the number of packets in a body. What a packet means is
//! [`packet`](super::packet)'s; how long a body may be is its caller's, who has counted its bytes already.

use std::str::Split;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::{PacketError, PayloadError};
use super::handshake::Revision;
use super::packet::ClientPacket;

/// The record separator between two packets. Text packets must not contain it; JSON escapes it.
const SEPARATOR: char = '\x1e';

/// Most packets a client may put in one body; a body with more is refused whole. The official client puts everything
/// that was emitted since its last request into one body, bounded only by `maxPayload`, so a small number would cut off
/// honest clients; this one is the number of fragments a WebSocket message may have.
pub const MAX_PACKETS: usize = 1024;

/// The packets of a body, in order, each a borrowed piece of it. Ends after the first one that is no packet, as in the
/// reference server: what came before it counts.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    pieces: Option<Split<'a, char>>,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<ClientPacket<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let packet = ClientPacket::decode(self.pieces.as_mut()?.next()?, Revision::V4);
        if packet.is_err() {
            self.pieces = None;
        }
        Some(packet)
    }
}

/// Takes the body of a POST apart, in time linear in its length and without a copy. An empty body is one empty, hence
/// invalid, packet.
///
/// # Errors
/// [`PayloadError`] when the body as a whole is refused; then none of its packets counts.
pub fn decode(body: &[u8]) -> Result<Packets<'_>, PayloadError> {
    let text = simdutf8::basic::from_utf8(body).map_err(|_| PayloadError::NotUtf8)?;
    let pieces = text.split(SEPARATOR);
    if pieces.clone().nth(MAX_PACKETS).is_some() {
        return Err(PayloadError::TooManyPackets);
    }
    Ok(Packets { pieces: Some(pieces) })
}

/// A packet on its way to a client that polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerPacket<'a> {
    /// A whole text packet with its type digit, such as `4hello`. It must be UTF-8 and free of `0x1e`.
    Text(&'a [u8]),
    /// A binary packet as it is on a WebSocket: in revision 4 the bytes alone, which over HTTP are sent as `b` and base64
    /// because there is no other way; in revision 3 with its type as the first byte.
    Binary(&'a [u8]),
}

/// Length in bytes of a body of `body_len` bytes once `packet` is appended, so that an answer can stay within
/// `maxPayload`.
#[must_use]
pub fn len_with(body_len: usize, packet: ServerPacket<'_>) -> usize {
    let packet_len = match packet {
        ServerPacket::Text(text) => text.len(),
        ServerPacket::Binary(bytes) => 1 + bytes.len().div_ceil(3) * 4,
    };
    body_len + usize::from(body_len > 0) + packet_len
}

/// Appends a packet to a body, after a separator unless it is the first.
pub fn append(body: &mut Vec<u8>, packet: ServerPacket<'_>) {
    body.reserve(len_with(body.len(), packet) - body.len());
    if !body.is_empty() {
        body.push(SEPARATOR as u8);
    }
    match packet {
        ServerPacket::Text(text) => body.extend_from_slice(text),
        ServerPacket::Binary(bytes) => {
            body.push(b'b');
            body.extend_from_slice(STANDARD.encode(bytes).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClientPacket::{Binary, Close, Message, Ping, Pong};

    fn read(body: &[u8]) -> Vec<Result<ClientPacket<'_>, PacketError>> {
        decode(body).unwrap().collect()
    }

    #[test]
    fn payloads_are_read_packet_by_packet() {
        let bytes = Binary(vec![1, 2, 3, 4].into());
        for (body, packets) in [
            ("4hello", vec![Ok(Message("hello"))]),
            ("4test1\x1e4test2\x1e4test3", vec![Ok(Message("test1")), Ok(Message("test2")), Ok(Message("test3"))]),
            ("4hello\x1e2\x1e4world", vec![Ok(Message("hello")), Ok(Ping("")), Ok(Message("world"))]),
            ("4hello\x1ebAQIDBA==", vec![Ok(Message("hello")), Ok(bytes)]),
            ("4€\x1e3\x1e1", vec![Ok(Message("€")), Ok(Pong), Ok(Close)]),
        ] {
            assert_eq!(read(body.as_bytes()), packets, "{body}");
        }
    }

    #[test]
    fn a_bad_packet_ends_the_payload_and_what_came_before_counts() {
        for (body, packets) in [
            ("", vec![Err(PacketError::Empty)]),
            ("abc", vec![Err(PacketError::UnknownType)]),
            ("\x1e", vec![Err(PacketError::Empty)]),
            ("4x\x1e", vec![Ok(Message("x")), Err(PacketError::Empty)]),
            ("4x\x1e7\x1e4y", vec![Ok(Message("x")), Err(PacketError::UnknownType)]),
            ("4x\x1eb!\x1e4y", vec![Ok(Message("x")), Err(PacketError::Base64)]),
        ] {
            assert_eq!(read(body.as_bytes()), packets, "{body:?}");
        }
    }

    #[test]
    fn e3_a_payload_of_too_many_packets_is_refused_whole() {
        assert_eq!(read("4x\x1e".repeat(MAX_PACKETS).trim_end_matches(SEPARATOR).as_bytes()).len(), MAX_PACKETS);
        for piece in ["4x\x1e", "\x1e", "2\x1e"] {
            for repeats in [MAX_PACKETS, 1_000_000 / piece.len()] {
                assert_eq!(decode(piece.repeat(repeats).as_bytes()).unwrap_err(), PayloadError::TooManyPackets);
            }
        }
    }

    #[test]
    fn a_body_that_is_not_utf_8_is_refused_whole() {
        for body in [b"4ok\x1e4\xc3\x28".as_slice(), b"4\xed\xa0\x80", b"\xff"] {
            assert_eq!(decode(body).unwrap_err(), PayloadError::NotUtf8);
        }
    }

    #[test]
    fn payloads_are_written_as_long_as_announced() {
        use ServerPacket::{Binary, Text};
        for (packets, expected) in [
            (&[Text(b"4hello")][..], "4hello"),
            (&[Text(b"4hello"), Binary(&[1, 2, 3, 4])], "4hello\x1ebAQIDBA=="),
            (&[Binary(&[]), Binary(&[0xfb, 0xff]), Text(b"2")], "b\x1eb+/8=\x1e2"),
        ] {
            let mut body = Vec::new();
            for packet in packets {
                let announced = len_with(body.len(), *packet);
                append(&mut body, *packet);
                assert_eq!(body.len(), announced);
            }
            assert_eq!(body, expected.as_bytes());
        }
    }
}
