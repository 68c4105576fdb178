//! The variables of Sigfox callbacks and the keys that hold them. Callback templates name keys freely, so each
//! variable has a setting of its own name. Not here: which service they belong to, what they mean.

use std::collections::BTreeMap;

use crate::connector::{Setting, SettingError, Settings};

macro_rules! variables {
    ($($variant:ident $name:literal [$($alias:literal),+] $help:literal;)+) => {
        /// A variable that a callback template can name (support.sigfox.com, "Callbacks").
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Variable { $(#[doc = $help] $variant),+ }

        impl Variable {
            /// Every variable.
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name in the Sigfox backend, and of its setting.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The keys that hold it unless the integration says otherwise; the first one present counts.
            fn aliases(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($alias),+]),+ }
            }
        }

        /// The settings: those of the connector, then one for each variable.
        pub(super) const SETTINGS: &[Setting] = &[
            Setting {
                key: super::settings::SERVICE,
                help: "What all callbacks of this integration are: data, status, acknowledge, repeater, \
                       data-advanced, geoloc, error or event. Without it, each request tells: by /{service} at the end \
                       of its URL, by a constant `service`, `type` or `callback` in body or query, or by its variables.",
            },
            Setting {
                key: super::settings::LINE_PATTERN,
                help: "The line pattern of a BATCH_URL callback, or the template of a text/plain body, as in the Sigfox \
                       backend: \"{device};{time};{data};{seqNumber};\". No default.",
            },
            Setting {
                key: super::settings::BATCH_FIELD,
                help: "The query or form parameter that holds the lines of a BATCH_URL callback. Default: \"batch\".",
            },
            $(Setting {
                key: $name,
                help: concat!("Key or keys of the template that hold ", $help, ". Default: ", stringify!($($alias),+), "."),
            }),+
        ];
    };
}

variables! {
    Device "device" ["device", "deviceId", "id"] "the device id, hex";
    Time "time" ["time", "timestamp"] "the time of the first reception, epoch seconds";
    Data "data" ["data", "payload"] "the payload, hex (a structure under this key is custom data instead)";
    SeqNumber "seqNumber" ["seqNumber", "seq"] "the sequence number";
    DeviceTypeId "deviceTypeId" ["deviceTypeId"] "the id of the device type";
    Ack "ack" ["ack"] "whether the device waits for a downlink";
    LongPolling "longPolling" ["longPolling"] "whether the listening window is the long one";
    Duplicate "duplicate" ["duplicate"] "whether another station sent this frame before";
    Snr "snr" ["snr"] "the signal to noise ratio, dB";
    AvgSnr "avgSnr" ["avgSnr"] "the average signal to noise ratio of the last messages, dB";
    Rssi "rssi" ["rssi"] "the signal strength, dBm";
    Station "station" ["station"] "the id of the base station";
    Lat "lat" ["lat"] "a latitude: of the base station, rounded, or the position of a GEOLOC callback";
    Lng "lng" ["lng"] "a longitude: of the base station, rounded, or the position of a GEOLOC callback";
    Lqi "lqi" ["lqi"] "the link quality by name";
    LinkQuality "linkQuality" ["linkQuality"] "the link quality by number";
    OperatorName "operatorName" ["operatorName"] "the Sigfox operator";
    CountryCode "countryCode" ["countryCode"] "the country by ISO 3166 number";
    FixedLat "fixedLat" ["fixedLat"] "the latitude set for the device in the backend";
    FixedLng "fixedLng" ["fixedLng"] "the longitude set for the device in the backend";
    Duplicates "duplicates" ["duplicates"] "the list of stations that heard the message";
    ComputedLocation "computedLocation" ["computedLocation"] "the position that the network computed";
    Radius "radius" ["radius"] "the radius of a GEOLOC position, m";
    GeolocSource "geolocSource" ["geolocSource"] "how a GEOLOC position is known, by number";
    Batt "batt" ["batt"] "the battery, V";
    Temp "temp" ["temp"] "the temperature of the device, Celsius";
    InfoCode "infoCode" ["infoCode"] "what became of a downlink, by number";
    InfoMessage "infoMessage" ["infoMessage"] "what became of a downlink, for people";
    DownlinkAck "downlinkAck" ["downlinkAck"] "whether a station sent the downlink";
    DownlinkOverusage "downlinkOverusage" ["downlinkOverusage"] "whether the downlink was over the contract";
    WhitelistDevices "whitelistDevices" ["whitelistDevices"] "how many devices a repeater repeats (0: all)";
    RepeatedMsg "repeatedMsg" ["repeatedMsg"] "how many messages a repeater repeated";
    UnwantedDevices "unwantedDevices" ["unwantedDevices"] "how many other devices a repeater heard";
    UnwantedMsg "unwantedMsg" ["unwantedMsg"] "how many messages of others a repeater heard, as a range code";
    WrongMsg "wrongMsg" ["wrongMsg"] "how many wrong messages a repeater heard, as a range code";
    OverRegulMsg "overRegulMsg" ["overRegulMsg"] "how many messages regulation kept from repeating, as a range code";
    Severity "severity" ["severity"] "WARN or ERROR";
    Info "info" ["info"] "what is wrong, for people";
    EventType "eventType" ["eventType"] "the type of an EVENT callback";
    SourceId "sourceId" ["sourceId"] "what an EVENT callback is about, by id";
    SourceType "sourceType" ["sourceType"] "what an EVENT callback is about: DEVICE, ...";
    DeviceInfo "deviceInfo" ["deviceInfo"] "the device of an EVENT callback";
}

/// Which keys hold which variable, for one integration.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    of_variable: BTreeMap<Variable, Vec<String>>,
    to_variable: BTreeMap<String, Variable>,
}

impl Keys {
    /// Reads the settings that are named like variables; each replaces the keys of its variable.
    pub(super) fn from_settings(settings: &Settings) -> Result<Self, Vec<SettingError>> {
        let mut keys = Self { of_variable: BTreeMap::new(), to_variable: BTreeMap::new() };
        let mut errors = Vec::new();
        for &variable in Variable::ALL {
            let own = settings.get(variable.name());
            let names =
                own.cloned().unwrap_or_else(|| variable.aliases().iter().map(|&a| a.into()).collect());
            if names.is_empty() || names.iter().any(|name| name.trim().is_empty()) {
                let message = "names no key, or an empty one; name the keys of the template".into();
                errors.push(SettingError { key: variable.name(), message });
            }
            for name in &names {
                // What an integration says itself goes before a default of another variable.
                if own.is_some() || !keys.to_variable.contains_key(name) {
                    match keys.to_variable.insert(name.clone(), variable) {
                        Some(other) if other != variable && settings.contains_key(other.name()) => {
                            let message = format!("`{name}` is already the key of `{}`", other.name());
                            errors.push(SettingError { key: variable.name(), message });
                        }
                        _ => {}
                    }
                }
            }
            keys.of_variable.insert(variable, names);
        }
        // A default that another variable's setting has taken is gone.
        for (variable, names) in &mut keys.of_variable {
            names.retain(|name| keys.to_variable.get(name) == Some(variable));
        }
        if errors.is_empty() { Ok(keys) } else { Err(errors) }
    }

    /// The keys that hold a variable, the most telling one first.
    pub(super) fn of(&self, variable: Variable) -> &[String] {
        self.of_variable.get(&variable).map_or(&[], Vec::as_slice)
    }

    /// The variable that a key can hold.
    pub(super) fn variable(&self, key: &str) -> Option<Variable> {
        self.to_variable.get(key).copied()
    }
}
