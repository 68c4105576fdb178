//! The section of the drop-in for Azure's stateful bridge.

use super::*;

const SECTION: &str = "[secrets]\nkeys = [{ env = \"THE_SEAL_KEY\" }]\n\
     [azure_bridge]\nsecrets = [{ env = \"KEY\" }]\nsigning_secrets = [{ env = \"SIGNING\" }]\n";

#[test]
fn without_the_section_nobody_has_a_key() {
    assert_eq!(parse("").unwrap().azure_bridge, None);
    let config = parse(SECTION).unwrap().azure_bridge.unwrap();
    assert_eq!((config.secrets.len(), config.signing_secrets.len(), config.rate), (1, 1, None));
    assert_eq!(config.devices, [http_api::DevicePattern::parse("*").unwrap()]);
    assert!(!config.allow_private_addresses);
}

#[test]
fn its_mistakes_are_told() {
    for (text, wanted) in [
        ("[azure_bridge]".to_owned(), "azure_bridge.secrets: is missing"),
        ("[azure_bridge]".into(), "azure_bridge.signing_secrets: is missing"),
        (SECTION.replace("[{ env = \"THE_SEAL_KEY\" }]", "[]"), "azure_bridge: needs a key"),
        (format!("{SECTION}[devices_api]\nenabled = false"), "azure_bridge: needs devices_api.enabled"),
        (SECTION.replace("KEY", "SHORT"), "shorter than 16 bytes"),
        (SECTION.replace("SIGNING", &"X".repeat(60)), "24 to 64 bytes"),
        (format!("{SECTION}call_timeout = \"2m\""), "azure_bridge.call_timeout"),
    ] {
        let told = mistakes(&text);
        assert!(told.contains(wanted), "{text}: {told}");
    }
}
