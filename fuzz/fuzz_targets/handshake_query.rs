//! See `alt_ws_fuzz::handshake_query`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| alt_ws_fuzz::handshake_query::check(input));
