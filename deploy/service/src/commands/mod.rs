//! What the command line does beside serving, one file per command.

mod codec;
mod command;
mod config;
mod dead_letters;
mod devices;
mod init;
mod outbox;
mod watch;

pub(crate) use codec::{CodecCommand, run as codec};
pub(crate) use command::{CommandCommand, run as command};
pub(crate) use config::{ConfigCommand, run as config};
pub(crate) use dead_letters::{DeadLetterCommand, run as dead_letters};
pub(crate) use devices::{Devices, run as devices};
pub(crate) use init::{InitArgs, run as init};
pub(crate) use outbox::{OutboxArgs, run as outbox};
pub(crate) use watch::{WatchArgs, run as watch};
