//! See `alt_ws_fuzz::session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| alt_ws_fuzz::session::check(input));
