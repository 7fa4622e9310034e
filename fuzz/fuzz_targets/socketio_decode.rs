//! See `alt_ws_fuzz::socketio_decode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| alt_ws_fuzz::socketio_decode::check(input));
