//! What a connection still has to be sent: frames that all recipients share, in a bounded queue.
//!
//! Owns the bound and what happens at it. A pure structure: it writes to nothing, and the same queue feeds a WebSocket
//! and the answers of long polls.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use flate2::{Compress, Compression};

use crate::engineio::body::{Body, Form};
use crate::engineio::deflate;
use crate::engineio::frame::{self, MAX_HEADER, Opcode};
use crate::engineio::handshake::Dialect;
use crate::engineio::packet;
use crate::engineio::payload::ServerPacket;
use crate::engineio::payload_v3;

/// One Engine.IO packet, framed for WebSocket once and shared by everyone who receives it. Polling uses the same bytes
/// without the frame's header. A recipient's share is one pointer, so that thousands of slow ones cost little more than
/// one.
#[derive(Clone, Debug)]
pub struct SharedFrame(Arc<Framed>);

#[derive(Debug)]
struct Framed {
    plain: Box<[u8]>,
    /// The same, compressed for those who take it, once somebody does; `None` where that would be no shorter.
    deflated: OnceLock<Option<Box<[u8]>>>,
}

impl PartialEq for SharedFrame {
    fn eq(&self, other: &Self) -> bool {
        self.0.plain == other.0.plain
    }
}

impl Eq for SharedFrame {}

thread_local! {
    /// A core's compressor of messages, 260 KB once it is used.
    static DEFLATER: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
}

impl SharedFrame {
    /// A text packet, written by `write` behind room for the header.
    pub fn text(capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        Self::written(Opcode::Text, capacity, write)
    }

    /// A binary packet, written by `write` behind room for the header.
    pub fn binary_with(capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        Self::written(Opcode::Binary, capacity, write)
    }

    /// A text packet that is there already.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self::text(text.len(), |buffer| buffer.extend_from_slice(text.as_bytes()))
    }

    /// A binary packet.
    #[must_use]
    pub fn binary(data: &[u8]) -> Self {
        Self::control(&frame::encode(Opcode::Binary, data))
    }

    /// A WebSocket frame, whole.
    #[must_use]
    pub fn control(frame: &[u8]) -> Self {
        Self(Arc::new(Framed { plain: frame.into(), deflated: OnceLock::new() }))
    }

    /// The same packet as this client takes it. Text is alike in all dialects, and what nobody else speaks is made
    /// anew for the one recipient.
    #[must_use]
    pub fn in_dialect(&self, dialect: Dialect) -> Self {
        let Dialect::V3 { base64 } = dialect else { return self.clone() };
        let Some(ServerPacket::Binary(data)) = self.packet() else { return self.clone() };
        let mut typed = Vec::with_capacity(1 + data.len());
        typed.push(packet::MESSAGE_BYTE);
        typed.extend_from_slice(data);
        if base64 {
            Self::text(2 + data.len().div_ceil(3) * 4, |buffer| payload_v3::append_base64(buffer, &typed))
        } else {
            Self::binary(&typed)
        }
    }

    fn written(opcode: Opcode, capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut buffer = Vec::with_capacity(MAX_HEADER + capacity);
        buffer.extend_from_slice(&[0; MAX_HEADER]);
        write(&mut buffer);
        let mut header = [0; MAX_HEADER];
        let length = frame::header(opcode, buffer.len() - MAX_HEADER, &mut header);
        let unused = MAX_HEADER - length;
        if let (Some(room), Some(header)) = (buffer.get_mut(unused..MAX_HEADER), header.get(..length)) {
            room.copy_from_slice(header);
        }
        Self::control(buffer.get(unused..).unwrap_or_default())
    }

    /// The frame's bytes on a WebSocket, for a client that takes compressed messages or for one that does not. Whoever is
    /// the first to need them compressed does it for all; another core that needs them at that very moment waits, which
    /// is no longer than doing it again would take.
    fn bytes(&self, deflates: bool) -> &[u8] {
        let is_long = self.0.plain.len() >= deflate::LEAST_BYTES;
        let short = if deflates && is_long { self.0.deflated.get_or_init(|| self.deflate()).as_deref() } else { None };
        short.unwrap_or(&self.0.plain)
    }

    fn deflate(&self) -> Option<Box<[u8]>> {
        let (opcode @ (Opcode::Text | Opcode::Binary), payload) = frame::split(&self.0.plain)? else { return None };
        let payload = DEFLATER.with(|deflater| deflate::deflate(&mut *deflater.try_borrow_mut().ok()?, payload))?;
        Some(Vec::from(frame::encode_deflated(opcode, &payload)).into())
    }

    /// What it counts for in an outbox: its length as it is, whoever receives it.
    pub(super) fn len(&self) -> usize {
        self.0.plain.len()
    }

    /// A text packet that `write` makes of this one's text; of anything else, a copy.
    pub(super) fn rewritten(&self, write: impl FnOnce(&[u8], &mut Vec<u8>)) -> Self {
        match self.packet() {
            Some(ServerPacket::Text(text)) => Self::text(text.len(), |buffer| write(text, buffer)),
            Some(ServerPacket::Binary(_)) | None => self.clone(),
        }
    }

    /// The packet without its frame; control frames are WebSocket's own business and hold none.
    fn packet(&self) -> Option<ServerPacket<'_>> {
        let (opcode, payload) = frame::split(&self.0.plain)?;
        match opcode {
            Opcode::Text => Some(ServerPacket::Text(payload)),
            Opcode::Binary => Some(ServerPacket::Binary(payload)),
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => None,
        }
    }
}

/// What an outbox may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of all frames. A frame always fits into an empty outbox.
    pub bytes: usize,
    /// Age of the oldest frame.
    pub age: Duration,
}

/// The client reads too slowly for its outbox; it is to be disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client reads too slowly")]
pub struct SlowConsumer;

/// A queue of frames. When a new one does not fit, volatile frames are dropped, the new one first; when that is not
/// enough the client is a [`SlowConsumer`]. The same when the oldest frame is older than the bound.
#[derive(Debug, Default)]
pub struct Outbox {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Whether the WebSocket that it goes to takes compressed messages.
    deflates: bool,
    /// Bytes of the front frame, as it goes out, that are written already.
    written: usize,
    /// When the queue was last empty; entries count their time from here.
    since: Option<Instant>,
}

/// Sixteen bytes, because a client that stops reading may have thousands.
#[derive(Debug)]
struct Entry {
    frame: SharedFrame,
    /// Milliseconds after [`Outbox::since`].
    queued: u32,
    is_volatile: bool,
}

/// An emptied queue keeps room for this many frames; what a burst needed beyond it is given back.
const KEPT_CAPACITY: usize = 4;

impl Outbox {
    /// Appends a frame that must arrive.
    ///
    /// # Errors
    /// [`SlowConsumer`] when it does not fit even without the volatile frames.
    pub fn push(&mut self, frame: SharedFrame, bounds: Bounds, now: Instant) -> Result<(), SlowConsumer> {
        if !self.fits(&frame, bounds) {
            self.drop_volatile();
            if !self.fits(&frame, bounds) {
                return Err(SlowConsumer);
            }
        }
        self.append(frame, now, false);
        Ok(())
    }

    /// Appends a frame that may be lost. `false` when it did not fit and was dropped.
    pub fn push_volatile(&mut self, frame: SharedFrame, bounds: Bounds, now: Instant) -> bool {
        let fits = self.fits(&frame, bounds);
        if fits {
            self.append(frame, now, true);
        }
        fits
    }

    fn fits(&self, frame: &SharedFrame, bounds: Bounds) -> bool {
        self.entries.is_empty() || self.bytes + frame.len() <= bounds.bytes
    }

    fn append(&mut self, frame: SharedFrame, now: Instant, is_volatile: bool) {
        self.bytes += frame.len();
        if self.entries.is_empty() {
            self.since = Some(now);
        }
        let waited = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let queued = u32::try_from(waited.as_millis()).unwrap_or(u32::MAX);
        self.entries.push_back(Entry { frame, queued, is_volatile });
    }

    /// A frame of which a part is on the wire has to stay.
    fn drop_volatile(&mut self) {
        let mut protected = usize::from(self.written > 0);
        self.entries.retain(|entry| {
            let keep = protected > 0 || !entry.is_volatile;
            protected = protected.saturating_sub(1);
            keep
        });
        self.bytes = self.entries.iter().map(|entry| entry.frame.len()).sum();
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// When the oldest frame will be too old.
    #[must_use]
    pub fn deadline(&self, bounds: Bounds) -> Option<Instant> {
        let oldest = self.entries.front()?;
        Some(self.since? + Duration::from_millis(oldest.queued.into()) + bounds.age)
    }

    /// Says what kind of WebSocket it goes to from now on. Not to be changed while a frame is half written.
    pub fn set_deflates(&mut self, deflates: bool) {
        self.deflates = deflates;
    }

    /// Fills `slices` with what comes next on a WebSocket and returns how many were filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut skip = self.written;
        for (slot, entry) in slices.iter_mut().zip(&self.entries) {
            *slot = IoSlice::new(entry.frame.bytes(self.deflates).get(skip..).unwrap_or_default());
            skip = 0;
            filled += 1;
        }
        filled
    }

    /// That many bytes of the slices are on the wire.
    pub fn advance(&mut self, count: usize) {
        self.written += count;
        while let Some(entry) = self.entries.front() {
            let length = entry.frame.bytes(self.deflates).len();
            if self.written < length {
                return;
            }
            self.written -= length;
            self.bytes -= entry.frame.len();
            self.entries.pop_front();
        }
        self.written = 0;
        if self.entries.capacity() > 4 * KEPT_CAPACITY {
            self.entries.shrink_to(KEPT_CAPACITY);
        }
    }

    /// Takes as many packets as fit into the answer of a poll, at least one if there is one. Frames for a client of
    /// another dialect than revision 4's have passed through [`SharedFrame::in_dialect`].
    pub fn take_payload(&mut self, dialect: Dialect, max_payload: usize) -> Body {
        let mut body = Body::new(dialect.revision(), self.form(dialect));
        while let Some(entry) = self.entries.front() {
            if let Some(packet) = entry.frame.packet() {
                if !body.fits(packet, max_payload) {
                    break;
                }
                body.append(packet);
            }
            self.bytes -= entry.frame.len();
            self.entries.pop_front();
        }
        body
    }

    /// The reference server's choice: bytes where there are any, to a client of revision 3 that takes them.
    fn form(&self, dialect: Dialect) -> Form {
        let is_binary = |entry: &Entry| matches!(entry.frame.packet(), Some(ServerPacket::Binary(_)));
        match dialect {
            Dialect::V3 { base64: false } if self.entries.iter().any(is_binary) => Form::Binary,
            Dialect::V3 { .. } | Dialect::V4 => Form::Text,
        }
    }
}

#[cfg(test)]
mod tests;
