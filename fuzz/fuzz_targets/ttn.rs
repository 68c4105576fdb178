//! Feeds the connector `ttn`.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| fuzz::feed("ttn", text));
