//! The server against real clients over loopback: OpenSSL, GnuTLS and libcoap on both. Not here: Connection IDs, which none of
//! the packaged clients speaks (`checklist`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod certificates;
mod psk;
mod shell;
