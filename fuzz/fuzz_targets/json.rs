//! Feeds the codecs' target `json`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| codec::fuzzing::check("json", input));
