//! Feeds the codecs' target `javascript`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| codec::fuzzing::check("javascript", input));
