//! One client of the floor: written to directly, queued for only when the kernel takes no more.

use std::collections::VecDeque;
use std::io::{IoSlice, Write as _};
use std::net::Shutdown;
use std::rc::Rc;

use mio::net::TcpStream;

/// What may wait for a client that does not read; beyond it the client is cut off, as alt-ws does.
const MOST_WAITING_BYTES: usize = 1024 * 1024;

pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// Whether the WebSocket handshake is over.
    pub(crate) is_open: bool,
    pub(crate) room: Option<usize>,
    /// The beginning of a request or frame.
    pub(crate) partial: Vec<u8>,
    /// What the kernel did not take.
    waiting: VecDeque<Rc<[u8]>>,
    waiting_bytes: usize,
    /// Bytes of the first waiting frame that it did take.
    written: usize,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            is_open: false,
            room: None,
            partial: Vec::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            written: 0,
        }
    }

    /// One frame, one `write`.
    pub(crate) fn send(&mut self, frame: &Rc<[u8]>) {
        let taken = if self.waiting.is_empty() { self.stream.write(frame).unwrap_or(0) } else { 0 };
        if taken < frame.len() {
            self.wait(std::slice::from_ref(frame), taken);
        }
    }

    /// Several frames, one vectored `write`. The slices are those of the frames, made once for all recipients.
    pub(crate) fn send_all(&mut self, frames: &[Rc<[u8]>], slices: &[IoSlice<'_>]) {
        let mut taken = if self.waiting.is_empty() { self.stream.write_vectored(slices).unwrap_or(0) } else { 0 };
        for (position, frame) in frames.iter().enumerate() {
            if taken < frame.len() {
                return self.wait(&frames[position..], taken);
            }
            taken -= frame.len();
        }
    }

    /// Errors other than a full socket show when it is read from next.
    fn wait(&mut self, frames: &[Rc<[u8]>], taken: usize) {
        if self.waiting.is_empty() {
            self.written = taken;
        }
        self.waiting_bytes += frames.iter().map(|frame| frame.len()).sum::<usize>();
        if self.waiting_bytes > MOST_WAITING_BYTES {
            // Ends the next read, and with it the connection.
            let _ = self.stream.shutdown(Shutdown::Both);
        } else {
            self.waiting.extend(frames.iter().cloned());
        }
    }

    /// The kernel takes more again.
    pub(crate) fn flush(&mut self) {
        while let Some(frame) = self.waiting.front() {
            let Ok(taken) = self.stream.write(&frame[self.written..]) else { return };
            self.written += taken;
            if self.written < frame.len() {
                return;
            }
            self.written = 0;
            self.waiting_bytes -= frame.len();
            self.waiting.pop_front();
        }
    }
}
