//! Feeds the codecs' target `text`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| codec::fuzzing::check("text", input));
