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
pub mod engineio_packet;
pub mod session;

/// A target's name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them, by name.
pub const TARGETS: &[Target] =
    &[("chat_app", chat_app::check), ("engineio_packet", engineio_packet::check), ("session", session::check)];
