//! See `alt_ws_fuzz::engineio_packet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| alt_ws_fuzz::engineio_packet::check(input));
