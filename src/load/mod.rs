//! Thousands of clients in one thread, which count what a server gives them: `alt-ws load`.
//!
//! ```text
//!   options ──► driver       the course of a run: connect, exchange, wait, part
//!                 │
//!               fleet        one thread, one epoll, one read buffer, thousands of sockets
//!                 │ bytes in, bytes out
//!               client       one simulated client, pure ── websocket, polling over http: its framing
//!                 │ each message:new
//!               tally        every count of the run ── ledger: order, loss, doubles · histogram: times
//!                 │                                    storm: who lost the connection, and when they were back
//!                 │
//!               report       text with a histogram, or JSON
//! ```
//!
//! Speaks just enough Engine.IO 4 and Socket.IO 5 to be served, written apart from the server's own code, so that an error
//! there cannot hide behind the same error here. Of the frames that a broadcast multiplies only the counter and the time
//! inside are read; they are read in every one of them, on every client, and nothing is sampled.
//!
//! A message's content is `<sender>.<counter>.<nanoseconds>.xxx…`: who sent it, the how-manieth of its sender it is, and
//! when it was sent on the clock of this process.

mod client;
mod driver;
mod fleet;
mod histogram;
mod http;
mod ledger;
mod options;
mod polling;
mod progress;
mod report;
mod script;
mod socket;
mod storm;
mod system;
mod tally;
mod websocket;
mod words;

pub use driver::run;
pub use options::{Options, Plan, Target, Transport};
pub use report::Report;

/// Why a run came to no result.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The caller's fault: options that do not fit together, or more clients than this machine may have open.
    #[error("{0}")]
    Options(String),
    /// Nobody listens there, or the clients were not let in.
    #[error("{0}")]
    Unreachable(String),
    /// This machine's fault.
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
}
