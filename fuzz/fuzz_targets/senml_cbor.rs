//! Feeds the codecs' target `senml_cbor`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| codec::fuzzing::check("senml_cbor", input));
