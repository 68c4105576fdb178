//! Secrets that the bridge was told and has to know again, sealed, by name. Not here: sealing ([`crate::seal`]), and the keys
//! with which devices sign ([`super::Credentials`]).

use super::{BoxFuture, StoreResult};
use crate::seal::Sealed;

/// Keeps sealed secrets.
pub trait Vault: Send + Sync {
    /// Keeps a secret, in the place of the one of that name. Durable when it completes.
    fn keep<'a>(&'a self, name: &'a str, sealed: &'a Sealed) -> BoxFuture<'a, StoreResult<()>>;
    /// Up to `limit` secrets whose names begin so, in order of names.
    fn kept<'a>(&'a self, prefix: &'a str, limit: usize)
    -> BoxFuture<'a, StoreResult<Vec<(String, Sealed)>>>;
    /// Forgets a secret; whether it was there.
    fn forget<'a>(&'a self, name: &'a str) -> BoxFuture<'a, StoreResult<bool>>;
}
