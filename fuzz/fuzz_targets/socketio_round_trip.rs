//! See `alt_ws_fuzz::socketio_round_trip`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| alt_ws_fuzz::socketio_round_trip::check(input));
