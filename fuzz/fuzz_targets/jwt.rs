//! See `alt_ws_fuzz::jwt`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| alt_ws_fuzz::jwt::check(input));
