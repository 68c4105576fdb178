//! Who sent a message of The Things Stack, and what makes it the same message when it is sent again. Not here: the
//! content.
//!
//! The key of an uplink is tenant, application, device, session, counter, and the time at which the Network Server received
//! the frame (all webhooks and all retries repeat it). Where these do not say enough, the next rung of a ladder is taken: the correlation id that the network gave the uplink; the payload with the network's times; the whole
//! message. A retry repeats the body byte for byte, so every rung recognises it. Only when nothing in the message names
//! one moment (a field mask left neither times nor ids), two equal bodies may be two uplinks: then the time of the
//! request is part of the key, and a retry becomes a second message rather than a second uplink a lost one.

use std::borrow::Cow;
use std::cell::OnceCell;

use bridge_core::{ExternalDevice, IdempotencyKey, Problem, Reason};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::wire::{EndDeviceIds, Envelope};
use crate::connector::Request;
use crate::connectors::fields::parse_pairs;
use crate::connectors::lenient::{Field, List, Text};

/// One message of a request, before it is understood.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    /// What it came in.
    pub(super) request: &'a Request<'a>,
    /// Its JSON text: the body, or one element or line of it.
    pub(super) json: &'a [u8],
    /// Which element or line.
    pub(super) index: usize,
    /// The digest of `json`, once somebody needs it: a message may become hundreds of uplinks.
    pub(super) digest: &'a OnceCell<[u8; 32]>,
}

impl Part<'_> {
    fn digest(&self) -> &[u8; 32] {
        self.digest.get_or_init(|| Sha256::digest(self.json).into())
    }
}

/// Who sent a message.
#[derive(Debug)]
pub(super) struct Sender<'a> {
    id: Cow<'a, str>,
    /// The application.
    scope: Option<Cow<'a, str>>,
    /// What identifies the device in keys; none: its id.
    dev_eui: Option<&'a str>,
}

impl<'a> Sender<'a> {
    /// The sender by the ids in the body, and by the URL for what a field mask took out of it: the path for the device,
    /// the query for both (`?appID=..&devID=..`, as The Things Stack expands `{?appID,devID}`).
    ///
    /// # Errors
    /// When nothing says which device it is.
    pub(super) fn of(ids: &'a Field<EndDeviceIds<'_>>, request: &Request<'a>) -> Result<Self, Problem> {
        let ids = ids.as_ref();
        let dev_eui = ids.and_then(|ids| ids.dev_eui.text());
        let application = ids.and_then(|ids| ids.application_ids.as_ref()?.application_id.text());
        Self::new(ids.and_then(|ids| ids.device_id.text()), dev_eui, application, request)
    }

    /// The same from the fields of any version.
    pub(super) fn new(
        device_id: Option<&'a str>,
        dev_eui: Option<&'a str>,
        application: Option<&'a str>,
        request: &Request<'a>,
    ) -> Result<Self, Problem> {
        let path = request.path_device.filter(|id| !id.is_empty());
        let masked = application.is_none() || (device_id.is_none() && path.is_none());
        let query = if masked && !request.query.is_empty() { parse_pairs(request.query) } else { Vec::new() };
        let queried = |names: [&str; 2]| {
            let pair = query.iter().find(|(name, value)| names.contains(&name.as_str()) && !value.is_empty());
            pair.map(|(_, value)| Cow::Owned(value.clone()))
        };
        let id = device_id.or(path).map(Cow::Borrowed).or_else(|| queried(["devID", "deviceID"]));
        let id = match (id, dev_eui) {
            (Some(id), _) => id,
            // The id that The Things Stack itself gives a device when its user gives none.
            (None, Some(dev_eui)) => format!("eui-{}", dev_eui.to_ascii_lowercase()).into(),
            (None, None) => {
                let detail = "neither the body nor the URL names the device; \
                              put the device id into the webhook's URL: .../webhooks/INTEGRATION{/devID}";
                return Err(Problem { reason: Reason::NoDevice, detail: detail.into() });
            }
        };
        let scope = application.map(Cow::Borrowed).or_else(|| queried(["appID", "applicationID"]));
        Ok(Self { id, scope, dev_eui })
    }

    /// The device, for an uplink to keep.
    pub(super) fn device(&self) -> ExternalDevice {
        let scope = self.scope.as_deref().map(str::to_owned);
        ExternalDevice { id: self.id.clone().into_owned(), scope, name: None }
    }

    /// How long [`device`](Self::device) is, bytes.
    pub(super) fn device_bytes(&self) -> usize {
        self.id.len() + self.scope().len()
    }

    /// Adds what the cloud knows of the device beside its id.
    pub(super) fn describe(&self, data: &mut Map<String, Value>, envelope: &Envelope<'_>) {
        if let Some(dev_eui) = envelope.end_device_ids.as_ref().and_then(|ids| ids.dev_eui.text()) {
            data.insert("devEui".into(), dev_eui.into());
        }
    }

    /// The key of a message of this sender.
    pub(super) fn key(&self, kind: &str, parts: &[&str]) -> IdempotencyKey {
        self.key_of(kind, &[parts])
    }

    /// The same, of parts that stand in several places.
    pub(super) fn key_of(&self, kind: &str, parts: &[&[&str]]) -> IdempotencyKey {
        let first = ["ttn", self.scope(), self.name(), kind];
        let parts = parts.iter().copied().flatten();
        IdempotencyKey::digest(first.iter().chain(parts).map(|text| text.as_bytes()))
    }

    /// What identifies the device in keys.
    fn name(&self) -> &str {
        self.dev_eui.unwrap_or(&self.id)
    }

    fn scope(&self) -> &str {
        self.scope.as_deref().unwrap_or_default()
    }

    /// The key of a message that has no sequence of its own: the lower rungs of the ladder. `times` are the network's,
    /// `content` is what distinguishes two uplinks of one moment or of one message.
    pub(super) fn key_without_sequence(
        &self,
        kind: &str,
        times: &[Option<&str>],
        content: &[&str],
        is_one_moment: bool,
        part: Part<'_>,
    ) -> IdempotencyKey {
        if times.iter().any(Option::is_some) {
            let mut parts: Vec<&str> = times.iter().map(|time| time.unwrap_or_default()).collect();
            parts.extend_from_slice(content);
            return self.key(kind, &parts);
        }
        let index = part.index.to_be_bytes();
        let received_at = part.request.received_at.as_millis().to_be_bytes();
        let moment: &[u8] = if is_one_moment { &[] } else { &received_at };
        let mut parts: Vec<&[u8]> =
            vec![b"ttn whole", self.scope().as_bytes(), self.name().as_bytes(), kind.as_bytes()];
        parts.extend([&part.digest()[..], &index, moment]);
        parts.extend(content.iter().map(|text| text.as_bytes()));
        IdempotencyKey::from_parts(&parts)
    }
}

/// The id that the network gave to the uplink behind a message.
pub(super) fn uplink_correlation<'e>(envelope: &'e Envelope<'_>) -> Option<&'e str> {
    let ids = &envelope.correlation_ids.as_ref()?.items;
    ["gs:uplink:", "pba:uplink:", "ns:uplink:", "as:up:"]
        .iter()
        .find_map(|prefix| ids.iter().find(|id| id.starts_with(prefix) && id.len() > prefix.len()))
        .map(AsRef::as_ref)
}

/// A time as the network wrote it, unless it is one of those that mean none.
pub(super) fn written_time<'f>(field: &'f Text<'_>) -> Option<&'f str> {
    field.text().filter(|text| !text.starts_with("0001-"))
}

/// How many elements of a list were not read, as a warning.
pub(super) fn warn_left_out<T>(list: &Field<List<T>>, name: &str, warnings: &mut Vec<String>) {
    list.check(name, warnings);
    if let Some(left_out) = list.as_ref().map(|list| list.left_out).filter(|count| *count > 0) {
        warnings.push(format!("{left_out} elements of {name} were left out"));
    }
}
