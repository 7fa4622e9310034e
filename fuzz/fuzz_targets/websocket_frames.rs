//! See `alt_ws_fuzz::websocket_frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| alt_ws_fuzz::websocket_frames::check(input));
