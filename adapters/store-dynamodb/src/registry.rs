//! The registry port.

use bridge_core::ports::{
    BoxFuture, DeviceFilter, DeviceRecord, DeviceState, Insert, Registry, StoreError, StoreResult,
};
use bridge_core::{DeviceId, ExternalId, IntegrationName, Timestamp};

use crate::DynamoStore;
use crate::item::{Attributes, Item, attributes, text, time};
use crate::keys::Key;
use crate::numbers::count;
use crate::walk::Range;
use crate::write::{Write, Written, pause};

const DEVICE: &str = "device";
const VERSION: &str = "registry";
const SEEN: &str = "last_seen";

impl Registry for DynamoStore {
    fn find<'a>(
        &'a self,
        integration: &'a IntegrationName,
        external: &'a ExternalId,
    ) -> BoxFuture<'a, StoreResult<Option<DeviceRecord>>> {
        Box::pin(async move {
            let Some(pointer) = self.read(&external_key(integration, external)).await? else {
                return Ok(None);
            };
            let id = pointer.parsed("id", |text| DeviceId::parse(text).ok())?;
            Registry::get(self, &id).await
        })
    }

    fn get<'a>(&'a self, id: &'a DeviceId) -> BoxFuture<'a, StoreResult<Option<DeviceRecord>>> {
        Box::pin(async move { self.read(&key(id)).await?.as_ref().map(record).transpose() })
    }

    fn insert<'a>(&'a self, device: &'a DeviceRecord) -> BoxFuture<'a, StoreResult<Insert>> {
        Box::pin(self.bounded(async move {
            let pointer = attributes([("id", text(device.id.as_str()))]);
            let writes = vec![
                Write::put(key(&device.id), item(device)).when_absent(),
                Write::put(external_key(&device.integration, &device.external), pointer).when_absent(),
                count(VERSION, device.id.as_str(), 1),
            ];
            for attempt in 0.. {
                let Written::Refused(refusals) = self.write(writes.clone()).await? else { break };
                if refusals.get(1).is_some_and(Option::is_some)
                    && let Some(known) = self.find(&device.integration, &device.external).await?
                {
                    return Ok(Insert::Exists(known));
                }
                if let Some(other) = Registry::get(self, &device.id).await? {
                    return Ok(Insert::IdTaken(other));
                }
                // What was in the way has gone meanwhile.
                pause(attempt).await;
            }
            Ok(Insert::Created)
        }))
    }

    fn update<'a>(&'a self, device: &'a DeviceRecord) -> BoxFuture<'a, StoreResult<bool>> {
        let optional = |value: &Option<String>| value.as_ref().map(text);
        let update = Write::update(key(&device.id))
            .set_or_remove("label", optional(&device.name))
            .set_or_remove("hub_id", optional(&device.hub_id))
            .set_or_remove("codec", optional(&device.codec))
            .set("tags", tags(device))
            .set("status", text(device.state.as_str()))
            .when_present();
        Box::pin(async move {
            Ok(self.write(vec![update, count(VERSION, device.id.as_str(), 1)]).await?.is_done())
        })
    }

    fn remove<'a>(&'a self, id: &'a DeviceId) -> BoxFuture<'a, StoreResult<bool>> {
        Box::pin(self.bounded(async move {
            for attempt in 0.. {
                let Some(known) = Registry::get(self, id).await? else { return Ok(false) };
                let writes = vec![
                    Write::delete(key(id))
                        .when("#integration = :integration AND #external = :external")
                        .value("integration", text(known.integration.as_str()))
                        .value("external", text(known.external.as_str())),
                    Write::delete(external_key(&known.integration, &known.external)),
                    count(VERSION, id.as_str(), 1),
                ];
                if self.write(writes).await?.is_done() {
                    break;
                }
                pause(attempt).await;
            }
            Ok(true)
        }))
    }

    fn list<'a>(
        &'a self,
        filter: &'a DeviceFilter,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeviceRecord>>> {
        let matches = |device: &DeviceRecord| {
            filter.integration.as_ref().is_none_or(|integration| *integration == device.integration)
                && filter.tag.as_ref().is_none_or(|tag| device.tags.contains(tag))
                && filter.state.is_none_or(|state| state == device.state)
        };
        let walk = self.walk(None, DEVICE, Range::after(after), limit);
        Box::pin(walk.take(limit, move |item| Ok(Some(record(item)?).filter(|device| matches(device)))))
    }

    fn touch<'a>(&'a self, seen: &'a [(DeviceId, Timestamp)]) -> BoxFuture<'a, StoreResult<()>> {
        let touch = |(id, at): &(DeviceId, Timestamp)| {
            Write::update(key(id)).set(SEEN, time(*at)).when(
                "attribute_exists(#pk) AND (attribute_not_exists(#last_seen) OR #last_seen < :last_seen)",
            )
        };
        let touches = seen.iter().map(touch).collect();
        Box::pin(async move { self.write_each(touches).await.map(drop) })
    }

    fn version(&self) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(self.counted(VERSION))
    }
}

fn key(id: &DeviceId) -> Key {
    Key::named(DEVICE, id.as_str())
}

fn external_key(integration: &IntegrationName, external: &ExternalId) -> Key {
    Key::alone(format!("external#{}#{}", integration.as_str(), external.as_str()))
}

fn tags(device: &DeviceRecord) -> aws_sdk_dynamodb::types::AttributeValue {
    aws_sdk_dynamodb::types::AttributeValue::L(device.tags.iter().map(text).collect())
}

fn item(device: &DeviceRecord) -> Attributes {
    let mut item = attributes([
        ("integration", text(device.integration.as_str())),
        ("external", text(device.external.as_str())),
        ("tags", tags(device)),
        ("status", text(device.state.as_str())),
        ("first_seen", time(device.first_seen)),
    ]);
    let texts = [
        ("realm", &device.scope),
        ("label", &device.name),
        ("hub_id", &device.hub_id),
        ("codec", &device.codec),
    ];
    item.extend(texts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(value.as_ref()?)))));
    item.extend(device.last_seen.map(|at| (SEEN.to_owned(), time(at))));
    item
}

fn record(item: &Item) -> StoreResult<DeviceRecord> {
    let state =
        |text: &str| [DeviceState::Active, DeviceState::Parked].into_iter().find(|s| s.as_str() == text);
    let tags = item.get("tags").and_then(|tags| tags.as_l().ok());
    let tags: Option<Vec<String>> =
        tags.and_then(|tags| tags.iter().map(|tag| tag.as_s().ok().cloned()).collect());
    Ok(DeviceRecord {
        id: item.parsed("sk", |text| DeviceId::parse(text).ok())?,
        integration: item.parsed("integration", |text| IntegrationName::parse(text).ok())?,
        external: item.parsed("external", |text| ExternalId::parse(text).ok())?,
        scope: item.owned("realm"),
        name: item.owned("label"),
        hub_id: item.owned("hub_id"),
        codec: item.owned("codec"),
        tags: tags.ok_or_else(|| -> StoreError { item.damaged("tags") })?,
        state: item.parsed("status", state)?,
        first_seen: item.time("first_seen")?,
        last_seen: item.maybe_time(SEEN),
    })
}
