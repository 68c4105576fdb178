//! Feeds the codecs' target `mapping`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| codec::fuzzing::check("mapping", input));
