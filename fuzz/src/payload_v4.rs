//! The body of a request and of an answer in revision 4.
//!
//! Oracle: the body split by hand at its separators, and an answer that is read as a client reads it.

use alt_ws_pure::engineio::body::{self, Body, Form};
use alt_ws_pure::engineio::error::PayloadError;
use alt_ws_pure::engineio::handshake::Revision;
use alt_ws_pure::engineio::packet::ClientPacket;
use alt_ws_pure::engineio::payload::{MAX_PACKETS, ServerPacket, len_with};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const SEPARATOR: u8 = 0x1e;

/// All of the input is a body; the same bytes, cut up, are an answer's packets.
pub fn check(input: &[u8]) {
    check_request(input);
    check_answer(input);
    assert_eq!(body::decode(Revision::V4, Form::Binary, input).err(), Some(PayloadError::Binary));
}

fn check_request(input: &[u8]) {
    let pieces: Vec<&[u8]> = input.split(|byte| *byte == SEPARATOR).collect();
    let packets = match body::decode(Revision::V4, Form::Text, input) {
        Err(PayloadError::NotUtf8) => return assert!(str::from_utf8(input).is_err()),
        Err(PayloadError::TooManyPackets) => return assert!(pieces.len() > MAX_PACKETS),
        Err(error) => panic!("{error}"),
        Ok(packets) => packets.collect::<Vec<_>>(),
    };
    assert!(pieces.len() <= MAX_PACKETS && packets.len() <= pieces.len());
    for (at, packet) in packets.iter().enumerate() {
        let piece = str::from_utf8(pieces[at]).expect("a piece of UTF-8, cut at ASCII");
        assert_eq!(*packet, ClientPacket::decode(piece, Revision::V4));
        assert!(packet.is_ok() || at + 1 == packets.len(), "read on after what is no packet");
    }
    assert!(packets.len() == pieces.len() || packets.last().is_some_and(Result::is_err), "a packet was left out");
}

/// Pieces between zero bytes become packets, text and bytes in turn.
fn check_answer(input: &[u8]) {
    let packets: Vec<ServerPacket<'_>> = input
        .split(|byte| *byte == 0)
        .enumerate()
        .filter_map(|(at, piece)| match (at % 2, piece) {
            (0, []) => None,
            (0, text) if text.contains(&SEPARATOR) || str::from_utf8(text).is_err() => None,
            (0, text) => Some(ServerPacket::Text(text)),
            _ => Some(ServerPacket::Binary(piece)),
        })
        .collect();
    let mut answer = Body::new(Revision::V4, Form::Binary);
    let mut length = 0;
    for packet in &packets {
        let next = len_with(length, *packet);
        assert!(answer.fits(*packet, next) && (length == 0 || !answer.fits(*packet, next - 1)));
        answer.append(*packet);
        length = next;
    }
    assert_eq!(answer.form(), Form::Text);
    let bytes = answer.into_bytes();
    assert_eq!(bytes.len(), length, "of another length than was said");
    if packets.is_empty() {
        return assert!(bytes.is_empty());
    }
    let read: Vec<&[u8]> = bytes.split(|byte| *byte == SEPARATOR).collect();
    assert_eq!(read.len(), packets.len());
    for (read, packet) in read.iter().zip(packets) {
        match packet {
            ServerPacket::Text(text) => assert_eq!(*read, text),
            ServerPacket::Binary(data) => {
                let text = read.strip_prefix(b"b").expect("a binary packet begins with b");
                assert_eq!(STANDARD.decode(text).as_deref(), Ok(data));
            }
        }
    }
}
