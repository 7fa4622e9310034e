//! One non-blocking TCP connection of a client.
//!
//! Owns the stream and the bytes of an unfinished frame. Knows nothing of what the bytes mean.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, Type};

/// How much is read at once, in bytes: a thousand small frames, and less than a CPU's second-level cache.
const READ: usize = 128 * 1024;

/// Longest unfinished frame that is kept, in bytes: above the longest packet of an Engine.IO server with the usual
/// `maxPayload` of 1,000,000. A connection with a longer one fails.
const MAX_UNFINISHED: usize = 4 * 1024 * 1024;

/// Receive buffer of a client that will not read, in bytes: the kernel should fill up soon.
const SMALL_BUFFER: usize = 4096;

/// A connection that is being made, open, or broken.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    unfinished: Vec<u8>,
}

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// The buffer's first bytes, to be taken in; there may be more to read.
    Some(usize),
    /// The same, and no more for now.
    Last(usize),
    /// Nothing for now.
    Nothing,
    /// Nothing ever again.
    End,
}

impl Socket {
    /// Begins to connect. With `is_stalled` the kernel keeps little for whoever does not read.
    pub(super) fn connect(address: SocketAddr, is_stalled: bool) -> io::Result<Self> {
        let raw = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        raw.set_nonblocking(true)?;
        raw.set_tcp_nodelay(true)?;
        if is_stalled {
            raw.set_recv_buffer_size(SMALL_BUFFER)?;
        }
        match raw.connect(&SockAddr::from(address)) {
            Ok(()) => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(Self { stream: TcpStream::from_std(raw.into()), unfinished: Vec::new() })
    }

    /// Has `token` reported whenever something can be read or written that could not be before.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Reads behind what is unfinished, so that the buffer begins with the frame's beginning. `is_ending` says that the
    /// other side will send no more: its end has to be read, since nothing else will be reported.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>, is_ending: bool) -> io::Result<Read> {
        let kept = self.unfinished.len();
        if buffer.len() < kept + READ {
            buffer.resize(kept + READ, 0);
        }
        let Some((front, space)) = buffer.split_at_mut_checked(kept) else { return Ok(Read::Nothing) };
        let space = space.get_mut(..READ).unwrap_or_default();
        loop {
            return match self.stream.read(space) {
                Ok(0) => Ok(Read::End),
                Ok(count) => {
                    front.copy_from_slice(&self.unfinished);
                    self.unfinished.clear();
                    // A read that does not fill its space has emptied the socket (epoll(7), questions and answers).
                    Ok(if count < READ && !is_ending { Read::Last(kept + count) } else { Read::Some(kept + count) })
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Read::Nothing),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Keeps the bytes of an unfinished frame for the next read. Says no when they are too many.
    #[must_use]
    pub(super) fn keep(&mut self, unfinished: &[u8]) -> bool {
        self.unfinished.extend_from_slice(unfinished);
        self.unfinished.len() <= MAX_UNFINISHED
    }

    /// Writes as much of `output` as the kernel takes, and removes that.
    pub(super) fn write(&mut self, output: &mut Vec<u8>) -> io::Result<()> {
        while !output.is_empty() {
            match self.stream.write(output) {
                Ok(count) => {
                    output.drain(..count);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
