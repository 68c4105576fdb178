//! `device-bridge config template`: the whole configuration, explained, with the real defaults. Not here: what stands in
//! a section (each section describes itself).

use super::bridge::Bridge;
use super::commands::Commands;
use super::connector::ConnectorInfo;
use super::delivery::Delivery;
use super::devices_api::{DevicesApi, Gateway};
use super::dynamodb::DynamoDb;
use super::http::Http;
use super::hub::Hub;
use super::integration::Integration;
use super::log::Log;
use super::retention::{Archive, DeadLetters, Dedup, Trace};
use super::sheet::Sheet;

/// A configuration in which every key is commented out: as it is, it means the defaults; with the `#` before a key
/// removed, the key is in force. At its end is an example of an integration for each connector.
pub fn template(connectors: &[ConnectorInfo<'_>]) -> String {
    let mut sheet = Sheet::default();
    sheet.prose(
        "The configuration of device-bridge. Every key with its default. A line \"#key = value\" comes into force when \
         its # is removed; \"or:\" stands before another value of the key above, or another key in its place. Check \
         with: device-bridge config check",
    );
    describe_all_but_integrations(&mut sheet);
    super::codecs::describe(&mut sheet);
    if let Some((first, others)) = connectors.split_first() {
        Integration::describe(&mut sheet, first);
        for connector in others {
            Integration::describe_in_short(&mut sheet, connector);
        }
    }
    sheet.finish()
}

/// Everything that is no integration.
pub(super) fn describe_all_but_integrations(sheet: &mut Sheet) {
    Bridge::describe(sheet);
    DynamoDb::describe(sheet);
    Http::describe(sheet);
    Hub::describe(sheet, &Bridge::default().name);
    Delivery::describe(sheet);
    Dedup::describe(sheet);
    DeadLetters::describe(sheet);
    Archive::describe(sheet);
    Commands::describe(sheet);
    Trace::describe(sheet);
    Log::describe(sheet);
    DevicesApi::describe(sheet);
    Gateway::describe(sheet);
}
