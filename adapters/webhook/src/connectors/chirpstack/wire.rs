//! The JSON of ChirpStack v4's integration events (`api/proto/integration/integration.proto`, proto3 JSON in camelCase),
//! as far as the connector reads it. Not here: what the fields mean.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::connectors::lenient::{Field, List, Present, Text, from_object};

/// The fields of all events; none has the same name with another meaning.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Event<'a> {
    #[serde(borrow)]
    pub(super) deduplication_id: Text<'a>,
    #[serde(borrow)]
    pub(super) time: Text<'a>,
    #[serde(borrow)]
    pub(super) device_info: Field<DeviceInfo<'a>>,

    // up
    #[serde(borrow)]
    pub(super) dev_addr: Text<'a>,
    pub(super) f_cnt: Field<u32>,
    pub(super) f_port: Field<u8>,
    pub(super) confirmed: Field<bool>,
    #[serde(borrow)]
    pub(super) data: Text<'a>,
    #[serde(borrow)]
    pub(super) rx_info: Field<List<RxInfo<'a>>>,
    #[serde(borrow)]
    pub(super) tx_info: Field<TxInfo<'a>>,
    /// Of an uplink, and of an integration's output.
    pub(super) object: Field<Map<String, Value>>,

    // join
    pub(super) relay_rx_info: Field<Map<String, Value>>,

    // ack, txack
    #[serde(borrow)]
    pub(super) queue_item_id: Text<'a>,
    pub(super) acknowledged: Field<bool>,
    pub(super) f_cnt_down: Field<u32>,
    pub(super) downlink_id: Field<u32>,
    #[serde(borrow)]
    pub(super) gateway_id: Text<'a>,

    // status
    pub(super) margin: Field<f64>,
    pub(super) external_power_source: Field<bool>,
    pub(super) battery_level_unavailable: Field<bool>,
    pub(super) battery_level: Field<f64>,

    // log
    #[serde(borrow)]
    pub(super) level: Text<'a>,
    #[serde(borrow)]
    pub(super) code: Text<'a>,
    #[serde(borrow)]
    pub(super) description: Text<'a>,
    pub(super) context: Field<Map<String, Value>>,

    // location
    pub(super) location: Field<Map<String, Value>>,

    // integration
    #[serde(borrow)]
    pub(super) integration_name: Text<'a>,
    #[serde(borrow)]
    pub(super) event_type: Text<'a>,

    /// ChirpStack v3, which is not read.
    #[serde(rename = "devEUI")]
    pub(super) dev_eui_of_version_3: Field<Present>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct DeviceInfo<'a> {
    #[serde(borrow)]
    pub(super) application_id: Text<'a>,
    #[serde(borrow)]
    pub(super) device_profile_name: Text<'a>,
    #[serde(borrow)]
    pub(super) device_name: Text<'a>,
    #[serde(borrow)]
    pub(super) dev_eui: Text<'a>,
    pub(super) tags: Field<Map<String, Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RxInfo<'a> {
    #[serde(borrow)]
    pub(super) gateway_id: Text<'a>,
    #[serde(borrow)]
    pub(super) gw_time: Text<'a>,
    #[serde(borrow)]
    pub(super) ns_time: Text<'a>,
    pub(super) rssi: Field<f64>,
    pub(super) snr: Field<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TxInfo<'a> {
    pub(super) frequency: Field<u64>,
    #[serde(borrow)]
    pub(super) modulation: Field<Modulations<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Modulations<'a> {
    #[serde(borrow)]
    pub(super) lora: Field<Modulation<'a>>,
    #[serde(borrow)]
    pub(super) fsk: Field<Modulation<'a>>,
    #[serde(borrow)]
    pub(super) lr_fhss: Field<Modulation<'a>>,
}

/// The fields of all three modulations.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Modulation<'a> {
    pub(super) bandwidth: Field<u32>,
    pub(super) spreading_factor: Field<u8>,
    /// FSK, bit/s.
    pub(super) datarate: Field<u32>,
    pub(super) operating_channel_width: Field<u32>,
    #[serde(borrow)]
    pub(super) code_rate: Text<'a>,
}

from_object!(Event<'a>, DeviceInfo<'a>, RxInfo<'a>, TxInfo<'a>, Modulations<'a>, Modulation<'a>);
