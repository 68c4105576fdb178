//! `[coap]`: what can be said, and what is said about mistakes.

use super::*;

#[test]
fn devices_that_speak_coap() {
    assert!(!parse("").unwrap().coap.enabled, "over plain UDP tokens can be read on the way");
    let text = "[coap]\nenabled = true\nlisten = \"[::]:5683\"\nbody_limit = \"4KiB\"\nrate = 5";
    let listen = "[::]:5683".parse().unwrap();
    let wanted = Coap { enabled: true, listen, body_limit: 4096, rate: Some(5), dtls: None };
    assert_eq!(parse(text).unwrap().coap, wanted);
}

#[test]
fn dtls_needs_a_key_for_keys() {
    assert_eq!(parse("").unwrap().coap.dtls, None);
    let text =
        "[secrets]\nkeys = [{ env = \"THE_SEAL_KEY\" }]\n[coap]\ndtls = { listen = \"[::]:5684\", node = 7 }";
    let config = parse(text).unwrap();
    let listen = "[::]:5684".parse().unwrap();
    assert_eq!((config.coap.enabled, config.coap.dtls), (false, Some(Dtls { listen, node: 7 })));
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
