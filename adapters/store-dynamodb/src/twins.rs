//! The port of the states of devices.

use bridge_core::DeviceId;
use bridge_core::ports::{BoxFuture, StoreError, StoreResult, Twins};
use bridge_core::twin::Twin;

use crate::DynamoStore;
use crate::item::{attributes, bytes, number, text};
use crate::keys::{Key, of_device};
use crate::table::FLAG;
use crate::walk::Range;
use crate::write::Write;

const TWIN: &str = "twin";

impl Twins for DynamoStore {
    fn get<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<Option<Twin>>> {
        Box::pin(async move {
            let Some(item) = self.read(&key(device)).await? else { return Ok(None) };
            let twin: Twin =
                serde_json::from_slice(item.bytes("record")?).map_err(|_| item.damaged("record"))?;
            Ok(Some(twin.at_version(item.number("version")?)))
        })
    }

    fn put<'a>(&'a self, device: &'a DeviceId, twin: &'a Twin) -> BoxFuture<'a, StoreResult<bool>> {
        Box::pin(async move {
            let record = serde_json::to_vec(twin).map_err(|error| StoreError::Damaged(error.to_string()))?;
            let mut item = attributes([("record", bytes(record)), ("version", number(twin.version + 1))]);
            if !twin.delta().is_empty() {
                item.extend(attributes([
                    (FLAG.keys.partition, text(of_device(TWIN, device))),
                    (FLAG.keys.sort, text(device.as_str())),
                ]));
            }
            let put = Write::put(key(device), item);
            let put = match twin.version {
                0 => put.when_absent(),
                version => put.when("#version = :known").value("known", number(version)),
            };
            Ok(self.write(vec![put]).await?.is_done())
        })
    }

    fn pending<'a>(
        &'a self,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeviceId>>> {
        let walk = self.walk(Some(FLAG), TWIN, Range::after(after), limit);
        Box::pin(self.hits(walk, limit, |item| {
            let pending = item.get(FLAG.keys.partition).is_some();
            pending.then(|| item.parsed("sk", |text| DeviceId::parse(text).ok())).transpose()
        }))
    }

    fn remove<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<bool>> {
        let delete = Write::delete(key(device)).when_present();
        Box::pin(async move { Ok(self.write(vec![delete]).await?.is_done()) })
    }
}

fn key(device: &DeviceId) -> Key {
    Key::named(TWIN, device.as_str())
}
