//! Feeds a CoAP connection, in pieces and at once.

#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| coap_proto::fuzzing::check_stream(script));
