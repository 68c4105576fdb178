//! What the hub wants the state of a device to be. Not here: the subscription (`mqtt-hub`).

use std::sync::Arc;

use bridge_core::ports::{Desired, Registry, StoreError};
use bridge_core::twin::{TwinError, TwinKeeper, Wish};
use bridge_core::{IdempotencyKey, IntegrationName, MessageId};
use serde_json::Value;

/// Takes the hub's wishes.
pub(crate) struct Wishes {
    pub(crate) twins: Arc<TwinKeeper>,
    pub(crate) registry: Arc<dyn Registry>,
    /// What the digests of wishes are made with.
    pub(crate) hub: IntegrationName,
}

/// Why a wish was not taken.
pub(crate) enum Refused {
    /// It may be taken later.
    Later(StoreError),
    /// It never will; for people.
    Never(String),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Later(error)
    }
}

impl Wishes {
    /// Takes one: a merge patch. It is durable when this completes. An empty payload, by which a retained one is removed from
    /// a hub, wants nothing.
    pub(crate) async fn take(&self, desired: &Desired) -> Result<(), Refused> {
        let Desired { device, payload, is_copy } = desired;
        if payload.trim_ascii().is_empty() {
            return Ok(());
        }
        let Ok(Value::Object(patch)) = serde_json::from_slice(payload) else {
            return Err(Refused::Never("the payload is not a JSON object".into()));
        };
        if self.registry.get(device).await?.is_none() {
            return Err(Refused::Never(format!("there is no device {device}")));
        }
        let digest = MessageId::new(&self.hub, &IdempotencyKey::from_parts(&[b"desired", payload]));
        let wish = Wish { patch: &patch, digest: Some(digest), is_copy: *is_copy };
        match self.twins.desire(device, wish).await {
            Ok(_) => Ok(()),
            Err(TwinError::Store(error)) => Err(Refused::Later(error)),
            Err(TwinError::TooLarge(error)) => Err(Refused::Never(error.to_string())),
        }
    }
}
