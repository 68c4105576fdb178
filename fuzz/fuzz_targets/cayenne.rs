//! Feeds the codecs' target `cayenne`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| codec::fuzzing::check("cayenne", input));
