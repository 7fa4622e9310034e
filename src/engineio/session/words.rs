//! What a session says: the words between [`Session`](super::Session) and whoever drives it.

use std::time::Instant;

use bytes::Bytes;

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client sent a `close` packet, or a WebSocket close frame.
    ClientClose,
    /// The transport's connection went away.
    TransportClose,
    /// No pong in time; in revision 3, no ping.
    PingTimeout,
    /// A packet that the protocol does not have, or not in this direction.
    ParseError,
    /// Two polls, or two posts, at a time.
    Overlap,
    /// A poll or a post was cancelled before it was answered.
    RequestAborted,
    /// The layer above ended it; says why.
    Server(&'static str),
}

impl CloseReason {
    /// A label for logs and counters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientClose => "client_close",
            Self::TransportClose => "transport_close",
            Self::PingTimeout => "ping_timeout",
            Self::ParseError => "parse_error",
            Self::Overlap => "request_overlap",
            Self::RequestAborted => "request_aborted",
            Self::Server(reason) => reason,
        }
    }
}

/// The request is not one that this session takes now: HTTP 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session does not take this request")]
pub struct Refused;

/// What the caller has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Append a `ping` packet to the outbox.
    Ping,
    /// Write `3probe` on the WebSocket that is being probed.
    ProbePong,
    /// The probed WebSocket is the transport from now on. A poll that is still held is refused.
    Upgraded,
    /// Close the probed WebSocket; the session goes on over polling.
    DropProbe,
    /// Tell the layer above that the session ended. Nothing is delivered to it any more.
    Closed(CloseReason),
    /// Answer a held poll with this packet, close the transports, forget the session.
    Remove(Farewell),
    /// Nothing to do until then, or until something happens.
    Wait(Instant),
}

/// The packet that ends a held poll when its session is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// `1`: the server closed.
    Close,
    /// `6`: the client closed and knows it.
    Noop,
}

/// What a held poll is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What the outbox holds.
    Outbox,
    /// A `noop` packet, so that the client can finish its upgrade.
    Noop,
}

/// Where queued packets may go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Nowhere: they wait.
    None,
    /// Into the answer of the held poll.
    Poll,
    /// Onto the WebSocket.
    WebSocket,
}

/// What a packet meant for the layer above.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(Bytes),
    /// Revision 3: a ping, for whoever drives the session to answer with a pong that repeats its data. The answer goes
    /// the way of all packets, so that a client which pings and does not read is one that reads too slowly.
    Ping(&'a str),
    /// Nothing.
    Nothing,
}
