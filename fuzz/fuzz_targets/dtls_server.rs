//! Feeds the DTLS server with a script of clients, datagrams, pauses and acts of the application.

#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| dtls::fuzzing::check_server(script));
