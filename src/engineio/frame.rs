//! WebSocket frames as a server reads and writes them (RFC 6455), without I/O.
//!
//! Owns the framing: masks, lengths, fragments, control frames, UTF-8, and what of it fails a connection. Knows nothing
//! of what the messages say.
//!
//! Written by hand although tungstenite exists, for two reasons. A message there may have any number of fragments, empty
//! ones included, and take any time; here both are bounded. And it wants a read buffer of its own per connection; here
//! all connections of a core read into one shared buffer, messages are unmasked and handed out where they lie, and an
//! idle connection holds a [`FrameReader`] of 64 bytes and no heap.
//!
//! A compressed message exists only for a reader that was told so; [`super::deflate`] makes it a message like any other.

use std::borrow::Cow;
use std::mem;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::deflate;
use super::error::FrameError;

/// Most frames in one message: a megabyte may come in pieces of a kilobyte. Without a bound it could come as a million
/// empty or one-byte frames.
pub const MAX_FRAGMENTS: u16 = 1024;

/// How long a message may take from its first byte to its last, as long as an HTTP body may.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest payload of a control frame, in bytes (RFC 6455 section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// What a frame is for (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further piece of a fragmented message.
    Continuation = 0,
    /// A UTF-8 text message, or its first piece.
    Text = 1,
    /// A binary message, or its first piece.
    Binary = 2,
    /// The last frame of a connection.
    Close = 8,
    /// Asks for a pong with the same payload.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Self, FrameError> {
        match bits {
            0 => Ok(Self::Continuation),
            1 => Ok(Self::Text),
            2 => Ok(Self::Binary),
            8 => Ok(Self::Close),
            9 => Ok(Self::Ping),
            10 => Ok(Self::Pong),
            _ => Err(FrameError::ReservedOpcode),
        }
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A whole message or control frame. Borrowed where it lay in the input, owned when it arrived in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'b> {
    /// A text message.
    Text(Cow<'b, str>),
    /// A binary message.
    Binary(Cow<'b, [u8]>),
    /// To be answered by [`pong`] with this payload. Of several pings only the latest needs an answer (section 5.5.3),
    /// so one pending pong per connection is enough.
    Ping(Cow<'b, [u8]>),
    /// An answer to a ping, or nothing.
    Pong,
    /// The client closes, with its status code if it gave one. Nothing follows.
    Close(Option<u16>),
}

/// Reads the frames of one connection.
///
/// Call [`read`](Self::read) with what arrived, again with what it did not consume, until nothing is left. Bytes of an
/// unfinished frame are kept here, so the input may be overwritten as soon as all of it is consumed. The memory for a
/// message in pieces grows as its bytes arrive, never ahead of them, up to the message limit, and goes with the message.
///
/// After [`Frame::Close`] or an error the reader is done: it consumes whatever comes and yields nothing more.
#[derive(Debug)]
pub struct FrameReader {
    max_message: usize,
    /// permessage-deflate was agreed on.
    deflates: bool,
    closed: bool,
    /// Header and masked payload, as far as they arrived, of a frame that the input did not hold whole.
    partial: Vec<u8>,
    /// A message whose last fragment has not come.
    fragmented: Option<Box<Fragmented>>,
    started: Option<Instant>,
}

#[derive(Debug)]
struct Fragmented {
    is_text: bool,
    is_deflated: bool,
    /// Frames so far, at most [`MAX_FRAGMENTS`].
    fragments: u16,
    payload: Vec<u8>,
}

/// A frame's header, checked.
#[derive(Clone, Copy)]
struct Header {
    fin: bool,
    is_deflated: bool,
    opcode: Opcode,
    mask: [u8; 4],
    header_len: usize,
    payload_len: usize,
}

impl FrameReader {
    /// A reader that refuses messages of more than `max_message` bytes, compressed ones also when that is what they
    /// inflate to; all compressed ones unless `deflates`.
    #[must_use]
    pub fn new(max_message: usize, deflates: bool) -> Self {
        Self { max_message, deflates, closed: false, partial: Vec::new(), fragmented: None, started: None }
    }

    /// Reads at most one frame from the front of `input`, unmasking it in place. Returns how many bytes were consumed
    /// (at least one, unless `input` is empty) and the message or control frame that they completed, if any.
    ///
    /// # Errors
    /// [`FrameError`] as soon as the bytes seen so far cannot be the start of a valid frame: answer with [`close`] and
    /// its [`close_code`](FrameError::close_code).
    pub fn read<'b>(&mut self, input: &'b mut [u8], now: Instant) -> Result<(usize, Option<Frame<'b>>), FrameError> {
        if self.closed {
            return Ok((input.len(), None));
        }
        let outcome = self.read_frame(input);
        if let Err(_) | Ok((_, Some(Frame::Close(_)))) = outcome {
            *self = Self { closed: true, ..Self::new(self.max_message, self.deflates) };
        }
        let unfinished = !self.partial.is_empty() || self.fragmented.is_some();
        self.started = unfinished.then(|| self.started.unwrap_or(now));
        outcome
    }

    /// Since when a message or frame has been incomplete, `None` while there is none. The caller closes a client that
    /// does not finish within [`MESSAGE_TIMEOUT`]: this is where a message sent one byte a minute shows.
    #[must_use]
    pub fn unfinished_since(&self) -> Option<Instant> {
        self.started
    }

    fn read_frame<'b>(&mut self, input: &'b mut [u8]) -> Result<(usize, Option<Frame<'b>>), FrameError> {
        if !self.partial.is_empty() {
            return self.read_partial(input);
        }
        if let Some(header) = self.parse_header(input)? {
            let frame_len = header.header_len + header.payload_len;
            if frame_len <= input.len() {
                let payload = input.get_mut(header.header_len..frame_len).unwrap_or_default();
                unmask(payload, header.mask);
                return Ok((frame_len, self.finish(header, Cow::Borrowed(payload))?));
            }
        }
        self.partial.extend_from_slice(input);
        Ok((input.len(), None))
    }

    fn read_partial<'b>(&mut self, input: &[u8]) -> Result<(usize, Option<Frame<'b>>), FrameError> {
        let mut rest = input;
        let header = loop {
            if let Some(header) = self.parse_header(&self.partial)? {
                break header;
            }
            let Some((byte, after)) = rest.split_first() else { return Ok((input.len(), None)) };
            self.partial.push(*byte);
            rest = after;
        };
        let missing = header.header_len + header.payload_len - self.partial.len();
        let Some((last, rest)) = rest.split_at_checked(missing) else {
            self.partial.extend_from_slice(rest);
            return Ok((input.len(), None));
        };
        self.partial.extend_from_slice(last);
        let mut payload = mem::take(&mut self.partial);
        payload.drain(..header.header_len);
        unmask(&mut payload, header.mask);
        Ok((input.len() - rest.len(), self.finish(header, Cow::Owned(payload))?))
    }

    /// Reads and checks a header as far as it goes, so that each violation is seen with the byte that commits it; `None`
    /// when it needs more bytes. Lengths in a longer form than needed are let through, as the reference server's WebSocket library does.
    fn parse_header(&self, bytes: &[u8]) -> Result<Option<Header>, FrameError> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let fin = first & 0x80 != 0;
        let is_deflated = first & DEFLATED != 0;
        // It belongs on the first frame of a message (RFC 7692 section 6.1).
        let may_be_deflated = self.deflates && matches!(first & 0x0f, 1 | 2);
        if first & 0x30 != 0 || (is_deflated && !may_be_deflated) {
            return Err(FrameError::ReservedBits);
        }
        let opcode = Opcode::from_bits(first & 0x0f)?;
        match (opcode, &self.fragmented) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) if !fin => return Err(FrameError::FragmentedControl),
            (Opcode::Continuation, None) => return Err(FrameError::OrphanContinuation),
            (Opcode::Continuation, Some(message)) if message.fragments >= MAX_FRAGMENTS => {
                return Err(FrameError::TooManyFragments);
            }
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(FrameError::InterleavedMessage),
            _ => {}
        }

        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(FrameError::Unmasked);
        }
        let short_len = second & 0x7f;
        if opcode.is_control() && usize::from(short_len) > MAX_CONTROL_PAYLOAD {
            return Err(FrameError::ControlTooLong);
        }
        let extended = match short_len {
            126 => rest.split_first_chunk().map(|(len, rest)| (u64::from(u16::from_be_bytes(*len)), rest)),
            127 => rest.split_first_chunk().map(|(len, rest)| (u64::from_be_bytes(*len), rest)),
            len => Some((u64::from(len), rest)),
        };
        let Some((payload_len, rest)) = extended else { return Ok(None) };
        let room = match &self.fragmented {
            _ if opcode.is_control() => MAX_CONTROL_PAYLOAD,
            Some(message) => self.max_message.saturating_sub(message.payload.len()),
            None => self.max_message,
        };
        let Some(payload_len) = usize::try_from(payload_len).ok().filter(|len| *len <= room) else {
            return Err(FrameError::MessageTooBig);
        };

        let Some((&mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
        Ok(Some(Header { fin, is_deflated, opcode, mask, header_len: bytes.len() - rest.len(), payload_len }))
    }

    fn finish<'b>(&mut self, header: Header, payload: Cow<'b, [u8]>) -> Result<Option<Frame<'b>>, FrameError> {
        match header.opcode {
            Opcode::Text | Opcode::Binary => {
                let (is_text, is_deflated) = (header.opcode == Opcode::Text, header.is_deflated);
                if header.fin {
                    return self.message(is_text, is_deflated, payload).map(Some);
                }
                let payload = payload.into_owned();
                self.fragmented = Some(Box::new(Fragmented { is_text, is_deflated, fragments: 1, payload }));
                Ok(None)
            }
            Opcode::Continuation => {
                let mut fragmented = self.fragmented.take().ok_or(FrameError::OrphanContinuation)?;
                fragmented.fragments += 1;
                fragmented.payload.extend_from_slice(&payload);
                if header.fin {
                    let Fragmented { is_text, is_deflated, payload, .. } = *fragmented;
                    return self.message(is_text, is_deflated, Cow::Owned(payload)).map(Some);
                }
                self.fragmented = Some(fragmented);
                Ok(None)
            }
            Opcode::Ping => Ok(Some(Frame::Ping(payload))),
            Opcode::Pong => Ok(Some(Frame::Pong)),
            Opcode::Close => close_status(&payload).map(|code| Some(Frame::Close(code))),
        }
    }

    fn message<'b>(&self, is_text: bool, is_deflated: bool, payload: Cow<'b, [u8]>) -> Result<Frame<'b>, FrameError> {
        let payload = if is_deflated { deflate::inflate(&payload, self.max_message)?.into() } else { payload };
        if !is_text {
            return Ok(Frame::Binary(payload));
        }
        let text = match payload {
            Cow::Borrowed(bytes) => simdutf8::basic::from_utf8(bytes).map(Cow::Borrowed).ok(),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
        };
        text.map(Frame::Text).ok_or(FrameError::InvalidUtf8)
    }
}

/// Reads a close frame's payload: nothing, or a code that endpoints may send (RFC 6455 section 7.4; 1012 to 1014 were
/// registered later) and a reason, which is checked and dropped: it is the client's word and ends in no log.
fn close_status(payload: &[u8]) -> Result<Option<u16>, FrameError> {
    match payload.split_first_chunk() {
        None if payload.is_empty() => Ok(None),
        None => Err(FrameError::InvalidClose),
        Some((code, reason)) => match u16::from_be_bytes(*code) {
            _ if simdutf8::basic::from_utf8(reason).is_err() => Err(FrameError::InvalidUtf8),
            code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(Some(code)),
            _ => Err(FrameError::InvalidClose),
        },
    }
}

/// Eight bytes at a time, a shape that the compiler turns into vector instructions.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// Longest header of a server's frame, in bytes.
pub const MAX_HEADER: usize = 10;

/// The bit of a frame's first byte that marks its message as compressed (RFC 7692 section 6).
const DEFLATED: u8 = 0x40;

/// Writes the header of an unfragmented, unmasked frame into `out` and returns how many bytes of it are used.
pub fn header(opcode: Opcode, payload_len: usize, out: &mut [u8; MAX_HEADER]) -> usize {
    let [first, second, extended @ ..] = out;
    *first = 0x80 | opcode as u8;
    match (u8::try_from(payload_len), u16::try_from(payload_len)) {
        (Ok(len @ ..=125), _) => {
            *second = len;
            2
        }
        (_, Ok(len)) => {
            *second = 126;
            let [high, low, ..] = extended;
            [*high, *low] = len.to_be_bytes();
            4
        }
        (_, Err(_)) => {
            *second = 127;
            *extended = (payload_len as u64).to_be_bytes();
            MAX_HEADER
        }
    }
}

/// Takes a server's frame, as [`encode`] or [`header`] made it, apart again. `None` for what is no such frame.
#[must_use]
pub fn split(frame: &[u8]) -> Option<(Opcode, &[u8])> {
    let [first, second, ..] = frame else { return None };
    let opcode = Opcode::from_bits(first & 0x0f).ok()?;
    let header = match second & 0x7f {
        126 => 4,
        127 => MAX_HEADER,
        _ => 2,
    };
    Some((opcode, frame.get(header..)?))
}

/// A whole frame, header and payload in one allocation, ready to be shared by all who receive it. The payload of a
/// control frame must not exceed [`MAX_CONTROL_PAYLOAD`], that of a text frame must be UTF-8.
#[must_use]
pub fn encode(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut head = [0; MAX_HEADER];
    let head_len = header(opcode, payload.len(), &mut head);
    let mut frame = Vec::with_capacity(head_len + payload.len());
    frame.extend(head.iter().take(head_len));
    frame.extend_from_slice(payload);
    frame.into()
}

/// As [`encode`], for a payload that [`deflate::deflate`] made.
#[must_use]
pub fn encode_deflated(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut frame = Vec::from(encode(opcode, payload));
    if let Some(first) = frame.first_mut() {
        *first |= DEFLATED;
    }
    frame.into()
}

/// The answer to a ping; its payload always fits, coming from a [`Frame::Ping`].
#[must_use]
pub fn pong(payload: &[u8]) -> Bytes {
    encode(Opcode::Pong, payload.get(..MAX_CONTROL_PAYLOAD).unwrap_or(payload))
}

/// A close frame with a status code and a reason, which is cut at a character if it does not fit beside the code.
#[must_use]
pub fn close(code: u16, reason: &str) -> Bytes {
    let (reason, _) = reason.split_at(reason.floor_char_boundary(MAX_CONTROL_PAYLOAD - 2));
    encode(Opcode::Close, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

#[cfg(test)]
mod tests;
