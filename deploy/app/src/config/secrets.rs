//! `[secrets]`: the keys under which secrets are kept at rest. Not here: sealing ([`bridge_core::seal`]), and secrets of the
//! configuration itself, which are only referred to ([`super::secret`]).

use std::sync::Arc;

use bridge_core::seal::SealKeys;

use super::reader::{Field, Section};
use super::secret::{Secret, Surroundings};
use super::sheet::Sheet;

/// The shortest key, bytes: 32 random ones in base64 have 43.
const MIN_KEY: usize = 32;
/// The most keys at once.
const MAX_KEYS: usize = 8;

/// `[secrets]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// The first one seals, every one opens. None: nothing that has to be sealed can be kept.
    pub keys: Vec<Secret>,
}

impl Secrets {
    /// What seals and opens; none without keys.
    pub fn seal_keys(&self) -> Option<Arc<SealKeys>> {
        SealKeys::new(self.keys.iter().map(|key| key.expose().as_bytes())).map(Arc::new)
    }

    pub(super) fn read(section: Section<'_>, surroundings: &Surroundings<'_>) -> Self {
        let keys = section.optional("keys", |field| read_keys(field, surroundings)).unwrap_or_default();
        section.finish();
        Self { keys }
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        sheet.table(
            "secrets",
            "Secrets that the bridge has to know again (keys with which devices sign or speak DTLS, API keys that clouds \
             announce, URLs of callbacks) are kept encrypted, under a key that is not in the data directory.",
        );
        sheet.explained(
            "keys",
            "[{ env = \"BRIDGE_SEAL_KEY\" }]",
            &format!(
                "At least {MIN_KEY} random bytes each: openssl rand -base64 32. The first one encrypts, every one decrypts: put \
                 a new one in front, and take the old one away when nothing needs it any more. Default: none, and then \
                 nothing of that kind is kept."
            ),
        );
    }
}

fn read_keys(field: &Field<'_>, surroundings: &Surroundings<'_>) -> Option<Vec<Secret>> {
    let items = field.items()?;
    if items.len() > MAX_KEYS {
        field.mistake(format!("must hold at most {MAX_KEYS} keys"));
        return None;
    }
    let mut keys: Vec<Secret> = Vec::with_capacity(items.len());
    for item in &items {
        let Some(key) = surroundings.secret(item) else { continue };
        if key.expose().len() < MIN_KEY {
            item.mistake(format!(
                "the key is shorter than {MIN_KEY} bytes; make one with: openssl rand -base64 32"
            ));
        } else if keys.contains(&key) {
            item.mistake("the key is there twice");
        } else {
            keys.push(key);
        }
    }
    Some(keys)
}
