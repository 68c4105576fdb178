//! `/admin/v1/devices`: list, show, change, remove. Not here: their state as they report it ([`super::twins`]), how they
//! come to be registered.

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use bridge_core::ports::{Credentials, DeviceFilter, DeviceRecord, DeviceState, Registry, Twins};
use bridge_core::{DeviceId, IntegrationName, Timestamp};
use http::StatusCode;
use serde_json::{Value, json};

use super::body::{Answer, Asked, Body, Declined, Fault};
use super::{Admin, done, page};

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceQuery {
    integration: Option<String>,
    tag: Option<String>,
    state: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// A merge patch: what is absent stays, null takes away.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    state: Option<String>,
    #[serde(default, deserialize_with = "present")]
    name: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    codec: Option<Option<String>>,
    tags: Option<Vec<String>>,
}

/// The longest name, codec and tag, characters.
const LONGEST: usize = 256;
/// Tags of a device.
const TAGS: usize = 64;

/// In the order of their ids; `after` takes the last id of the page before.
pub(super) async fn list(State(admin): State<Admin>, Asked(query): Asked<DeviceQuery>) -> Answer {
    let state = query.state.as_deref().map(|name| state(name).ok_or(name));
    let state =
        state.transpose().map_err(|_| Declined::malformed("\"state\" is none of active and parked."))?;
    let filter =
        DeviceFilter { integration: integration(query.integration.as_deref())?, tag: query.tag, state };
    let after = device(query.after.as_deref(), "after")?;
    let found = Registry::list(&*admin.0.store, &filter, after.as_ref(), page(query.limit)).await?;
    done(&found.iter().map(|record| write(&admin, record)).collect())
}

/// One.
pub(super) async fn show(State(admin): State<Admin>, Path(id): Path<String>) -> Answer {
    done(&write(&admin, &admin.device(&id).await?))
}

/// 200 with the device as it is then. What it sends from now on is treated accordingly.
pub(super) async fn change(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    Body(change): Body<Change>,
) -> Answer {
    let mut record = admin.device(&id).await?;
    change.apply(&mut record, &admin)?;
    if !Registry::update(&*admin.0.store, &record).await? {
        return Err(super::unknown_device());
    }
    admin.0.pipeline.registrar.refresh().await?;
    done(&write(&admin, &record))
}

/// 204. With it go its tokens and its state; heard again, it registers again by its integration's rule.
pub(super) async fn remove(State(admin): State<Admin>, Path(id): Path<String>) -> Answer {
    let (id, store) = (admin.device(&id).await?.id, &*admin.0.store);
    Credentials::remove_all(store, &id).await?;
    Twins::remove(store, &id).await?;
    Registry::remove(store, &id).await?;
    admin.0.device_api.keyring().refresh().await?;
    admin.0.pipeline.registrar.refresh().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The integration that a query names.
pub(super) fn integration(name: Option<&str>) -> Result<Option<IntegrationName>, Declined> {
    let parsed = name.map(IntegrationName::parse).transpose();
    parsed.map_err(|error| Declined::malformed(&format!("\"integration\" {error}.")))
}

/// The device that a query names with this key.
pub(super) fn device(id: Option<&str>, key: &str) -> Result<Option<DeviceId>, Declined> {
    let parsed = id.map(DeviceId::parse).transpose();
    parsed.map_err(|error| Declined::malformed(&format!("{key:?} {error}.")))
}

impl Change {
    fn apply(self, record: &mut DeviceRecord, admin: &Admin) -> Result<(), Fault> {
        if let Some(word) = &self.state {
            record.state =
                state(word).ok_or_else(|| Fault::at("/state", "must be \"active\" or \"parked\""))?;
        }
        if let Some(name) = self.name {
            check("/name", name.as_deref())?;
            record.name = name;
        }
        if let Some(codec) = self.codec {
            if codec.as_deref().is_some_and(|name| !admin.0.codecs.table().codecs.contains_key(name)) {
                return Err(Fault::at("/codec", "must be the name of a codec of the configuration"));
            }
            record.codec = codec;
        }
        if let Some(tags) = self.tags {
            if tags.len() > TAGS {
                return Err(Fault::at("/tags", format!("must hold at most {TAGS} tags")));
            }
            for (index, tag) in tags.iter().enumerate() {
                check(&format!("/tags/{index}"), Some(tag))?;
            }
            record.tags = tags;
        }
        Ok(())
    }
}

/// Whether people can read it.
fn check(pointer: &str, text: Option<&str>) -> Result<(), Fault> {
    let fits = |text: &str| {
        !text.is_empty() && text.chars().count() <= LONGEST && !text.chars().any(char::is_control)
    };
    match text.is_none_or(fits) {
        true => Ok(()),
        false => Err(Fault::at(
            pointer,
            format!("must be 1 to {LONGEST} characters long, without control characters"),
        )),
    }
}

fn state(word: &str) -> Option<DeviceState> {
    [DeviceState::Active, DeviceState::Parked].into_iter().find(|state| state.as_str() == word)
}

fn write(admin: &Admin, record: &DeviceRecord) -> Value {
    let id = record.id.as_str();
    let heard = admin.0.pipeline.registrar.heard(&record.id).max(record.last_seen);
    json!({
        "id": id,
        "integration": record.integration.as_str(),
        "externalId": record.external.as_str(),
        "scope": record.scope,
        "name": record.name,
        "hubId": record.hub_id,
        "codec": record.codec,
        "tags": record.tags,
        "state": record.state.as_str(),
        "firstHeard": record.first_seen.to_string(),
        "lastHeard": heard.map(|at: Timestamp| at.to_string()),
        "links": {
            "self": format!("/admin/v1/devices/{id}"),
            "state": format!("/admin/v1/devices/{id}/state"),
            "commands": format!("/admin/v1/commands?device={id}"),
            "traces": format!("/admin/v1/traces?device={id}"),
            "events": format!("/admin/v1/events?device={id}"),
        },
    })
}

/// Tells null from absent.
fn present<'de, D: serde::Deserializer<'de>>(member: D) -> Result<Option<Option<String>>, D::Error> {
    serde::Deserialize::deserialize(member).map(Some)
}
