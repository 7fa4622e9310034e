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

use crate::engineio::deflate;
use crate::engineio::frame::{self, MAX_HEADER, Opcode};
use crate::engineio::payload::{self, ServerPacket};

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
        let mut buffer = Vec::with_capacity(MAX_HEADER + capacity);
        buffer.extend_from_slice(&[0; MAX_HEADER]);
        write(&mut buffer);
        Self::from_buffer(Opcode::Text, &mut buffer)
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

    fn from_buffer(opcode: Opcode, buffer: &mut [u8]) -> Self {
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
    fn len(&self) -> usize {
        self.0.plain.len()
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

    /// Takes as many packets as fit into the answer of a poll, at least one if there is one.
    pub fn take_payload(&mut self, max_payload: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(entry) = self.entries.front() {
            if let Some(packet) = entry.frame.packet() {
                if !body.is_empty() && payload::len_with(body.len(), packet) > max_payload {
                    break;
                }
                payload::append(&mut body, packet);
            }
            self.bytes -= entry.frame.len();
            self.entries.pop_front();
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 100, age: Duration::from_secs(30) };

    fn frame(length: usize) -> SharedFrame {
        SharedFrame::from_text(&"x".repeat(length))
    }

    fn on_the_wire(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = outbox.slices(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn one_frame_serves_both_transports() {
        for (length, header) in
            [(5, &[0x81, 5][..]), (126, &[0x81, 126, 0, 126]), (70_000, &[0x81, 127, 0, 0, 0, 0, 0, 1])]
        {
            let mut outbox = Outbox::default();
            outbox.push(frame(length), BOUNDS, Instant::now()).unwrap();
            assert!(on_the_wire(&outbox).starts_with(header), "{length}");
            assert!(on_the_wire(&outbox).ends_with(b"xxxxx"), "{length}");
            assert_eq!(outbox.take_payload(10), "x".repeat(length).into_bytes());
        }
    }

    #[test]
    fn binary_packets_are_raw_on_a_websocket_and_base64_in_a_poll() {
        let mut outbox = Outbox::default();
        let now = Instant::now();
        outbox.push(SharedFrame::from_text("4a"), BOUNDS, now).unwrap();
        outbox.push(SharedFrame::binary(&[1, 2, 3, 4]), BOUNDS, now).unwrap();
        outbox.push(SharedFrame::control(&[0x8a, 0]), BOUNDS, now).unwrap();
        assert_eq!(on_the_wire(&outbox), b"\x81\x024a\x82\x04\x01\x02\x03\x04\x8a\x00");
        assert_eq!(outbox.take_payload(1000), b"4a\x1ebAQIDBA==");
        assert!(outbox.is_empty());
    }

    #[test]
    fn partial_writes_go_on_where_they_stopped() {
        let mut outbox = Outbox::default();
        for text in ["4one", "4two"] {
            outbox.push(SharedFrame::from_text(text), BOUNDS, Instant::now()).unwrap();
        }
        let whole = on_the_wire(&outbox);
        for written in 0..whole.len() {
            assert_eq!(on_the_wire(&outbox), whole[written..], "after {written}");
            outbox.advance(1);
        }
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_frame_is_compressed_once_for_all_who_take_it_and_read_plain_by_the_others() {
        let long = SharedFrame::from_text(&format!("4{}", "over and over ".repeat(200)));
        let to = |deflates| {
            let mut outbox = Outbox::default();
            outbox.set_deflates(deflates);
            for frame in [&long, &SharedFrame::from_text("4short"), &SharedFrame::control(&[0x8a, 0]), &long] {
                outbox.push(frame.clone(), Bounds { bytes: 10_000, ..BOUNDS }, Instant::now()).unwrap();
            }
            outbox
        };
        let mut plain = to(false);
        assert!(long.0.deflated.get().is_none() && on_the_wire(&plain).starts_with(&[0x81, 126]));
        let mut deflated = to(true);
        let whole = on_the_wire(&deflated);
        assert!(whole.starts_with(&[0xc1]) && whole.len() < 200, "{}", whole.len());
        let copies: Vec<_> =
            [to(true), to(true)].iter().map(|outbox| outbox.entries[0].frame.bytes(true).as_ptr()).collect();
        assert_eq!(copies, [long.bytes(true).as_ptr(); 2], "the same bytes for everybody");
        for written in 0..whole.len() {
            assert_eq!(on_the_wire(&deflated), whole[written..], "after {written}");
            deflated.advance(1);
        }
        assert!(deflated.is_empty() && deflated.bytes == 0);
        assert_eq!(
            to(true).take_payload(10_000),
            plain.take_payload(10_000),
            "a poll's answer is compressed as a whole"
        );
    }

    #[test]
    fn volatile_frames_go_first_and_then_the_client() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.push(frame(38), BOUNDS, now).unwrap();
        assert!(outbox.push_volatile(frame(38), BOUNDS, now));
        assert!(!outbox.push_volatile(frame(38), BOUNDS, now), "full: the new volatile frame is dropped");
        outbox.push(frame(38), BOUNDS, now).unwrap();
        assert_eq!(on_the_wire(&outbox).len(), 80, "the queued volatile frame made room");
        assert_eq!(outbox.push(frame(38), BOUNDS, now), Err(SlowConsumer));
        assert_eq!(outbox.deadline(BOUNDS), Some(now + BOUNDS.age));
    }

    #[test]
    fn a_half_written_volatile_frame_is_not_dropped() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        assert!(outbox.push_volatile(frame(58), BOUNDS, now));
        outbox.advance(10);
        assert_eq!(outbox.push(frame(58), BOUNDS, now), Err(SlowConsumer));
        assert_eq!(on_the_wire(&outbox).len(), 50);
    }

    #[test]
    fn a_large_frame_fits_into_an_empty_outbox_and_polls_are_cut_at_max_payload() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.push(frame(1000), BOUNDS, now).unwrap();
        assert_eq!(outbox.take_payload(100).len(), 1000);
        for _ in 0..3 {
            outbox.push(frame(20), BOUNDS, now).unwrap();
        }
        assert_eq!(outbox.take_payload(41).len(), 41);
        assert_eq!(outbox.take_payload(41).len(), 20);
    }
}
