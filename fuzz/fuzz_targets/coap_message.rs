//! Feeds the CoAP decoder.

#![no_main]

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| coap_proto::fuzzing::check_message(datagram));
