//! The body of a request and of an answer in revision 3, as text and as bytes.
//!
//! Oracle: a reader that does what the protocol's text says, in UTF-16 as JavaScript does; answers are read by it too.

use alt_ws_pure::engineio::body::{self, Body, Form};
use alt_ws_pure::engineio::error::PayloadError;
use alt_ws_pure::engineio::handshake::Revision;
use alt_ws_pure::engineio::packet::ClientPacket;
use alt_ws_pure::engineio::payload::{MAX_PACKETS, ServerPacket};
use alt_ws_pure::engineio::payload_v3::len_with;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The first byte chooses the form. The rest is a body; the same bytes, cut up, are an answer's packets.
pub fn check(input: &[u8]) {
    let Some((choice, data)) = input.split_first() else { return };
    let form = if choice % 2 == 0 { Form::Text } else { Form::Binary };
    check_request(form, data);
    check_answer(form, data);
}

#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    Binary(Vec<u8>),
}

fn check_request(form: Form, input: &[u8]) {
    let expected = match form {
        Form::Text => str::from_utf8(input).ok().and_then(read_text),
        Form::Binary => read_binary(input),
    };
    let packets: Vec<_> = match body::decode(Revision::V3, form, input) {
        Ok(packets) => packets.collect(),
        Err(PayloadError::TooManyPackets) => {
            // What follows the packet that is one too many is not looked at.
            return assert!(expected.is_none_or(|pieces| pieces.len() > MAX_PACKETS));
        }
        Err(PayloadError::NotUtf8 | PayloadError::Length | PayloadError::Kind) => {
            return assert_eq!(expected, None, "a good body was refused");
        }
        Err(error) => panic!("{error}"),
    };
    let pieces = expected.expect("a malformed body was taken");
    assert!(pieces.len() <= MAX_PACKETS && packets.len() <= pieces.len());
    for (at, packet) in packets.iter().enumerate() {
        let alone = match &pieces[at] {
            Piece::Text(text) => ClientPacket::decode(text, Revision::V3),
            Piece::Binary(bytes) => ClientPacket::decode_binary_v3(bytes),
        };
        assert_eq!(*packet, alone);
        assert!(packet.is_ok() || at + 1 == packets.len(), "read on after what is no packet");
    }
    assert!(packets.len() == pieces.len() || packets.last().is_some_and(Result::is_err), "a packet was left out");
}

/// `<length>:<packet>…`, lengths in UTF-16 code units. `None` when it is not that, or is empty.
fn read_text(body: &str) -> Option<Vec<Piece>> {
    let mut units: &[u16] = &body.encode_utf16().collect::<Vec<_>>();
    let mut pieces = Vec::new();
    while !units.is_empty() {
        let mark = units.iter().position(|unit| *unit == u16::from(b':'))?;
        let length = plain_number(&String::from_utf16(&units[..mark]).ok()?)?;
        let packet = units[mark + 1..].get(..length)?;
        pieces.push(Piece::Text(String::from_utf16(packet).ok()?));
        units = &units[mark + 1 + length..];
    }
    (!pieces.is_empty()).then_some(pieces)
}

/// `<0|1><digits>255<packet>…`
fn read_binary(mut rest: &[u8]) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    while let Some((kind, after)) = rest.split_first() {
        let mark = after.iter().position(|byte| *byte == 255)?;
        let digits: String =
            after[..mark].iter().map(|digit| char::from_digit((*digit).into(), 10)).collect::<Option<_>>()?;
        let length = plain_number(&digits)?;
        let packet = after[mark + 1..].get(..length)?;
        pieces.push(match kind {
            0 => Piece::Text(str::from_utf8(packet).ok()?.to_owned()),
            1 => Piece::Binary(packet.to_vec()),
            _ => return None,
        });
        rest = &after[mark + 1 + length..];
    }
    (!pieces.is_empty()).then_some(pieces)
}

/// Digits without a leading zero, hence not zero.
fn plain_number(digits: &str) -> Option<usize> {
    let plain = !digits.starts_with('0') && !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// Pieces between zero bytes become packets, text and bytes in turn; bytes are messages, as all that the server sends are.
fn check_answer(form: Form, input: &[u8]) {
    let messages: Vec<Vec<u8>> = input.split(|byte| *byte == 0).map(|piece| [&[4], piece].concat()).collect();
    let mut packets = Vec::new();
    for (at, piece) in input.split(|byte| *byte == 0).enumerate() {
        match at % 2 {
            0 if piece.is_empty() || str::from_utf8(piece).is_err() => {}
            0 => packets.push(ServerPacket::Text(piece)),
            _ => packets.push(ServerPacket::Binary(&messages[at])),
        }
    }
    let mut answer = Body::new(Revision::V3, form);
    let mut length = 0;
    for packet in &packets {
        let next = len_with(form, length, *packet);
        assert!(answer.fits(*packet, next) && (length == 0 || !answer.fits(*packet, next - 1)));
        answer.append(*packet);
        length = next;
    }
    assert_eq!(answer.form(), form);
    let bytes = answer.into_bytes();
    assert_eq!(bytes.len(), length, "of another length than was said");
    if packets.is_empty() {
        return assert!(bytes.is_empty());
    }
    let read = match form {
        Form::Text => read_text(str::from_utf8(&bytes).expect("text is UTF-8")),
        Form::Binary => read_binary(&bytes),
    };
    let read = read.expect("an answer that is a payload");
    assert_eq!(read.len(), packets.len());
    for (read, packet) in read.into_iter().zip(packets) {
        match (packet, form) {
            (ServerPacket::Text(text), _) => assert_eq!(read, Piece::Text(String::from_utf8_lossy(text).into_owned())),
            (ServerPacket::Binary(data), Form::Binary) => assert_eq!(read, Piece::Binary(data.to_vec())),
            (ServerPacket::Binary(data), Form::Text) => {
                assert_eq!(read, Piece::Text(format!("b4{}", STANDARD.encode(&data[1..]))));
            }
        }
    }
}
