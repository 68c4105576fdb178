//! `[coap]`: what can be said, and what is said about mistakes.

use super::*;

#[test]
fn devices_that_speak_coap() {
    assert!(!parse("").unwrap().coap.enabled, "over plain UDP tokens can be read on the way");
    let text = "[coap]\nenabled = true\nlisten = \"[::]:5683\"\nbody_limit = \"4KiB\"\nrate = 5";
    let listen = "[::]:5683".parse().unwrap();
    let wanted = Coap { enabled: true, listen, body_limit: 4096, rate: Some(5), ..Coap::default() };
    assert_eq!(parse(text).unwrap().coap, wanted);
}

#[test]
fn streams_are_served_beside_datagrams_or_without_them() {
    let config = parse("").unwrap().coap;
    assert_eq!((config.tcp, config.tls.is_none(), config.is_served()), (None, true, false));
    let config = parse("[coap]\ntcp = \"[::]:5683\"").unwrap().coap;
    assert_eq!((config.tcp, config.enabled, config.is_served()), ("[::]:5683".parse().ok(), false, true));
    let tls = |more: &str| format!("[coap]\ntls = {{ listen = \"[::]:5684\"{more} }}");
    let both = ", cert_file = \"client.pem\", key_file = \"client.key\"";
    let config = parse(&tls(both)).unwrap().coap.tls.unwrap();
    assert_eq!((config.listen.port(), config.client_authorities), (5684, None));
    let config = parse(&tls(&format!("{both}, client_ca_file = \"ca.pem\""))).unwrap().coap.tls.unwrap();
    assert!(config.client_authorities.is_some());
    assert!(parse("[coap]\nws = \"[::]:8683\"").unwrap().coap.is_served());
    let wss = tls(both).replace("tls =", "wss =");
    assert!(parse(&wss).unwrap().coap.is_served());
    let equal = format!("{}\n{}", tls(both), wss.trim_start_matches("[coap]\n"));
    for (text, wanted) in [
        (equal, "coap.tls.listen and coap.wss.listen cannot be the same"),
        (tls(""), "coap.tls.cert_file: is missing"),
        (tls(", cert_file = \"client.pem\""), "coap.tls.key_file: is missing"),
        ("[coap]\nwss = { listen = \"[::]:8684\" }".into(), "coap.wss.cert_file: is missing"),
        ("[coap]\nws = \"/coap\"".into(), "coap.ws: must be an IP address and a port"),
        ("[coap]\nws = \"[::]:7\"\ntcp = \"[::]:7\"".into(), "coap.tcp and coap.ws cannot be the same"),
        ("[coap]\ntcp = \"5683\"".into(), "coap.tcp: must be an IP address and a port"),
        (format!("{}\ntcp = \"[::]:5684\"", tls(both)), "coap.tcp and coap.tls.listen cannot be the same"),
        ("[coap]\ntcp = \"127.0.0.1:7\"\n[http]\nlisten = \"127.0.0.1:7\"".into(), "cannot be the same"),
    ] {
        let told = mistakes(&text);
        assert!(told.contains(wanted), "{text}: {told}");
    }
}

#[test]
fn dtls_needs_a_key_for_keys() {
    assert_eq!(parse("").unwrap().coap.dtls, None);
    let text =
        "[secrets]\nkeys = [{ env = \"THE_SEAL_KEY\" }]\n[coap]\ndtls = { listen = \"[::]:5684\", node = 7 }";
    let config = parse(text).unwrap();
    let listen = "[::]:5684".parse().unwrap();
    let dtls = Dtls { listen, node: 7, key: None, certificate: None, client_authorities: None };
    assert_eq!((config.coap.enabled, config.coap.dtls), (false, Some(dtls)));
    for (text, wanted) in [
        ("[coap]\ndtls = { listen = \"[::]:5684\" }", "coap.dtls: needs a key under which"),
        ("[coap]\ndtls = { node = 1 }", "coap.dtls.listen: is missing"),
        ("[coap]\ndtls = { listen = \"[::]:5684\", node = 256 }", "coap.dtls.node: must be"),
        (
            "[coap]\nenabled = true\nlisten = \"[::]:1\"\ndtls = { listen = \"[::]:1\" }",
            "cannot be the same address",
        ),
    ] {
        let told = mistakes(text);
        assert!(told.contains(wanted), "{text}: {told}");
    }
}

#[test]
fn dtls_has_a_key_on_p_256() {
    let dtls = |more: &str| {
        let keys = "[secrets]\nkeys = [{ env = \"THE_SEAL_KEY\" }]";
        format!("{keys}\n[coap]\ndtls = {{ listen = \"[::]:5684\", {more} }}")
    };
    for more in [
        "key_file = \"coap.key\"",
        "key_file = \"coap.key\", cert_file = \"coap.pem\"",
        "key_file = \"coap.key\", client_ca_file = \"devices-ca.pem\"",
    ] {
        let config = parse(&dtls(more)).unwrap().coap.dtls.unwrap();
        assert!(matches!(config.own_key(), Ok(Some(_))), "{more}");
    }
    for (more, wanted) in [
        ("cert_file = \"coap.pem\"", "coap.dtls.cert_file: needs key_file"),
        ("client_ca_file = \"devices-ca.pem\"", "coap.dtls.client_ca_file: needs key_file"),
        ("key_file = \"p384.key\"", "coap.dtls.key_file: must hold an ECDSA private key on P-256"),
        ("key_file = \"coap.pem\"", "coap.dtls.key_file: the file holds no PRIVATE KEY"),
        (
            "key_file = \"coap.key\", cert_file = \"devices-ca.pem\"",
            "coap.dtls.cert_file: must hold certificates in PEM form, the first one for the private key",
        ),
        (
            "key_file = \"coap.key\", client_ca_file = \"ca.pem\"",
            "coap.dtls.client_ca_file: must hold certificates of authorities",
        ),
    ] {
        let told = mistakes(&dtls(more));
        assert!(told.contains(wanted) && told.starts_with("1 mistake"), "{more}: {told}");
    }
}

#[test]
fn mistakes_in_coap_say_what_to_do() {
    for (text, wanted) in [
        ("[coap]\nlisten = \"5683\"", "coap.listen: must be an IP address and a port"),
        ("[coap]\nbody_limit = \"1GiB\"", "coap.body_limit: must be"),
        ("[coap]\nrate = -1", "coap.rate: must be"),
        ("[coap]\nenable = true", "enable: is not a known key; did you mean enabled?"),
        (
            "[integrations.coap]\nconnector = \"sigfox\"\nauth = { scheme = \"bearer\", secrets = [{ env = \"A\" }] }",
            "integrations.coap: the name is that of the counters of coap",
        ),
    ] {
        let told = mistakes(text);
        assert!(told.contains(wanted), "{text}: {told}");
    }
}
