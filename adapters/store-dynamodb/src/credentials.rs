//! The credentials port. A credential is listed under its device and found by its digest; both are written together, so that
//! one that is revoked is gone for everybody at once.

use bridge_core::DeviceId;
use bridge_core::ports::{BoxFuture, Credential, Credentials, Proof, StoreResult, TokenDigest};
use bridge_core::seal::Sealed;

use crate::DynamoStore;
use crate::item::{Item, attributes, bytes, text, time};
use crate::keys::{Key, of_device, shards};
use crate::numbers::count;
use crate::walk::Range;
use crate::write::{MOST, Write, pause};

const TOKEN: &str = "token";
const VERSION: &str = "credentials";
const BY_TOKEN: &str = "token";
const BY_CERTIFICATE: &str = "certificate";
const BY_SIGNING_KEY: &str = "signing-key";
const BY_PSK: &str = "psk";
const BY_RAW_PUBLIC_KEY: &str = "raw-public-key";

impl Credentials for DynamoStore {
    fn insert<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, StoreResult<bool>> {
        let mut item = attributes([
            ("owner", text(credential.device.as_str())),
            ("proof", text(kind(&credential.proof))),
            ("digest", text(hex(&credential.digest))),
            ("created", time(credential.created)),
        ]);
        item.extend(credential.proof.sealed().map(|sealed| ("sealed".to_owned(), bytes(sealed.as_bytes()))));
        let writes = vec![
            Write::put(digest_key(&credential.digest), item.clone()).when_absent(),
            Write::put(key(credential), item),
            count(VERSION, credential.device.as_str(), 1),
        ];
        Box::pin(async move { Ok(self.write(writes).await?.is_done()) })
    }

    fn find<'a>(&'a self, digest: &'a TokenDigest) -> BoxFuture<'a, StoreResult<Option<Credential>>> {
        Box::pin(async move { self.read(&digest_key(digest)).await?.as_ref().map(credential).transpose() })
    }

    fn list<'a>(
        &'a self,
        device: Option<&'a DeviceId>,
        after: Option<&'a Credential>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Credential>>> {
        let partitions = match device {
            None => shards(TOKEN).collect(),
            Some(device) => vec![of_device(TOKEN, device)],
        };
        // `#` comes before every character of a device id, and the end of the digests before everything else.
        let range = match (device, after) {
            (_, Some(after)) if device.is_none_or(|device| *device == after.device) => {
                Range::After(key(after).sk)
            }
            (Some(device), None) => Range::Prefix(format!("{}#", device.as_str())),
            // After a token of another device: all of this one, or none.
            (Some(device), Some(after)) if *device > after.device => {
                Range::Prefix(format!("{}#", device.as_str()))
            }
            (Some(_), Some(_)) => return Box::pin(async { Ok(Vec::new()) }),
            (None, _) => Range::All,
        };
        Box::pin(async move {
            let mut walk = self.walk_in(None, partitions, range, limit);
            let mut found = Vec::new();
            while found.len() < limit
                && let Some(item) = walk.next().await?
            {
                let credential = credential(&item)?;
                if device.is_some_and(|device| *device != credential.device) {
                    break;
                }
                found.push(credential);
            }
            Ok(found)
        })
    }

    fn reseal<'a>(&'a self, digest: &'a TokenDigest, sealed: &'a Sealed) -> BoxFuture<'a, StoreResult<bool>> {
        Box::pin(self.bounded(async move {
            for attempt in 0.. {
                let known = self.find(digest).await?;
                let Some(known) = known.filter(|known| known.proof.sealed().is_some()) else {
                    return Ok(false);
                };
                let reseal = |key: Key| {
                    Write::update(key)
                        .set("sealed", bytes(sealed.as_bytes()))
                        .when("#proof = :proof AND #owner = :owner")
                        .value("proof", text(kind(&known.proof)))
                        .value("owner", text(known.device.as_str()))
                };
                let version = count(VERSION, known.device.as_str(), 1);
                let writes = vec![reseal(digest_key(digest)), reseal(key(&known)), version];
                if self.write(writes).await?.is_done() {
                    break;
                }
                // It has gone meanwhile, or is another one now.
                pause(attempt).await;
            }
            Ok(true)
        }))
    }

    fn remove<'a>(&'a self, digest: &'a TokenDigest) -> BoxFuture<'a, StoreResult<bool>> {
        Box::pin(async move {
            match self.find(digest).await? {
                None => Ok(false),
                Some(known) => self.revoke(&[known]).await,
            }
        })
    }

    fn remove_all<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<u64>> {
        Box::pin(self.bounded(async move {
            let mut gone = 0;
            loop {
                let known = self.list(Some(device), None, (MOST - 1) / 2).await?;
                if known.is_empty() {
                    return Ok(gone);
                }
                if self.revoke(&known).await? {
                    gone += known.len() as u64;
                }
            }
        }))
    }

    fn version(&self) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(self.counted(VERSION))
    }
}

impl DynamoStore {
    /// Removes tokens of one device, all or none; false when one of them is gone already.
    async fn revoke(&self, credentials: &[Credential]) -> StoreResult<bool> {
        let mut writes = Vec::new();
        for known in credentials {
            writes.push(Write::delete(digest_key(&known.digest)).when_present());
            writes.push(Write::delete(key(known)));
        }
        writes.extend(credentials.first().map(|known| count(VERSION, known.device.as_str(), 1)));
        Ok(self.write(writes).await?.is_done())
    }
}

fn hex(digest: &TokenDigest) -> String {
    digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key(credential: &Credential) -> Key {
    let sk = format!("{}#{}", credential.device.as_str(), hex(&credential.digest));
    Key::new(of_device(TOKEN, &credential.device), sk)
}

fn digest_key(digest: &TokenDigest) -> Key {
    Key::alone(format!("digest#{}", hex(digest)))
}

fn kind(proof: &Proof) -> &'static str {
    match proof {
        Proof::Token => BY_TOKEN,
        Proof::Certificate => BY_CERTIFICATE,
        Proof::RawPublicKey => BY_RAW_PUBLIC_KEY,
        Proof::SigningKey(_) => BY_SIGNING_KEY,
        Proof::Psk(_) => BY_PSK,
    }
}

fn credential(item: &Item) -> StoreResult<Credential> {
    let digest = |text: &str| {
        let byte = |place: usize| u8::from_str_radix(text.get(place * 2..place * 2 + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
        Some(TokenDigest::from_bytes(bytes?.try_into().ok()?))
    };
    let sealed = || Some(Sealed::from_bytes(item.bytes("sealed").ok()?.to_vec()));
    let proof = |text: &str| match text {
        BY_TOKEN => Some(Proof::Token),
        BY_CERTIFICATE => Some(Proof::Certificate),
        BY_RAW_PUBLIC_KEY => Some(Proof::RawPublicKey),
        BY_SIGNING_KEY => sealed().map(Proof::SigningKey),
        BY_PSK => sealed().map(Proof::Psk),
        _ => None,
    };
    Ok(Credential {
        proof: item.parsed("proof", proof)?,
        digest: item.parsed("digest", digest)?,
        device: item.parsed("owner", |text| DeviceId::parse(text).ok())?,
        created: item.time("created")?,
    })
}
