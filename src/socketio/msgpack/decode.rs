//! From a message to a packet: the payload is written out as JSON, its binary is left aside as attachments.
//!
//! Owns what a packet of MessagePack may say. The bytes of each value are [`read`](super::read)'s.

use std::borrow::Cow;
use std::io::Write as _;

use bytes::Bytes;

use super::date;
use super::read::{Reader, Token};
use crate::socketio::ack::AckId;
use crate::socketio::decode::{MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, check_namespace};
use crate::socketio::error::DecodeError;
use crate::socketio::event;
use crate::socketio::json::{self, MAX_DEPTH};
use crate::socketio::packet::{Packet, PacketKind};

/// Reads one binary message: always a whole packet. Its attachments share the message's memory.
///
/// # Errors
/// [`DecodeError`] when it is not a packet a client may send.
pub fn decode(message: &Bytes) -> Result<Packet<'static>, DecodeError> {
    let mut transcriber = Transcriber {
        message,
        reader: Reader(message),
        json: Vec::with_capacity(message.len()),
        attachments: Vec::new(),
        bytes_left: MAX_ATTACHMENT_BYTES,
        keys: Vec::new(),
    };
    let fields = transcriber.packet()?;
    let attachments = transcriber.attachments;
    // It was put together from UTF-8.
    let data = String::from_utf8(transcriber.json).map_err(|_| DecodeError::MsgPack)?;
    let kind = fields.kind.ok_or(DecodeError::UnknownType)?;
    let namespace = fields.namespace.ok_or(DecodeError::Namespace)?;
    check_payload(kind, fields.id, &data, !attachments.is_empty())?;
    // A placeholder that the client wrote itself would name an attachment a second time, or none.
    if !attachments.is_empty() && !json::placeholders_match(&data, attachments.len()) {
        return Err(DecodeError::Placeholder);
    }
    let namespace = if namespace == "/" { Cow::Borrowed("/") } else { Cow::Owned(namespace.to_owned()) };
    Ok(Packet { kind, namespace, id: fields.id, data: Cow::Owned(data), attachments })
}

/// Which packets carry which payload, and which an id. As the reference's parser checks it, and as is checked for JSON.
fn check_payload(kind: PacketKind, id: Option<AckId>, data: &str, has_attachments: bool) -> Result<(), DecodeError> {
    let fits = match kind {
        PacketKind::Connect | PacketKind::Disconnect if id.is_some() => return Err(DecodeError::AckId),
        PacketKind::Connect => (data.is_empty() || data.starts_with('{')) && !has_attachments,
        PacketKind::Disconnect => data.is_empty(),
        PacketKind::Event => return event::split(data).map(|_| ()),
        PacketKind::Ack => data.starts_with('['),
        PacketKind::ConnectError => return Err(DecodeError::ServerOnly),
    };
    fits.then_some(()).ok_or(DecodeError::Payload)
}

/// What a packet's map says, but for the payload, which is in the transcriber.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<PacketKind>,
    namespace: Option<&'a str>,
    id: Option<AckId>,
}

/// Whether a value left a trace in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Yes,
    /// It was `undefined`: what that means depends on where it stands.
    Undefined,
}

struct Transcriber<'a> {
    message: &'a Bytes,
    reader: Reader<'a>,
    json: Vec<u8>,
    attachments: Vec<Bytes>,
    bytes_left: usize,
    /// The keys of all maps that are open, the innermost one's last.
    keys: Vec<&'a str>,
}

impl<'a> Transcriber<'a> {
    fn packet(&mut self) -> Result<Fields<'a>, DecodeError> {
        let Token::Map(count) = self.reader.next()? else { return Err(DecodeError::MsgPack) };
        let mut fields = Fields::default();
        for _ in 0..count {
            match self.key()? {
                "type" => fields.kind = Some(kind(self.reader.next()?)?),
                "nsp" => fields.namespace = Some(namespace(self.reader.next()?)?),
                "id" => fields.id = id(self.reader.next()?)?,
                "data" => {
                    self.value(1)?;
                }
                _ => self.skip()?,
            }
        }
        self.end_of_map(0)?;
        if self.reader.0.is_empty() { Ok(fields) } else { Err(DecodeError::MsgPack) }
    }

    /// Reads over a value that says nothing to us. It keeps to the same rules, and brings no attachments.
    fn skip(&mut self) -> Result<(), DecodeError> {
        let (length, attachments) = (self.json.len(), self.attachments.len());
        self.value(1)?;
        self.json.truncate(length);
        if self.attachments.len() > attachments { Err(DecodeError::Payload) } else { Ok(()) }
    }

    /// Writes the next value out. Recursion is bounded by [`MAX_DEPTH`]; `depth` is that of the value itself.
    fn value(&mut self, depth: usize) -> Result<Written, DecodeError> {
        match self.reader.next()? {
            Token::Undefined => return Ok(Written::Undefined),
            Token::Nil => self.json.extend_from_slice(b"null"),
            Token::Boolean(true) => self.json.extend_from_slice(b"true"),
            Token::Boolean(false) => self.json.extend_from_slice(b"false"),
            Token::Unsigned(number) => self.write(format_args!("{number}")),
            Token::Signed(number) => self.write(format_args!("{number}")),
            Token::Float(number) => self.float(number),
            Token::Date(millis) => match date::to_iso_string(millis) {
                Some(text) => self.text(&text),
                None => self.json.extend_from_slice(b"null"),
            },
            Token::Text(text) => self.text(text),
            // Binary becomes a placeholder, which is an object too.
            Token::Binary(_) | Token::Array(_) | Token::Map(_) if depth > MAX_DEPTH => {
                return Err(DecodeError::TooDeep);
            }
            Token::Binary(data) => self.attachment(data)?,
            Token::Array(count) => self.array(count, depth)?,
            Token::Map(count) => self.map(count, depth)?,
        }
        Ok(Written::Yes)
    }

    fn array(&mut self, count: usize, depth: usize) -> Result<(), DecodeError> {
        self.json.push(b'[');
        for index in 0..count {
            if index > 0 {
                self.json.push(b',');
            }
            if self.value(depth + 1)? == Written::Undefined {
                self.json.extend_from_slice(b"null");
            }
        }
        self.json.push(b']');
        Ok(())
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<(), DecodeError> {
        let keys = self.keys.len();
        self.json.push(b'{');
        let start = self.json.len();
        for _ in 0..count {
            let before = self.json.len();
            let key = self.key()?;
            if before > start {
                self.json.push(b',');
            }
            self.text(key);
            self.json.push(b':');
            if self.value(depth + 1)? == Written::Undefined {
                self.json.truncate(before);
            }
        }
        self.json.push(b'}');
        self.end_of_map(keys)
    }

    fn key(&mut self) -> Result<&'a str, DecodeError> {
        let Token::Text(key) = self.reader.next()? else { return Err(DecodeError::MsgPack) };
        self.keys.push(key);
        Ok(key)
    }

    /// Forgets the keys of a map, which are those from `start` on. Of two equal ones notepack.io takes the second; other
    /// readers of the text might take the first.
    fn end_of_map(&mut self, start: usize) -> Result<(), DecodeError> {
        let keys = self.keys.get_mut(start..).unwrap_or_default();
        keys.sort_unstable();
        let twice = keys.iter().zip(keys.iter().skip(1)).any(|(one, next)| one == next);
        self.keys.truncate(start);
        if twice { Err(DecodeError::MsgPack) } else { Ok(()) }
    }

    fn attachment(&mut self, data: &[u8]) -> Result<(), DecodeError> {
        let num = self.attachments.len();
        if num >= MAX_ATTACHMENTS {
            return Err(DecodeError::TooManyAttachments);
        }
        self.bytes_left = self.bytes_left.checked_sub(data.len()).ok_or(DecodeError::AttachmentsTooLarge)?;
        self.attachments.push(self.message.slice_ref(data));
        self.write(format_args!("{{\"_placeholder\":true,\"num\":{num}}}"));
        Ok(())
    }

    fn text(&mut self, text: &str) {
        // A string always has a JSON form, and a Vec<u8> grows instead of failing.
        let _infallible = serde_json::to_writer(&mut self.json, text);
    }

    /// In the shortest digits that mean the same number, as JavaScript has them; it writes `1e+21` where this is `1e21`.
    fn float(&mut self, number: f64) {
        match number.abs() {
            size if !size.is_finite() => self.json.extend_from_slice(b"null"),
            // `-0` too.
            0.0 => self.json.push(b'0'),
            size if (1e-6..1e21).contains(&size) => self.write(format_args!("{number}")),
            _ => self.write(format_args!("{number:e}")),
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // A Vec<u8> grows instead of failing.
        let _infallible = self.json.write_fmt(text);
    }
}

/// BINARY_EVENT and BINARY_ACK do not exist here.
fn kind(token: Token<'_>) -> Result<PacketKind, DecodeError> {
    match whole(token) {
        Some(0) => Ok(PacketKind::Connect),
        Some(1) => Ok(PacketKind::Disconnect),
        Some(2) => Ok(PacketKind::Event),
        Some(3) => Ok(PacketKind::Ack),
        Some(4) => Err(DecodeError::ServerOnly),
        _ => Err(DecodeError::UnknownType),
    }
}

fn namespace(token: Token<'_>) -> Result<&str, DecodeError> {
    match token {
        Token::Text(name) if name.starts_with('/') => check_namespace(name).map(|()| name),
        _ => Err(DecodeError::Namespace),
    }
}

fn id(token: Token<'_>) -> Result<Option<AckId>, DecodeError> {
    match token {
        Token::Undefined => Ok(None),
        token => whole(token).map(|id| Some(AckId(id))).ok_or(DecodeError::AckId),
    }
}

/// A whole number in any of its formats, not negative.
fn whole(token: Token<'_>) -> Option<u64> {
    match token {
        Token::Unsigned(number) => Some(number),
        Token::Signed(number) => u64::try_from(number).ok(),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests;
