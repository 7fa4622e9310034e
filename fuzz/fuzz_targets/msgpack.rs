//! See `alt_ws_fuzz::msgpack`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| alt_ws_fuzz::msgpack::check(input));
