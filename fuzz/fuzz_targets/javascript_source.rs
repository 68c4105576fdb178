//! Feeds the codecs' target `javascript_source`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| codec::fuzzing::check("javascript_source", input));
