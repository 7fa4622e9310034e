//! See `alt_ws_fuzz::chat_app`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| alt_ws_fuzz::chat_app::check(input));
