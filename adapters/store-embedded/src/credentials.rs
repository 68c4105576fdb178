//! The credentials port.

use bridge_core::ports::{BoxFuture, Credential, Credentials, Proof, StoreResult, TokenDigest};
use bridge_core::seal::Sealed;
use bridge_core::{DeviceId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::EmbeddedStore;
use crate::dead_letters::parsed;
use crate::outbox::meta;

const TOKEN: &str = "token";
const CERTIFICATE: &str = "certificate";
const SIGNING_KEY: &str = "signing-key";
const PSK: &str = "psk";
const RAW_PUBLIC_KEY: &str = "raw-public-key";

impl Credentials for EmbeddedStore {
    fn insert<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, StoreResult<bool>> {
        let Credential { digest, proof, device, created } = credential.clone();
        self.write(move |connection| {
            let (kind, sealed) = match &proof {
                Proof::Token => (TOKEN, None),
                Proof::Certificate => (CERTIFICATE, None),
                Proof::RawPublicKey => (RAW_PUBLIC_KEY, None),
                Proof::SigningKey(sealed) => (SIGNING_KEY, Some(sealed.as_bytes())),
                Proof::Psk(sealed) => (PSK, Some(sealed.as_bytes())),
            };
            let inserted = connection
                .prepare_cached(
                    "INSERT INTO credentials (digest, device, created, kind, sealed) VALUES (?1, ?2, ?3, ?4, ?5) \
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![digest.as_bytes(), device.as_str(), created.as_millis(), kind, sealed])?;
            changed_when(connection, inserted)
        })
    }

    fn find<'a>(&'a self, digest: &'a TokenDigest) -> BoxFuture<'a, StoreResult<Option<Credential>>> {
        let digest = *digest;
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT digest, device, created, kind, sealed FROM credentials WHERE digest = ?1",
                )?
                .query_row([digest.as_bytes()], credential)
                .optional()
        })
    }

    fn list<'a>(
        &'a self,
        device: Option<&'a DeviceId>,
        after: Option<&'a Credential>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Credential>>> {
        let device = device.map(ToString::to_string);
        let (after_device, after_digest) = match after {
            Some(after) => (after.device.to_string(), after.digest.as_bytes().to_vec()),
            None => Default::default(),
        };
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT digest, device, created, kind, sealed FROM credentials WHERE (device, digest) > (?1, ?2) \
                     AND (?3 IS NULL OR device = ?3) ORDER BY device, digest LIMIT ?4",
                )?
                .query_map(params![after_device, after_digest, device, limit], credential)?
                .collect()
        })
    }

    fn reseal<'a>(&'a self, digest: &'a TokenDigest, sealed: &'a Sealed) -> BoxFuture<'a, StoreResult<bool>> {
        let (digest, sealed) = (*digest, sealed.as_bytes().to_vec());
        self.write(move |connection| {
            let resealed = connection
                .prepare_cached(
                    "UPDATE credentials SET sealed = ?2 WHERE digest = ?1 AND kind IN ('signing-key', 'psk')",
                )?
                .execute(params![digest.as_bytes(), sealed])?;
            changed_when(connection, resealed)
        })
    }

    fn remove<'a>(&'a self, digest: &'a TokenDigest) -> BoxFuture<'a, StoreResult<bool>> {
        let digest = *digest;
        self.write(move |connection| {
            let removed = connection
                .prepare_cached("DELETE FROM credentials WHERE digest = ?1")?
                .execute([digest.as_bytes()])?;
            changed_when(connection, removed)
        })
    }

    fn remove_all<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<u64>> {
        let device = device.to_string();
        self.write(move |connection| {
            let removed =
                connection.prepare_cached("DELETE FROM credentials WHERE device = ?1")?.execute([device])?;
            changed_when(connection, removed)?;
            Ok(removed as u64)
        })
    }

    fn version(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.read(|connection| meta(connection, "credentials_version"))
    }
}

/// Tells every cache, also in other processes, when rows have changed; whether any have.
fn changed_when(connection: &Connection, rows: usize) -> rusqlite::Result<bool> {
    if rows > 0 {
        connection
            .prepare_cached("UPDATE meta SET value = value + 1 WHERE key = 'credentials_version'")?
            .execute([])?;
    }
    Ok(rows > 0)
}

fn credential(row: &Row<'_>) -> rusqlite::Result<Credential> {
    let sealed: Option<Vec<u8>> = row.get(4)?;
    let proof = |kind: &str| match (kind, &sealed) {
        (TOKEN, None) => Some(Proof::Token),
        (CERTIFICATE, None) => Some(Proof::Certificate),
        (RAW_PUBLIC_KEY, None) => Some(Proof::RawPublicKey),
        (SIGNING_KEY, Some(sealed)) => Some(Proof::SigningKey(Sealed::from_bytes(sealed.clone()))),
        (PSK, Some(sealed)) => Some(Proof::Psk(Sealed::from_bytes(sealed.clone()))),
        _ => None,
    };
    Ok(Credential {
        proof: parsed(3, &row.get::<_, String>(3)?, proof)?,
        digest: TokenDigest::from_bytes(row.get(0)?),
        device: parsed(1, &row.get::<_, String>(1)?, |text| DeviceId::parse(text).ok())?,
        created: Timestamp::from_millis(row.get(2)?).unwrap_or(Timestamp::EPOCH),
    })
}
