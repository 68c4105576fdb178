//! What an integration can say about its Particle webhooks: which keys of its template hold what. Not here: what the
//! fields mean.

use crate::connector::{Setting, SettingError, Settings};

/// A field of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// The event name.
    Event,
    /// What the device published.
    Data,
    /// The device id.
    Device,
    /// When it was published.
    PublishedAt,
    /// The id of the event.
    EventId,
    /// The id of the product.
    Product,
    /// The version of the product's firmware.
    Version,
}

impl Field {
    /// Every field.
    pub(super) const ALL: [Self; 7] = [
        Self::Event,
        Self::Data,
        Self::Device,
        Self::PublishedAt,
        Self::EventId,
        Self::Product,
        Self::Version,
    ];

    fn setting(self) -> &'static str {
        match self {
            Self::Event => "event_key",
            Self::Data => "data_key",
            Self::Device => "device_key",
            Self::PublishedAt => "published_at_key",
            Self::EventId => "event_id_key",
            Self::Product => "product_key",
            Self::Version => "version_key",
        }
    }

    /// The keys of the presets, of the event stream, and of common templates; the first one present counts.
    fn defaults(self) -> &'static [&'static str] {
        match self {
            Self::Event => &["event", "name"],
            Self::Data => &["data", "value"],
            Self::Device => &["coreid", "device", "device_id", "deviceid"],
            Self::PublishedAt => &["published_at", "at", "timestamp"],
            Self::EventId => &["event_id", "id"],
            Self::Product => &["product", "productID", "product_id"],
            Self::Version => &["version", "fw", "fw_version"],
        }
    }
}

const EVENT: &str = "event";

/// The settings of the connector.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        key: EVENT,
        help: "The event name where a request has none; it names the measurement of a plain value. \
               Default: \"webhook\".",
    },
    Setting {
        key: "event_key",
        help: "Key or keys of the template that hold the event name. Default: \"event\", \"name\".",
    },
    Setting { key: "data_key", help: "Key or keys that hold the event data. Default: \"data\", \"value\"." },
    Setting {
        key: "device_key",
        help: "Key or keys that hold the device id. Default: \"coreid\", \"device\", \"device_id\", \"deviceid\", \
               and \"id\" when it is 24 hex digits.",
    },
    Setting {
        key: "published_at_key",
        help: "Key or keys that hold the time, RFC 3339 or epoch. Default: \"published_at\", \"at\", \"timestamp\".",
    },
    Setting {
        key: "event_id_key",
        help: "Key or keys that hold {{{PARTICLE_EVENT_ID}}}, which must differ for every event. \
               Default: \"event_id\", and \"id\" when it is a UUID.",
    },
    Setting {
        key: "product_key",
        help: "Key or keys that hold the product id. Default: \"product\", \"productID\", \"product_id\".",
    },
    Setting {
        key: "version_key",
        help: "Key or keys that hold the firmware version. Default: \"version\", \"fw\", \"fw_version\".",
    },
];

/// The settings of one integration.
#[derive(Debug, Clone)]
pub(super) struct ParticleSettings {
    keys: Vec<(Field, Vec<String>)>,
    guesses_id: bool,
    /// The event name of requests without one.
    pub(super) event: Option<String>,
}

impl ParticleSettings {
    /// Reads an integration's settings. A setting replaces the keys of its field.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub(super) fn read(settings: &Settings) -> Result<Self, Vec<SettingError>> {
        let mut errors = Vec::new();
        let mut wrong = |key, message: String| errors.push(SettingError { key, message });
        let mut keys: Vec<(Field, Vec<String>)> = Vec::new();
        // What an integration says itself goes before a default of another field.
        let mut fields = Field::ALL;
        fields.sort_by_key(|field| !settings.contains_key(field.setting()));
        for field in fields {
            let own = settings.get(field.setting());
            let mut names =
                own.cloned().unwrap_or_else(|| field.defaults().iter().map(|&n| n.into()).collect());
            if names.is_empty() && own.is_some() || names.iter().any(|name| name.trim().is_empty()) {
                wrong(field.setting(), "names no key, or an empty one; name the keys of the template".into());
            }
            for (other, taken) in &keys {
                if own.is_some()
                    && settings.contains_key(other.setting())
                    && let Some(name) = names.iter().find(|name| taken.contains(name))
                {
                    wrong(field.setting(), format!("`{name}` is already in `{}`", other.setting()));
                }
                names.retain(|name| !taken.contains(name));
            }
            keys.push((field, names));
        }
        let event = match settings.get(EVENT).map(Vec::as_slice) {
            None => None,
            Some([name]) if !name.trim().is_empty() => Some(name.clone()),
            Some(_) => {
                wrong(EVENT, "must be one text that is not empty".into());
                None
            }
        };
        let guesses_id = !settings.contains_key(Field::EventId.setting());
        if errors.is_empty() { Ok(Self { keys, guesses_id, event }) } else { Err(errors) }
    }

    /// The keys that hold a field, the most telling one first.
    pub(super) fn keys(&self, field: Field) -> &[String] {
        self.keys.iter().find(|(this, _)| *this == field).map_or(&[], |(_, names)| names)
    }

    /// Whether `id` may be a device id or an event id, by what it looks like: when nobody has said what it is.
    pub(super) fn guesses_id(&self, key: &str) -> bool {
        key == "id" && self.guesses_id
    }
}
