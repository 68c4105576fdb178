//! Feeds the codecs' target `senml_json`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| codec::fuzzing::check("senml_json", input));
