//! Several packets in the body of one HTTP request or response, as revision 3 writes them.
//!
//! Owns the two framings of Engine.IO protocol v3, "Payload encoding", and the number of packets in a body:
//!
//! ```text
//! text    <length>:<packet> …                     length in UTF-16 code units, because JavaScript counts a string's length in them
//! bytes   <0|1><digit>…<255><packet> …            0: a text packet in UTF-8, 1: a binary one; digits are the bytes 0 to 9
//! ```
//!
//! What a packet means is [`packet`](super::packet)'s; how long a body may be is its caller's, who has counted its bytes
//! already. Stricter than the reference server, which takes whatever JavaScript takes for a number: a length is decimal
//! digits without a leading zero, and so never zero, because no packet is empty. No client writes another.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::body::Form;
use super::error::{PacketError, PayloadError};
use super::handshake::Revision;
use super::packet::ClientPacket;
use super::payload::{MAX_PACKETS, ServerPacket};

/// Ends the length in a text payload.
const TEXT_MARK: u8 = b':';
/// Ends the length in a binary payload.
const BINARY_MARK: u8 = 255;

/// The packets of a body, in order. Ends after the first one that is no packet, as in the reference server: what came
/// before it counts.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    pieces: Option<Pieces<'a>>,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<ClientPacket<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let packet = match self.pieces.as_mut()?.next()?.ok()? {
            Piece::Text(text) => ClientPacket::decode(text, Revision::V3),
            Piece::Binary(bytes) => ClientPacket::decode_binary_v3(bytes),
        };
        if packet.is_err() {
            self.pieces = None;
        }
        Some(packet)
    }
}

/// Takes the body of a POST apart, in time linear in its length and without a copy.
///
/// # Errors
/// [`PayloadError`] when the body as a whole is refused, an empty one included; then none of its packets counts.
pub fn decode(form: Form, body: &[u8]) -> Result<Packets<'_>, PayloadError> {
    let pieces = match form {
        Form::Text => Pieces::Text(simdutf8::basic::from_utf8(body).map_err(|_| PayloadError::NotUtf8)?),
        Form::Binary => Pieces::Binary(body),
    };
    if body.is_empty() {
        return Err(PayloadError::Length);
    }
    for (count, piece) in pieces.clone().enumerate() {
        piece?;
        if count == MAX_PACKETS {
            return Err(PayloadError::TooManyPackets);
        }
    }
    Ok(Packets { pieces: Some(pieces) })
}

/// One packet, its length taken off and its type not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

/// What is left of a body. Ends with it, or with the first length that is not right.
#[derive(Clone, Debug)]
enum Pieces<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<Piece<'a>, PayloadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let taken = match *self {
            Self::Text("") | Self::Binary([]) => return None,
            Self::Text(rest) => take_text(rest).map(|(piece, rest)| (piece, Self::Text(rest))),
            Self::Binary(rest) => take_binary(rest).map(|(piece, rest)| (piece, Self::Binary(rest))),
        };
        let (piece, rest) = match taken {
            Ok((piece, rest)) => (Ok(piece), rest),
            Err(error) => (Err(error), Self::Binary(&[])),
        };
        *self = rest;
        Some(piece)
    }
}

fn take_text(rest: &str) -> Result<(Piece<'_>, &str), PayloadError> {
    let (length, head) = read_length(rest.as_bytes(), b'0', TEXT_MARK).ok_or(PayloadError::Length)?;
    let (_, rest) = rest.split_at_checked(head).ok_or(PayloadError::Length)?;
    let (packet, rest) = split_at_utf16(rest, length).ok_or(PayloadError::Length)?;
    Ok((Piece::Text(packet), rest))
}

fn take_binary(rest: &[u8]) -> Result<(Piece<'_>, &[u8]), PayloadError> {
    let (kind, rest) = rest.split_first().ok_or(PayloadError::Length)?;
    let (length, head) = read_length(rest, 0, BINARY_MARK).ok_or(PayloadError::Length)?;
    let (_, rest) = rest.split_at_checked(head).ok_or(PayloadError::Length)?;
    let (packet, rest) = rest.split_at_checked(length).ok_or(PayloadError::Length)?;
    let piece = match kind {
        0 => Piece::Text(simdutf8::basic::from_utf8(packet).map_err(|_| PayloadError::NotUtf8)?),
        1 => Piece::Binary(packet),
        _ => return Err(PayloadError::Kind),
    };
    Ok((piece, rest))
}

/// The length at the front of `bytes`, written in digits that count from `zero` and ended by `mark`, and how many bytes
/// it takes up with its mark.
fn read_length(bytes: &[u8], zero: u8, mark: u8) -> Option<(usize, usize)> {
    let mut length: usize = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == mark && at > 0 {
            return Some((length, at + 1));
        }
        let digit = byte.checked_sub(zero).filter(|digit| *digit <= 9)?;
        // Zero after a digit means that the first one was.
        length = length.checked_mul(10)?.checked_add(digit.into()).filter(|length| *length > 0)?;
    }
    None
}

/// The first `units` UTF-16 code units of `text`, and the rest. `None` when it has fewer, or when the cut would go
/// through a character.
fn split_at_utf16(text: &str, units: usize) -> Option<(&str, &str)> {
    // No character has fewer bytes than code units.
    if units > text.len() {
        return None;
    }
    let mut left = units;
    for (at, character) in text.char_indices() {
        if left == 0 {
            return text.split_at_checked(at);
        }
        left = left.checked_sub(character.len_utf16())?;
    }
    (left == 0).then_some((text, ""))
}

/// The length of UTF-8 text in UTF-16 code units: one for each character, and one more for each of four bytes.
fn utf16_len(text: &[u8]) -> usize {
    text.iter().map(|byte| usize::from(byte & 0xc0 != 0x80) + usize::from(*byte >= 0xf0)).sum()
}

fn digits(length: usize) -> usize {
    length.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// What a packet's length is counted as in a body of this form, and how many bytes it has there.
fn measure(form: Form, packet: ServerPacket<'_>) -> (usize, usize) {
    match (form, packet) {
        (Form::Text, ServerPacket::Text(text)) => (utf16_len(text), text.len()),
        // `b`, the type digit in the place of the type byte, and base64.
        (Form::Text, ServerPacket::Binary(bytes)) => {
            let length = 2 + bytes.len().saturating_sub(1).div_ceil(3) * 4;
            (length, length)
        }
        (Form::Binary, ServerPacket::Text(bytes) | ServerPacket::Binary(bytes)) => (bytes.len(), bytes.len()),
    }
}

/// Length in bytes of a body of `body_len` bytes once `packet` is appended, so that an answer can stay within
/// `maxPayload`.
#[must_use]
pub fn len_with(form: Form, body_len: usize, packet: ServerPacket<'_>) -> usize {
    let (length, bytes) = measure(form, packet);
    let kind = match form {
        Form::Text => 0,
        Form::Binary => 1,
    };
    body_len + kind + digits(length) + 1 + bytes
}

/// Appends a packet to a body. A binary one begins with its type, as it does on a WebSocket.
pub fn append(form: Form, body: &mut Vec<u8>, packet: ServerPacket<'_>) {
    body.reserve(len_with(form, body.len(), packet) - body.len());
    let (length, _) = measure(form, packet);
    let length = length.to_string();
    match form {
        Form::Text => {
            body.extend_from_slice(length.as_bytes());
            body.push(TEXT_MARK);
        }
        Form::Binary => {
            body.push(matches!(packet, ServerPacket::Binary(_)).into());
            body.extend(length.bytes().map(|digit| digit - b'0'));
            body.push(BINARY_MARK);
        }
    }
    match (form, packet) {
        (Form::Text, ServerPacket::Binary(bytes)) => append_base64(body, bytes),
        (_, ServerPacket::Text(bytes) | ServerPacket::Binary(bytes)) => body.extend_from_slice(bytes),
    }
}

/// A binary packet in text: `b`, its type, and base64 of its data.
pub fn append_base64(out: &mut Vec<u8>, packet: &[u8]) {
    let Some((packet_type, data)) = packet.split_first() else { return };
    out.extend([b'b', b'0'.wrapping_add(*packet_type)]);
    out.extend_from_slice(STANDARD.encode(data).as_bytes());
}

#[cfg(test)]
mod tests;
