//! CoAP over DTLS with the bridge's key, and with its associations in the data directory while the bridge is not running. Not here:
//! what is in them (`coap`).

use std::io::ErrorKind;
use std::path::Path;

use ::coap::{Associations, Closing, CoapApi};
use anyhow::Context;
use tokio::net::UdpSocket;

use crate::assemble::write_private;
use crate::config::{Config, Dtls};

/// In the data directory. A copy of it must never be put back: two starts with the same keys and numbers give secrets away.
const FILE: &str = "dtls-associations.sealed";

/// Serves until `closing`, from the associations of the last end to those of this one.
///
/// # Errors
/// When the system gives no random numbers, or keys cannot be used. What cannot be read or written costs devices a handshake, and is logged.
pub async fn serve(
    socket: UdpSocket,
    api: CoapApi,
    dtls: &Dtls,
    config: &Config,
    closing: Closing,
) -> anyhow::Result<()> {
    let key = dtls.own_key().context("coap.dtls")?;
    let directory = config.bridge.data_dir.clone();
    let saved = take(&directory).unwrap_or_else(|error| {
        tracing::warn!(
            error = format!("{error:#}"),
            "DTLS associations are not restored: devices shake hands again"
        );
        None
    });
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("no random bytes")?;
    let saved =
        ::coap::serve_secure(socket, api, Associations { node: dtls.node, seed, saved, key }, closing).await;
    let kept =
        saved.context("they cannot be sealed: see [secrets] keys").and_then(|saved| keep(&directory, &saved));
    if let Err(error) = kept {
        tracing::warn!(
            error = format!("{error:#}"),
            "DTLS associations are not kept: devices shake hands again"
        );
    }
    Ok(())
}

/// What is there, and is there no more, also after a loss of power.
fn take(directory: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let path = directory.join(FILE);
    let saved = match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("cannot read {}", path.display())),
    };
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    sync(directory)?;
    saved.map(Some)
}

fn keep(directory: &Path, saved: &[u8]) -> anyhow::Result<()> {
    let (path, new) = (directory.join(FILE), directory.join(format!("{FILE}.new")));
    write_private(&new, saved).with_context(|| format!("cannot write {}", new.display()))?;
    std::fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))?;
    sync(directory)
}

fn sync(directory: &Path) -> anyhow::Result<()> {
    let synced = std::fs::File::open(directory).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("cannot write {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(take(folder.path()).unwrap(), None);
        keep(folder.path(), b"first").unwrap();
        keep(folder.path(), b"second").unwrap();
        assert_eq!(take(folder.path()).unwrap(), Some(b"second".to_vec()));
        assert_eq!(take(folder.path()).unwrap(), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
