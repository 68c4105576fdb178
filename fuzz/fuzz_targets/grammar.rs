//! Feeds the codecs' target `grammar`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| codec::fuzzing::check("grammar", input));
