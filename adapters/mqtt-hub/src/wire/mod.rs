//! MQTT packets as bytes, for 3.1.1 and 5: those that the bridge sends and understands. Pure; not here: sockets,
//! packet identifiers, time. (OASIS MQTT 3.1.1 and MQTT 5.0; section numbers are those of MQTT 5.0.)

mod properties;
mod read;
mod reason;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use read::{ConnAck, Incoming, Received, next_packet};
pub(crate) use reason::{connect_refusal, disconnect_reason, publish_answer};
pub(crate) use write::{Connect, Kept, Session, connect, disconnect, pingreq, puback, publish, subscribe};
