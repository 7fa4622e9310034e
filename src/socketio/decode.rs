//! From the messages of one connection to packets.
//!
//! Owns the wire form of a packet and the wait for the attachments that follow its text. Must not know which namespaces
//! exist or who is connected to them: [`Connection`](crate::socketio::Connection) does.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::socketio::ack::AckId;
use crate::socketio::error::DecodeError;
use crate::socketio::event;
use crate::socketio::json::{self, Shape};
use crate::socketio::packet::{Packet, PacketKind};

/// Most attachments of one packet: the default of the reference since socket.io-parser 4.2.6.
pub const MAX_ATTACHMENTS: usize = 10;

/// Most bytes that the attachments of one packet may have together: the `maxPayload` of one message.
pub const MAX_ATTACHMENT_BYTES: usize = 1_000_000;

/// Longest time from a packet's text to its last attachment. Clients write them in one go, so this is the time that a
/// slow line gets for [`MAX_ATTACHMENT_BYTES`].
pub const ATTACHMENTS_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest namespace in bytes. The reference has no limit; ours are short words.
pub const MAX_NAMESPACE_BYTES: usize = 128;

/// Turns the messages of one connection into packets.
///
/// Feed every message in the order it came. After an error the connection is to be closed: what follows cannot be
/// understood. While attachments are awaited, look at [`deadline`](Self::deadline). One pointer large while idle; while
/// waiting it holds one packet's text and at most [`MAX_ATTACHMENT_BYTES`] of attachments, never more than was received.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

/// A packet whose attachments are still arriving.
#[derive(Debug)]
struct Partial {
    packet: Packet<'static>,
    expected: usize,
    bytes_left: usize,
    deadline: Instant,
}

impl Decoder {
    /// Reads a text message: a whole packet, or `None` when attachments are still to come.
    ///
    /// # Errors
    /// [`DecodeError`] when it is not a packet a client may send, or when an attachment was due instead.
    pub fn text<'a>(&mut self, text: &'a str, now: Instant) -> Result<Option<Packet<'a>>, DecodeError> {
        if self.partial.take().is_some() {
            return Err(DecodeError::UnexpectedText);
        }
        let (packet, expected) = parse(text)?;
        if expected == 0 {
            return Ok(Some(packet));
        }
        self.partial = Some(Box::new(Partial {
            packet: packet.into_owned(),
            expected,
            bytes_left: MAX_ATTACHMENT_BYTES,
            deadline: now + ATTACHMENTS_TIMEOUT,
        }));
        Ok(None)
    }

    /// Takes a binary message as the next attachment: the packet when it was the last one, else `None`.
    ///
    /// # Errors
    /// [`DecodeError`] when no attachment was due, when it comes too late, or when they are too large together.
    pub fn binary(&mut self, data: Bytes, now: Instant) -> Result<Option<Packet<'static>>, DecodeError> {
        let mut partial = self.partial.take().ok_or(DecodeError::UnexpectedBinary)?;
        if now >= partial.deadline {
            return Err(DecodeError::AttachmentsLate);
        }
        partial.bytes_left = partial.bytes_left.checked_sub(data.len()).ok_or(DecodeError::AttachmentsTooLarge)?;
        partial.packet.attachments.push(data);
        if partial.packet.attachments.len() == partial.expected {
            return Ok(Some(partial.packet));
        }
        self.partial = Some(partial);
        Ok(None)
    }

    /// When the connection is to be closed if the attachments are not all there; `None` while none is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.partial.as_ref().map(|partial| partial.deadline)
    }

    /// Whether an attachment is due.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.partial.is_some()
    }
}

/// Reads a packet's text; the number is that of its attachments.
fn parse(text: &str) -> Result<(Packet<'_>, usize), DecodeError> {
    let (digit, rest) = text.split_at_checked(1).ok_or(DecodeError::UnknownType)?;
    let (kind, has_attachments) = match digit {
        "0" => (PacketKind::Connect, false),
        "1" => (PacketKind::Disconnect, false),
        "2" => (PacketKind::Event, false),
        "3" => (PacketKind::Ack, false),
        "4" => return Err(DecodeError::ServerOnly),
        "5" => (PacketKind::Event, true),
        "6" => (PacketKind::Ack, true),
        _ => return Err(DecodeError::UnknownType),
    };
    let (count, rest) = if has_attachments { parse_count(rest)? } else { (0, rest) };
    let (namespace, rest) = parse_namespace(rest)?;
    let (id, data) = parse_id(rest)?;
    check_payload(kind, id, data)?;
    // Before any attachment is waited for. Without attachments placeholders are plain data.
    if count > 0 && !json::placeholders_match(data, count) {
        return Err(DecodeError::Placeholder);
    }
    let packet =
        Packet { kind, namespace: Cow::Borrowed(namespace), id, data: Cow::Borrowed(data), attachments: vec![] };
    Ok((packet, count))
}

/// Reads a CONNECT of revision 4. The query that its namespace may carry is cut off: the reference takes it for
/// credentials, and those are never taken from a query here. `None` when it is another packet.
///
/// # Errors
/// [`DecodeError`] for a malformed namespace, or a payload.
pub(super) fn connect_v4(text: &str) -> Option<Result<Packet<'_>, DecodeError>> {
    let rest = text.strip_prefix('0')?;
    let (name, data) = rest.split_once(',').unwrap_or((rest, ""));
    let (name, _) = name.split_once('?').unwrap_or((name, ""));
    let namespace = match name {
        "" => Ok("/"),
        name if !name.starts_with('/') => Err(DecodeError::Payload),
        name => parse_namespace(name).map(|(name, _)| name),
    };
    Some(namespace.and_then(|namespace| {
        if !data.is_empty() {
            return Err(DecodeError::Payload);
        }
        let (namespace, data) = (Cow::Borrowed(namespace), Cow::Borrowed(data));
        Ok(Packet { kind: PacketKind::Connect, namespace, id: None, data, attachments: vec![] })
    }))
}

/// `<digits>-`, from 1 to [`MAX_ATTACHMENTS`].
fn parse_count(text: &str) -> Result<(usize, &str), DecodeError> {
    let (digits, rest) = split_digits(text);
    let rest = rest.strip_prefix('-').ok_or(DecodeError::AttachmentCount)?;
    if digits.is_empty() || digits.starts_with('0') {
        return Err(DecodeError::AttachmentCount);
    }
    let count = digits.parse().ok().filter(|count| *count <= MAX_ATTACHMENTS);
    Ok((count.ok_or(DecodeError::TooManyAttachments)?, rest))
}

/// `/name,`, or `/name` up to the end of the text; absent, the namespace is `/`.
fn parse_namespace(text: &str) -> Result<(&str, &str), DecodeError> {
    if !text.starts_with('/') {
        return Ok(("/", text));
    }
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    check_namespace(name)?;
    Ok((name, rest))
}

/// What no parser lets through: too much, a query, control characters.
pub(super) fn check_namespace(name: &str) -> Result<(), DecodeError> {
    let is_sound = name.len() <= MAX_NAMESPACE_BYTES && !name.contains(|c: char| c == '?' || c.is_control());
    is_sound.then_some(()).ok_or(DecodeError::Namespace)
}

/// Digits without leading zeros, up to 64 bits; or nothing.
fn parse_id(text: &str) -> Result<(Option<AckId>, &str), DecodeError> {
    let (digits, rest) = split_digits(text);
    if digits.is_empty() {
        return Ok((None, rest));
    }
    if digits.len() > 1 && digits.starts_with('0') {
        return Err(DecodeError::AckId);
    }
    let id = digits.parse().map_err(|_| DecodeError::AckId)?;
    Ok((Some(AckId(id)), rest))
}

/// Which packets carry which payload, and which an id.
fn check_payload(kind: PacketKind, id: Option<AckId>, data: &str) -> Result<(), DecodeError> {
    match kind {
        PacketKind::Connect | PacketKind::Disconnect if id.is_some() => Err(DecodeError::AckId),
        PacketKind::Connect if data.is_empty() => Ok(()),
        PacketKind::Connect => json::check(data, Shape::Object),
        PacketKind::Disconnect if data.is_empty() => Ok(()),
        PacketKind::Disconnect => Err(DecodeError::Payload),
        PacketKind::Event => {
            json::check(data, Shape::Array)?;
            event::split(data).map(|_| ())
        }
        // An ack without an id answers nothing and is ignored later, with a payload or without: so does the reference.
        PacketKind::Ack if id.is_none() && data.is_empty() => Ok(()),
        PacketKind::Ack => json::check(data, Shape::Array),
        PacketKind::ConnectError => Err(DecodeError::ServerOnly),
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or(("", text))
}

#[cfg(test)]
mod tests;
