//! `device-bridge devices token`: add, list, remove tokens of devices that speak HTTP or CoAP, their keys to sign with, their
//! pre-shared keys, and their client certificates and raw public keys. Works on the store, also while the service runs, which sees a change within a second or two. Not here: devices themselves.

use anyhow::{Context, bail};
use app::config::{Config, Secret};
use bridge_core::ports::{Credential, Credentials, Proof, Registry, TokenDigest};
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
        /// A key to sign requests with, instead; it is kept encrypted ([secrets] keys).
        #[arg(long)]
        signing: bool,
        /// A client certificate, instead: a PEM file, or its SHA-256 fingerprint in hex digits.
        #[arg(long, value_name = "FILE|FINGERPRINT", conflicts_with = "signing")]
        certificate: Option<String>,
        /// A pre-shared key for DTLS, instead: prints its identity, a tab and the key; it is kept encrypted ([secrets] keys).
        #[arg(long, conflicts_with_all = ["signing", "certificate"])]
        psk: bool,
        /// A raw public key for DTLS, instead (ECDSA on P-256): a PEM file, the key in hex digits, or its SHA-256 fingerprint.
        #[arg(long, value_name = "FILE|HEX", conflicts_with_all = ["signing", "certificate", "psk"])]
        raw_public_key: Option<String>,
        /// The identity of that key; without it the device's id.
        #[arg(long, value_name = "TEXT", requires = "psk")]
        identity: Option<String>,
    },
    /// List tokens, one a line (device, token id, created, kind), or as JSON lines.
    List {
        /// Only of this device.
        device: Option<String>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Encrypt all keys to sign with and pre-shared keys anew, under the first of [secrets] keys; afterwards no other one is needed for them.
    Reseal,
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
    config: &Config,
    now: Timestamp,
) -> anyhow::Result<bool> {
    match command {
        Tokens::Add { device, signing, certificate, psk, raw_public_key, identity } => {
            let device = parse(&device)?;
            let new = match (certificate, raw_public_key) {
                (Some(certificate), _) => New::certificate(&certificate)?,
                (None, Some(key)) => New::raw_public_key(&key)?,
                (None, None) if psk => {
                    New::psk(&device, identity.as_deref().unwrap_or(device.as_str()), config)?
                }
                (None, None) if signing => New::signing_key(&device, config)?,
                (None, None) => New::token()?,
            };
            add(&device, new, registry, credentials, now).await.map(|()| true)
        }
        Tokens::List { device, json } => {
            let device = device.as_deref().map(parse).transpose()?;
            list(device.as_ref(), credentials, json).await.map(|()| true)
        }
        Tokens::Reseal => reseal(credentials, config).await,
        Tokens::Remove { device, all: true, .. } => {
            let removed = credentials.remove_all(&parse(&device)?).await?;
            say!("removed {removed}");
            Ok(true)
        }
        Tokens::Remove { device, tokens, .. } => remove(&parse(&device)?, &tokens, credentials).await,
    }
}

/// A credential to be added.
struct New {
    digest: TokenDigest,
    proof: Proof,
    /// What is shown only now.
    secret: Option<Secret>,
    /// Of a pre-shared key.
    identity: Option<String>,
}

/// Characters of a pre-shared key: 132 random bits. Some stacks take no more than 32 bytes.
const PSK_LENGTH: usize = 22;
/// Bytes of an identity that every implementation has to support (RFC 4279 section 5.3).
const IDENTITY_LENGTH: std::ops::RangeInclusive<usize> = 1..=128;

impl New {
    fn token() -> anyhow::Result<Self> {
        let token = fresh()?;
        let digest = TokenDigest::of(token.expose().as_bytes());
        Ok(Self { digest, proof: Proof::Token, secret: Some(token), identity: None })
    }

    fn signing_key(device: &DeviceId, config: &Config) -> anyhow::Result<Self> {
        let keys = config.secrets.seal_keys().context(NO_KEYS)?;
        let (secret, random) = (fresh()?, TokenDigest::of(fresh()?.expose().as_bytes()));
        let mut id = [0; 8];
        id.copy_from_slice(&random.as_bytes()[..8]);
        let digest = TokenDigest::of_signing_key(id);
        let owner = Credential::owner(&digest, device);
        let sealed = app::seal(&keys, secret.expose().as_bytes(), &owner)?;
        Ok(Self { digest, proof: Proof::SigningKey(sealed), secret: Some(secret), identity: None })
    }

    fn psk(device: &DeviceId, identity: &str, config: &Config) -> anyhow::Result<Self> {
        anyhow::ensure!(
            IDENTITY_LENGTH.contains(&identity.len()) && !identity.chars().any(char::is_control),
            "an identity has 1 to 128 bytes and no control characters"
        );
        let keys = config.secrets.seal_keys().context(NO_KEYS)?;
        let random = fresh()?;
        let secret = Secret::new(random.expose().get(..PSK_LENGTH).context("no random bytes")?);
        let digest = TokenDigest::of_psk_identity(identity.as_bytes());
        let owner = Credential::psk_owner(&digest, device);
        let sealed = app::seal(&keys, secret.expose().as_bytes(), &owner)?;
        Ok(Self {
            digest,
            proof: Proof::Psk(sealed),
            secret: Some(secret),
            identity: Some(identity.to_owned()),
        })
    }

    fn certificate(given: &str) -> anyhow::Result<Self> {
        let fingerprint = match http_api::fingerprint(given) {
            Ok(fingerprint) => fingerprint,
            Err(_) => of_file(given, http_api::pem)?,
        };
        Ok(Self::shown(fingerprint, Proof::Certificate))
    }

    fn raw_public_key(given: &str) -> anyhow::Result<Self> {
        let fingerprint = match http_api::fingerprint(given).or_else(|_| app::raw_public_key(given)) {
            Ok(fingerprint) => fingerprint,
            Err(_) => of_file(given, app::raw_public_key)?,
        };
        Ok(Self::shown(fingerprint, Proof::RawPublicKey))
    }

    fn shown(fingerprint: [u8; 32], proof: Proof) -> Self {
        Self { digest: TokenDigest::from_bytes(fingerprint), proof, secret: None, identity: None }
    }
}

/// The fingerprint of what is in a file.
fn of_file(path: &str, fingerprint: fn(&str) -> Result<[u8; 32], &'static str>) -> anyhow::Result<[u8; 32]> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{path:?} is neither a SHA-256 fingerprint nor a file that can be read"))?;
    fingerprint(&text).map_err(|why| anyhow::anyhow!("{path}: {why}"))
}

const NO_KEYS: &str =
    "a key is kept encrypted, and the configuration has no key for that: set [secrets] keys";

fn fresh() -> anyhow::Result<Secret> {
    app::config::fresh_secret().context("no random bytes")
}

async fn add(
    device: &DeviceId,
    new: New,
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
    let New { digest, proof, secret, identity } = new;
    let credential = Credential { digest, proof, device: device.clone(), created: now };
    anyhow::ensure!(credentials.insert(&credential).await?, "it is there already, of this device or another");
    // Alone on standard output, so that a script can take it from there.
    match (&secret, &identity) {
        (Some(secret), Some(identity)) => say!("{identity}\t{}", secret.expose()),
        (Some(secret), None) => say!("{}", secret.expose()),
        (None, _) => {}
    }
    match &credential.proof {
        Proof::Token => {
            eprintln!(
                "The token of {device} (id {digest}). It is shown only now: Authorization: Bearer TOKEN"
            );
        }
        Proof::SigningKey(_) => {
            eprintln!(
                "The key of {device} to sign with, keyId={digest}. It is shown only now: see docs/http-api.md"
            );
        }
        Proof::Psk(_) => {
            let hex: String = secret
                .iter()
                .flat_map(|key| key.expose().bytes())
                .map(|byte| format!("{byte:02x}"))
                .collect();
            eprintln!(
                "The identity of {device} and its pre-shared key (id {digest}), for DTLS. It is shown only now; in hex digits, \
                 for tools that want those: {hex}"
            );
        }
        Proof::Certificate => eprintln!("The certificate (id {digest}) is now one of {device}."),
        Proof::RawPublicKey => eprintln!("The raw public key (id {digest}) is now one of {device}."),
    }
    Ok(())
}

async fn list(device: Option<&DeviceId>, credentials: &dyn Credentials, json: bool) -> anyhow::Result<()> {
    let mut after: Option<Credential> = None;
    loop {
        let page = credentials.list(device, after.as_ref(), PAGE).await?;
        for Credential { digest, proof, device, created } in &page {
            let kind = kind(proof);
            match json {
                true => say!(
                    "{}",
                    json!({ "device": device.as_str(), "token": digest.to_string(), "created": created.to_string(), "kind": kind })
                ),
                false => say!("{device}\t{digest}\t{created}\t{kind}"),
            }
        }
        after = page.last().cloned();
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

async fn reseal(credentials: &dyn Credentials, config: &Config) -> anyhow::Result<bool> {
    let keys = config.secrets.seal_keys().context(NO_KEYS)?;
    let mut after: Option<Credential> = None;
    let (mut resealed, mut all) = (0, true);
    loop {
        let page = credentials.list(None, after.as_ref(), PAGE).await?;
        for Credential { digest, proof, device, .. } in &page {
            let Some(sealed) = proof.sealed() else { continue };
            if keys.is_current(sealed) {
                continue;
            }
            let owner = match proof {
                Proof::Psk(_) => Credential::psk_owner(digest, device),
                _ => Credential::owner(digest, device),
            };
            match keys.open(sealed, &owner) {
                Ok(secret) => {
                    let sealed = app::seal(&keys, &secret, &owner)?;
                    resealed += u64::from(credentials.reseal(digest, &sealed).await?);
                }
                Err(error) => {
                    say!("{device}\t{digest}: {error}");
                    all = false;
                }
            }
        }
        after = page.last().cloned();
        if page.len() < PAGE {
            say!("encrypted {resealed} anew");
            return Ok(all);
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

fn kind(proof: &Proof) -> &'static str {
    match proof {
        Proof::Token => "token",
        Proof::Certificate => "certificate",
        Proof::RawPublicKey => "raw-public-key",
        Proof::SigningKey(_) => "signing-key",
        Proof::Psk(_) => "psk",
    }
}

fn parse(text: &str) -> anyhow::Result<DeviceId> {
    DeviceId::parse(text).with_context(|| format!("{text:?} is not a device id"))
}
