//! The port of sealed secrets.

use bridge_core::ports::{BoxFuture, StoreResult, Vault};
use bridge_core::seal::Sealed;

use crate::DynamoStore;
use crate::item::{attributes, bytes};
use crate::keys::Key;
use crate::walk::Range;
use crate::write::Write;

const VAULT: &str = "vault";
const SEALED: &str = "sealed";

impl Vault for DynamoStore {
    fn keep<'a>(&'a self, name: &'a str, sealed: &'a Sealed) -> BoxFuture<'a, StoreResult<()>> {
        let put = Write::put(key(name), attributes([(SEALED, bytes(sealed.as_bytes()))]));
        Box::pin(async move { self.write(vec![put]).await.map(drop) })
    }

    fn kept<'a>(
        &'a self,
        prefix: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<(String, Sealed)>>> {
        // DynamoDB compares no key to an empty text.
        let range = if prefix.is_empty() { Range::All } else { Range::Prefix(prefix.to_owned()) };
        let walk = self.walk(None, VAULT, range, limit);
        Box::pin(walk.take(limit, |item| {
            let sealed = Sealed::from_bytes(item.bytes(SEALED)?.to_vec());
            Ok(Some((item.text("sk")?.to_owned(), sealed)))
        }))
    }

    fn forget<'a>(&'a self, name: &'a str) -> BoxFuture<'a, StoreResult<bool>> {
        let delete = Write::delete(key(name)).when_present();
        Box::pin(async move { Ok(self.write(vec![delete]).await?.is_done()) })
    }
}

fn key(name: &str) -> Key {
    Key::named(VAULT, name)
}
