//! `[devices_api]` and `[gateways.NAME]`: what can be said, and what is said about mistakes.

use super::*;

#[test]
fn devices_and_gateways() {
    let config = parse(
        r#"
        [codecs.mine]
        format = "text"
        [devices_api]
        enabled = false
        register = "park"
        body_limit = "4KiB"
        rate = 5
        codec = "mine"
        [gateways.plant-7]
        secrets = [{ env = "NEW" }, { file = "secrets/farm" }]
        devices = ["plant-7-*", "hall"]
        rate = 50
        "#,
    )
    .unwrap();
    let DevicesApi { enabled, register, body_limit, rate, codec, .. } = &config.devices_api;
    assert_eq!((*enabled, *register, *body_limit, *rate), (false, Register::Park, 4096, Some(5)));
    assert_eq!(codec.as_deref(), Some("mine"));
    let [gateway] = &config.gateways[..] else { panic!("{:?}", config.gateways) };
    assert_eq!((gateway.name.as_str(), gateway.secrets.len(), gateway.rate), ("plant-7", 2, Some(50)));
    let speaks_for = |id: &str| {
        let id = bridge_core::DeviceId::parse(id).unwrap();
        gateway.devices.iter().any(|pattern| pattern.matches(&id))
    };
    assert!(speaks_for("plant-7-x") && speaks_for("hall") && !speaks_for("hall-2"));
    let http = IntegrationName::parse("http").unwrap();
    assert_eq!(config.naming(&http).unwrap().device_id("Pump-1").unwrap().as_str(), "Pump-1");
    assert_eq!(config.naming(&IntegrationName::parse("farm").unwrap()), None);
}

#[test]
fn mistakes_in_devices_and_gateways_say_what_to_do() {
    let good = "secrets = [{ env = \"A\" }]\ndevices = [\"*\"]";
    for (text, wanted) in [
        ("[devices_api]\nregister = \"of\"".to_owned(), "devices_api.register: \"of\" is not one of"),
        ("[devices_api]\nbody_limit = \"1GiB\"".into(), "devices_api.body_limit: must be"),
        ("[devices_api]\ncodec = \"nobody\"".into(), "there is no codec \"nobody\""),
        ("[devices_api]\nenable = true".into(), "enable: is not a known key; did you mean enabled?"),
        ("[gateways.a]\ndevices = [\"*\"]".into(), "gateways.a.secrets: is missing: a list such as [{ env = \"A_SECRET\" }]"),
        ("[gateways.a]\nsecrets = [{ env = \"A\" }]".into(), "gateways.a.devices: is missing"),
        ("[gateways.a]\ndevices = []\nsecrets = [{ env = \"A\" }]".into(), "gateways.a.devices: must name a device"),
        ("[gateways.a]\ndevices = [\"a/*\"]\nsecrets = [{ env = \"A\" }]".into(), "gateways.a.devices[0]: holds '/'"),
        ("[gateways.a]\ndevices = [\"*\"]\nsecrets = [{ env = \"SHORT\" }]".into(), "gateways.a.secrets[0]: the secret is shorter"),
        (format!("[gateways.a]\nzzz = 1\n{good}"), "gateways.a.zzz: is not a known key"),
        (format!("[gateways.\"a b\"]\n{good}"), "gateways.\"a b\": the name holds"),
        (format!("[gateways.a]\n{good}\n[gateways.b]\n{good}"), "gateways.b: has a secret of gateway a"),
        (
            "[integrations.http]\nconnector = \"sigfox\"\nauth = { scheme = \"bearer\", secrets = [{ env = \"A\" }] }".into(),
            "integrations.http: the name is that of the devices of devices_api",
        ),
    ] {
        let told = mistakes(&text);
        assert!(told.starts_with("1 mistake ") && told.contains(wanted), "{text}: {told}");
    }
}
