//! Feeds the connector `sigfox`.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| fuzz::feed("sigfox", text));
