//! The pure modules of alt-ws, as a library of their own.
//!
//! These are the files of `src/`, compiled a second time: those that `tests/layering.rs` keeps free of runtimes, I/O, locks
//! and clocks, which is also why they compile alone. The whole library would bring SQLite, two database clients, TLS and
//! an allocator of its own, all of which would be built again with a fuzzer's instrumentation, for minutes, and none of
//! which a target here reaches.

#![forbid(unsafe_code)]
// Here it is the server that is missing, not a use.
#![allow(dead_code, reason = "some of what the pure modules offer is for the server alone")]

#[path = "../../../src/chat/mod.rs"]
pub mod chat;
#[path = "../../../src/engineio/mod.rs"]
pub mod engineio;
#[path = "../../../src/socketio/mod.rs"]
pub mod socketio;

pub use flat::{auth, ids};

/// The modules that are a file beside their folder. A `path` on them would have their own modules sought beside them; on the
/// module around them it does not.
#[path = "../../../src"]
mod flat {
    pub mod auth;
    pub mod ids;
}
