//! Feeds the connector `particle`.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| fuzz::feed("particle", text));
