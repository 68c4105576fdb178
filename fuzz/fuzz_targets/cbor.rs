//! Feeds the codecs' target `cbor`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| codec::fuzzing::check("cbor", input));
