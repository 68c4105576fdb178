//! `[secrets]`, `[devices_api.client_certificates]` and certificates of gateways.

use http_api::{CertificateDevice, CertificateForm};

use super::*;

#[test]
fn keys_and_certificates() {
    let config = parse(
        r#"
        [secrets]
        keys = [{ env = "THE_NEW_SEAL_KEY" }, { env = "THE_OLD_SEAL_KEY" }]
        [devices_api.client_certificates]
        proxies = ["127.0.0.1", "10.0.0.0/8"]
        header = "X-SSL-Client-S-DN"
        form = "plain"
        device = "common-name"
        [gateways.plant-7]
        secrets = [{ env = "NEW" }]
        devices = ["plant-7-*"]
        certificates = ["AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB"]
        "#,
    )
    .unwrap();
    assert_eq!(config.secrets.keys.len(), 2);
    let keys = config.secrets.seal_keys().unwrap();
    assert!(keys.is_current(&keys.seal(b"x", "y", [0; 12]).unwrap()));
    let certificates = config.devices_api.client_certificates.unwrap();
    assert_eq!(certificates.header, "x-ssl-client-s-dn");
    assert_eq!(
        (certificates.form, certificates.device),
        (CertificateForm::Plain, CertificateDevice::CommonName)
    );
    assert_eq!(certificates.proxies.len(), 2);
    assert_eq!(config.gateways[0].certificates, [[0xab; 32]]);

    let builtin = parse("").unwrap();
    assert!(builtin.secrets.seal_keys().is_none() && builtin.devices_api.client_certificates.is_none());
}

#[test]
fn mistakes_in_keys_and_certificates_say_what_to_do() {
    let certificates = |lines: &str| format!("[devices_api.client_certificates]\n{lines}");
    let gateway = |name: &str, certificate: &str| {
        format!(
            "[gateways.{name}]\nsecrets = [{{ env = \"{name}\" }}]\ndevices = [\"*\"]\ncertificates = [\"{certificate}\"]\n"
        )
    };
    let good = "00".repeat(32);
    for (text, wanted) in [
        (
            "[secrets]\nkeys = [\"in the clear\"]".to_owned(),
            "secrets.keys[0]: a secret does not stand here itself",
        ),
        ("[secrets]\nkeys = [{ env = \"A\" }]".into(), "secrets.keys[0]: the key is shorter than 32 bytes"),
        (
            "[secrets]\nkeys = [{ env = \"THE_SEAL_KEY\" }, { env = \"THE_SEAL_KEY\" }]".into(),
            "secrets.keys[1]: the key is there twice",
        ),
        ("[secrets]\nkey = []".into(), "secrets.key: is not a known key; did you mean keys?"),
        (certificates("form = \"xfcc\""), "client_certificates.proxies: is missing"),
        (certificates("proxies = []"), "client_certificates.proxies: must name a proxy"),
        (certificates("proxies = [\"proxy\"]"), "client_certificates.proxies[0]"),
        (
            certificates("proxies = [\"::1\"]\nheader = \"a b\""),
            "client_certificates.header: must be the name of a header",
        ),
        (
            certificates("proxies = [\"::1\"]\nform = \"der\""),
            "client_certificates.form: \"der\" is not one of",
        ),
        (
            certificates("proxies = [\"::1\"]\nform = \"pem\"\ndevice = \"common-name\""),
            "client_certificates.device: with form = \"pem\"",
        ),
        (certificates("proxies = [\"::1\"]\nzzz = 1"), "client_certificates.zzz: is not a known key"),
        (gateway("a", "00"), "gateways.a.certificates[0]: the fingerprint is not SHA-256"),
        (gateway("a", &good) + &gateway("b", &good), "gateways.b: has a certificate of gateway a"),
    ] {
        let told = mistakes(&text);
        assert!(told.starts_with("1 mistake ") && told.contains(wanted), "{text}: {told}");
        assert!(!told.contains("s3cr3t") && !told.contains("in the clear"), "{told}");
    }
}

#[test]
fn an_integration_and_its_devices_have_rates() {
    let text = |rates: &str| {
        format!(
            "[integrations.farm]\nconnector = \"ttn\"\n{rates}\n\
             auth = {{ scheme = \"bearer\", secrets = [{{ env = \"A\" }}] }}"
        )
    };
    let rates = |lines: &str| {
        let config = parse(&text(lines)).unwrap();
        (config.integrations[0].rate, config.integrations[0].device_rate)
    };
    assert_eq!(rates("rate = 50\ndevice_rate = 2"), (Some(50), Some(2)));
    assert_eq!(rates("device_rate = 0"), (None, None));
    for wrong in ["device_rate = -1", "device_rate = \"2\""] {
        assert!(mistakes(&text(wrong)).contains("farm.device_rate: must be"), "{wrong}");
    }
}
