//! One Engine.IO packet, of either revision, as text and as bytes.
//!
//! Oracle: the tables of the two protocol texts, as far as they fit into one `match`, and what a client would have to
//! write to say the packet that was read.

use alt_ws_pure::engineio::error::PacketError;
use alt_ws_pure::engineio::handshake::Revision;
use alt_ws_pure::engineio::packet::ClientPacket;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The first byte chooses revision and form, the rest is the packet.
pub fn check(input: &[u8]) {
    let Some((choice, data)) = input.split_first() else { return };
    match (choice % 3, str::from_utf8(data)) {
        (0, Ok(text)) => check_text(text, Revision::V4),
        (1, Ok(text)) => check_text(text, Revision::V3),
        (2, _) => check_binary(data),
        _ => {}
    }
}

fn check_text(text: &str, revision: Revision) {
    let result = ClientPacket::decode(text, revision);
    assert_eq!(result, ClientPacket::decode(text, revision), "the same text, twice");
    let (kind, rest) = match text.chars().next() {
        None => return assert_eq!(result, Err(PacketError::Empty)),
        Some(kind) => (kind, text.strip_prefix(kind).expect("it begins with its first character")),
    };
    match (kind, revision) {
        ('0' | '6', _) => assert_eq!(result, Err(PacketError::ServerOnly)),
        ('1', _) => assert_eq!(result, Ok(ClientPacket::Close)),
        ('2', _) if rest == "probe" => assert_eq!(result, Ok(ClientPacket::Probe)),
        ('2', Revision::V4) if !rest.is_empty() => assert_eq!(result, Err(PacketError::PingData)),
        ('2', _) => assert_eq!(result, Ok(ClientPacket::Ping(rest))),
        ('3', _) => assert_eq!(result, Ok(ClientPacket::Pong)),
        ('4', _) => assert_eq!(result, Ok(ClientPacket::Message(rest))),
        ('5', _) => assert_eq!(result, Ok(ClientPacket::Upgrade)),
        ('b', Revision::V4) => check_base64(&result, rest),
        ('b', Revision::V3) => match rest.chars().next() {
            Some('0' | '6') => assert_eq!(result, Err(PacketError::ServerOnly)),
            Some('1') => assert_eq!(result, Ok(ClientPacket::Close)),
            Some('2') => assert_eq!(result, Ok(ClientPacket::Ping(""))),
            Some('3') => assert_eq!(result, Ok(ClientPacket::Pong)),
            Some('4') => check_base64(&result, &rest[1..]),
            Some('5') => assert_eq!(result, Ok(ClientPacket::Upgrade)),
            _ => assert_eq!(result, Err(PacketError::UnknownType)),
        },
        _ => assert_eq!(result, Err(PacketError::UnknownType)),
    }
}

/// Bytes have one text, but for its padding, which may be left out whole.
fn check_base64(result: &Result<ClientPacket<'_>, PacketError>, text: &str) {
    match result {
        Ok(ClientPacket::Binary(bytes)) => {
            assert!(bytes.len() <= text.len() / 4 * 3 + 2, "more bytes than the text can say");
            let written = STANDARD.encode(bytes);
            assert!(text == written || text == written.trim_end_matches('='), "two texts for the same bytes");
        }
        Err(PacketError::Base64) => assert!(STANDARD.decode(text).is_err(), "good base64 was refused"),
        other => panic!("base64 became {other:?}"),
    }
}

fn check_binary(packet: &[u8]) {
    let result = ClientPacket::decode_binary_v3(packet);
    match packet.split_first() {
        None => assert_eq!(result, Err(PacketError::Empty)),
        Some((0 | 6, _)) => assert_eq!(result, Err(PacketError::ServerOnly)),
        Some((1, _)) => assert_eq!(result, Ok(ClientPacket::Close)),
        Some((2, _)) => assert_eq!(result, Ok(ClientPacket::Ping(""))),
        Some((3, _)) => assert_eq!(result, Ok(ClientPacket::Pong)),
        Some((4, data)) => assert_eq!(result, Ok(ClientPacket::Binary(bytes::Bytes::copy_from_slice(data)))),
        Some((5, _)) => assert_eq!(result, Ok(ClientPacket::Upgrade)),
        Some(_) => assert_eq!(result, Err(PacketError::UnknownType)),
    }
}
