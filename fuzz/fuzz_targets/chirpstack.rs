//! Feeds the connector `chirpstack`.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| fuzz::feed("chirpstack", text));
