//! Feeds the readers of DTLS records, fragments and hellos with a datagram.

#![no_main]

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| dtls::fuzzing::check_datagram(datagram));
