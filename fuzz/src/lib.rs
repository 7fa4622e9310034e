//! What each fuzz target does with its input, as a function of that input alone.
//!
//! One module per target, named as the target is, with one function: `check`. It panics when an invariant does not hold,
//! and so does the code under test; everything else is a verdict on the input and none on the code. The targets proper,
//! in `fuzz_targets/`, hand their input on; `tests/regressions.rs` hands on what is kept, with stable Rust.
//!
//! Each module says where its oracle comes from. One that repeats the code it judges proves nothing, so it is an
//! independent reading of the same bytes, or a value that was encoded and has to come back.

#![forbid(unsafe_code)]

pub mod chat_app;
pub mod chat_command;
pub mod engineio_packet;
pub mod handshake_query;
pub mod jwt;
pub mod msgpack;
pub mod payload_v3;
pub mod payload_v4;
pub mod session;
pub mod socketio_decode;
pub mod socketio_round_trip;
pub mod websocket_frames;

mod json;
mod values;

/// A target's name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them, by name.
pub const TARGETS: &[Target] = &[
    ("chat_app", chat_app::check),
    ("chat_command", chat_command::check),
    ("engineio_packet", engineio_packet::check),
    ("handshake_query", handshake_query::check),
    ("jwt", jwt::check),
    ("msgpack", msgpack::check),
    ("payload_v3", payload_v3::check),
    ("payload_v4", payload_v4::check),
    ("session", session::check),
    ("socketio_decode", socketio_decode::check),
    ("socketio_round_trip", socketio_round_trip::check),
    ("websocket_frames", websocket_frames::check),
];
