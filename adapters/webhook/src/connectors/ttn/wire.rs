//! The JSON of The Things Stack v3 (`ApplicationUp` in `ttn.lorawan.v3`, proto3 JSON with snake_case names), as far as
//! the connector reads it. Everything may be absent: zero values are not written, and a field mask can remove any field
//! but the one that says which message it is. Not here: what the fields mean.

use std::borrow::Cow;

use bridge_core::members::Members;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::connectors::lenient::{Field, List, Present, Text, from_object};

pub(super) type Structure = Field<Map<String, Value>>;

/// `ApplicationUp`, with the wrappers `payload` (an AWS IoT rule) and `result` (the storage API).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub(super) end_device_ids: Field<EndDeviceIds<'a>>,
    #[serde(borrow)]
    pub(super) correlation_ids: Field<List<Cow<'a, str>>>,
    #[serde(borrow)]
    pub(super) received_at: Text<'a>,
    pub(super) simulated: Field<bool>,

    #[serde(borrow)]
    pub(super) uplink_message: Field<Box<UplinkMessage<'a>>>,
    #[serde(borrow)]
    pub(super) uplink_normalized: Field<Box<UplinkMessage<'a>>>,
    #[serde(borrow)]
    pub(super) join_accept: Field<Box<JoinAccept<'a>>>,
    #[serde(borrow)]
    pub(super) downlink_queued: Field<Box<Downlink<'a>>>,
    #[serde(borrow)]
    pub(super) downlink_sent: Field<Box<Downlink<'a>>>,
    #[serde(borrow)]
    pub(super) downlink_ack: Field<Box<Downlink<'a>>>,
    #[serde(borrow)]
    pub(super) downlink_nack: Field<Box<Downlink<'a>>>,
    #[serde(borrow)]
    pub(super) downlink_failed: Field<Box<DownlinkFailed<'a>>>,
    #[serde(borrow)]
    pub(super) downlink_queue_invalidated: Field<Box<QueueInvalidated<'a>>>,
    pub(super) location_solved: Structure,
    pub(super) service_data: Structure,

    #[serde(borrow)]
    pub(super) payload: Field<Box<Envelope<'a>>>,
    #[serde(borrow)]
    pub(super) result: Field<Box<Envelope<'a>>>,
}

/// The fields of which a message has exactly one.
pub(super) const DISCRIMINATORS: [&str; 11] = [
    "uplink_message",
    "uplink_normalized",
    "join_accept",
    "downlink_queued",
    "downlink_sent",
    "downlink_ack",
    "downlink_nack",
    "downlink_failed",
    "downlink_queue_invalidated",
    "location_solved",
    "service_data",
];

impl<'a> Envelope<'a> {
    /// Whether one of [`DISCRIMINATORS`] is there.
    pub(super) fn is_known(&self) -> bool {
        let Self { uplink_message, uplink_normalized, join_accept, .. } = self;
        let downlinks = [&self.downlink_queued, &self.downlink_sent, &self.downlink_ack, &self.downlink_nack];
        uplink_message.as_ref().is_some()
            || uplink_normalized.as_ref().is_some()
            || join_accept.as_ref().is_some()
            || downlinks.iter().any(|downlink| downlink.as_ref().is_some())
            || self.downlink_failed.as_ref().is_some()
            || self.downlink_queue_invalidated.as_ref().is_some()
            || self.location_solved.as_ref().is_some()
            || self.service_data.as_ref().is_some()
    }

    /// Becomes the message inside wrappers, if there are any. In its place: it is large.
    pub(super) fn unwrap_message(&mut self) {
        use std::mem::take;
        while !self.is_known() {
            match (take(&mut self.payload), take(&mut self.result)) {
                (Field::Is(inner), _) | (_, Field::Is(inner)) => *self = *inner,
                _ => return,
            }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EndDeviceIds<'a> {
    #[serde(borrow)]
    pub(super) device_id: Text<'a>,
    #[serde(borrow)]
    pub(super) application_ids: Field<ApplicationIds<'a>>,
    #[serde(borrow)]
    pub(super) dev_eui: Text<'a>,
    #[serde(borrow)]
    pub(super) join_eui: Text<'a>,
    #[serde(borrow)]
    pub(super) dev_addr: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ApplicationIds<'a> {
    #[serde(borrow)]
    pub(super) application_id: Text<'a>,
}

/// `ApplicationUplink` and `ApplicationUplinkNormalized`. The normalised payload is a list in the one and a single
/// object in the other; both are read in both.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UplinkMessage<'a> {
    #[serde(borrow)]
    pub(super) session_key_id: Text<'a>,
    pub(super) f_port: Field<u8>,
    pub(super) f_cnt: Field<u32>,
    #[serde(borrow)]
    pub(super) frm_payload: Text<'a>,
    pub(super) decoded_payload: Field<Members>,
    #[serde(borrow)]
    pub(super) decoded_payload_warnings: Field<List<Cow<'a, str>>>,
    pub(super) normalized_payload: Field<List<Map<String, Value>>>,
    #[serde(borrow)]
    pub(super) normalized_payload_warnings: Field<List<Cow<'a, str>>>,
    #[serde(borrow)]
    pub(super) rx_metadata: Field<List<RxMetadata<'a>>>,
    #[serde(borrow)]
    pub(super) settings: Field<Settings<'a>>,
    #[serde(borrow)]
    pub(super) received_at: Text<'a>,
    pub(super) confirmed: Field<bool>,
    #[serde(borrow)]
    pub(super) consumed_airtime: Text<'a>,
    pub(super) locations: Structure,
    #[serde(borrow)]
    pub(super) version_ids: Field<VersionIds<'a>>,
    #[serde(borrow)]
    pub(super) network_ids: Field<NetworkIds<'a>>,
    #[serde(borrow)]
    pub(super) last_battery_percentage: Field<BatteryPercentage<'a>>,
    pub(super) attributes: Structure,
    /// Only when the Application Server does not decrypt. Its value is never read.
    pub(super) app_s_key: Field<Present>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RxMetadata<'a> {
    #[serde(borrow)]
    pub(super) gateway_ids: Field<GatewayIds<'a>>,
    #[serde(borrow)]
    pub(super) packet_broker: Field<PacketBroker<'a>>,
    #[serde(borrow)]
    pub(super) time: Text<'a>,
    pub(super) timestamp: Field<u64>,
    pub(super) rssi: Field<f64>,
    pub(super) snr: Field<f64>,
    #[serde(borrow)]
    pub(super) received_at: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct GatewayIds<'a> {
    #[serde(borrow)]
    pub(super) gateway_id: Text<'a>,
    #[serde(borrow)]
    pub(super) eui: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PacketBroker<'a> {
    #[serde(borrow)]
    pub(super) forwarder_tenant_id: Text<'a>,
    #[serde(borrow)]
    pub(super) forwarder_gateway_eui: Text<'a>,
    #[serde(borrow)]
    pub(super) forwarder_gateway_id: Text<'a>,
}

/// `TxSettings`. Before 3.22 the coding rate stood here and not in the data rate.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Settings<'a> {
    #[serde(borrow)]
    pub(super) data_rate: Field<DataRate<'a>>,
    #[serde(borrow)]
    pub(super) coding_rate: Text<'a>,
    pub(super) frequency: Field<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DataRate<'a> {
    #[serde(borrow)]
    pub(super) lora: Field<Modulation<'a>>,
    #[serde(borrow)]
    pub(super) fsk: Field<Modulation<'a>>,
    #[serde(borrow)]
    pub(super) lrfhss: Field<Modulation<'a>>,
}

/// The fields of all three modulations; none has the same name with another meaning.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Modulation<'a> {
    pub(super) bandwidth: Field<u32>,
    pub(super) spreading_factor: Field<u8>,
    pub(super) bit_rate: Field<u32>,
    pub(super) operating_channel_width: Field<u32>,
    #[serde(borrow)]
    pub(super) coding_rate: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct VersionIds<'a> {
    #[serde(borrow)]
    pub(super) brand_id: Text<'a>,
    #[serde(borrow)]
    pub(super) model_id: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NetworkIds<'a> {
    #[serde(borrow)]
    pub(super) tenant_id: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BatteryPercentage<'a> {
    pub(super) value: Field<f64>,
    #[serde(borrow)]
    pub(super) received_at: Text<'a>,
}

/// `ApplicationJoinAccept`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct JoinAccept<'a> {
    #[serde(borrow)]
    pub(super) session_key_id: Text<'a>,
    #[serde(borrow)]
    pub(super) invalidated_downlinks: Field<List<Downlink<'a>>>,
    pub(super) pending_session: Field<bool>,
    #[serde(borrow)]
    pub(super) received_at: Text<'a>,
    pub(super) attributes: Structure,
}

/// `ApplicationDownlink`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Downlink<'a> {
    #[serde(borrow)]
    pub(super) session_key_id: Text<'a>,
    pub(super) f_port: Field<u8>,
    pub(super) f_cnt: Field<u32>,
    #[serde(borrow)]
    pub(super) frm_payload: Text<'a>,
    pub(super) confirmed: Field<bool>,
    #[serde(borrow)]
    pub(super) priority: Text<'a>,
    #[serde(borrow)]
    pub(super) correlation_ids: Field<List<Cow<'a, str>>>,
    pub(super) confirmed_retry: Field<ConfirmedRetry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ConfirmedRetry {
    pub(super) attempt: Field<u32>,
    pub(super) max_attempts: Field<u32>,
}

/// `ApplicationDownlinkFailed`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DownlinkFailed<'a> {
    #[serde(borrow)]
    pub(super) downlink: Field<Downlink<'a>>,
    #[serde(borrow)]
    pub(super) error: Field<ErrorDetails<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorDetails<'a> {
    #[serde(borrow)]
    pub(super) namespace: Text<'a>,
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) message_format: Text<'a>,
    pub(super) code: Field<u32>,
}

/// `ApplicationInvalidatedDownlinks`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct QueueInvalidated<'a> {
    #[serde(borrow)]
    pub(super) downlinks: Field<List<Downlink<'a>>>,
    pub(super) last_f_cnt_down: Field<u32>,
    #[serde(borrow)]
    pub(super) session_key_id: Text<'a>,
}

from_object!(
    ApplicationIds<'a>,
    BatteryPercentage<'a>,
    ConfirmedRetry,
    DataRate<'a>,
    Downlink<'a>,
    DownlinkFailed<'a>,
    EndDeviceIds<'a>,
    Envelope<'a>,
    ErrorDetails<'a>,
    GatewayIds<'a>,
    JoinAccept<'a>,
    Modulation<'a>,
    NetworkIds<'a>,
    PacketBroker<'a>,
    QueueInvalidated<'a>,
    RxMetadata<'a>,
    Settings<'a>,
    UplinkMessage<'a>,
    VersionIds<'a>,
);
