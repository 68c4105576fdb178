//! `[coap]`: what can be said, and what is said about mistakes.

use super::*;

#[test]
fn devices_that_speak_coap() {
    assert!(!parse("").unwrap().coap.enabled, "over plain UDP tokens can be read on the way");
    let text = "[coap]\nenabled = true\nlisten = \"[::]:5683\"\nbody_limit = \"4KiB\"\nrate = 5";
    let listen = "[::]:5683".parse().unwrap();
    let wanted = Coap { enabled: true, listen, body_limit: 4096, rate: Some(5) };
    assert_eq!(parse(text).unwrap().coap, wanted);
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
