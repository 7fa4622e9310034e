//! See `alt_ws_fuzz::payload_v3`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| alt_ws_fuzz::payload_v3::check(input));
