//! Feeds the CoAP endpoint with a script of datagrams, pauses and acts of the application.

#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| coap_proto::fuzzing::check_endpoint(script));
