//! `device-bridge devices token`: add, list, remove tokens of devices that speak HTTP. Works on the store, also while the
//! service runs, which sees a change within a second or two. Not here: devices themselves.

use anyhow::{Context, bail};
use bridge_core::ports::{Credential, Credentials, Registry, TokenDigest};
use bridge_core::{DeviceId, Timestamp};
use serde_json::json;

use crate::terminal::say;

/// What to do with tokens.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Tokens {
    /// Make a token for a device and print it, this once: only its digest is kept.
    Add {
        /// The device's id.
        device: String,
    },
    /// List tokens, one a line (device, token id, created), or as JSON lines.
    List {
        /// Only of this device.
        device: Option<String>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Remove tokens of a device.
    Remove {
        /// The device's id.
        device: String,
        /// Token ids, as listed.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        tokens: Vec<String>,
        /// All of them.
        #[arg(long)]
        all: bool,
    },
}

/// Tokens that are read at once.
const PAGE: usize = 500;

/// Runs it. False when a part of it failed.
pub(crate) async fn run(
    command: Tokens,
    registry: &dyn Registry,
    credentials: &dyn Credentials,
    now: Timestamp,
) -> anyhow::Result<bool> {
    match command {
        Tokens::Add { device } => add(&parse(&device)?, registry, credentials, now).await.map(|()| true),
        Tokens::List { device, json } => {
            let device = device.as_deref().map(parse).transpose()?;
            list(device.as_ref(), credentials, json).await.map(|()| true)
        }
        Tokens::Remove { device, all: true, .. } => {
            let removed = credentials.remove_all(&parse(&device)?).await?;
            say!("removed {removed}");
            Ok(true)
        }
        Tokens::Remove { device, tokens, .. } => remove(&parse(&device)?, &tokens, credentials).await,
    }
}

async fn add(
    device: &DeviceId,
    registry: &dyn Registry,
    credentials: &dyn Credentials,
    now: Timestamp,
) -> anyhow::Result<()> {
    let Some(record) = registry.get(device).await? else {
        bail!(
            "there is no device {device}; import it first, with integration \"{}\": device-bridge devices import",
            http_api::INTEGRATION
        );
    };
    if record.integration.as_str() != http_api::INTEGRATION {
        bail!(
            "{device} is a device of integration {}; tokens are for devices of integration \"{}\"",
            record.integration,
            http_api::INTEGRATION
        );
    }
    let token = app::config::fresh_secret().context("no random bytes")?;
    let digest = TokenDigest::of(token.expose().as_bytes());
    let credential = Credential { digest, device: device.clone(), created: now };
    anyhow::ensure!(credentials.insert(&credential).await?, "this token was there already; try again");
    // Alone on standard output, so that a script can take it from there.
    say!("{}", token.expose());
    eprintln!("The token of {device} (id {digest}). It is shown only now: Authorization: Bearer TOKEN");
    Ok(())
}

async fn list(device: Option<&DeviceId>, credentials: &dyn Credentials, json: bool) -> anyhow::Result<()> {
    let mut after: Option<Credential> = None;
    loop {
        let page = credentials.list(device, after.as_ref(), PAGE).await?;
        for Credential { digest, device, created } in &page {
            match json {
                true => say!(
                    "{}",
                    json!({ "device": device.as_str(), "token": digest.to_string(), "created": created.to_string() })
                ),
                false => say!("{device}\t{digest}\t{created}"),
            }
        }
        after = page.last().cloned();
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

async fn remove(device: &DeviceId, ids: &[String], credentials: &dyn Credentials) -> anyhow::Result<bool> {
    let known = credentials.list(Some(device), None, usize::from(u16::MAX)).await?;
    let mut all = true;
    for id in ids {
        let found = known.iter().find(|credential| credential.digest.to_string() == *id);
        let removed = match found {
            Some(credential) => credentials.remove(&credential.digest).await?,
            None => false,
        };
        say!("{id}: {}", if removed { "done" } else { "no such token" });
        all &= removed;
    }
    Ok(all)
}

fn parse(text: &str) -> anyhow::Result<DeviceId> {
    DeviceId::parse(text).with_context(|| format!("{text:?} is not a device id"))
}
