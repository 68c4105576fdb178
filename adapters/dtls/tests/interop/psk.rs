//! Pre-shared keys with OpenSSL, GnuTLS and libcoap. Not here: certificates.

use std::fmt::Write;

use dtls::{CipherSuite, Config, Event, Identity};

use super::shell::{IDENTITY, KEY, Process, Shell, run};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn serve() -> Shell {
    Shell::start(Config::default(), None, |_| false)
}

fn s_client(server: &Shell, key: &[u8], arguments: &[&str]) -> Process {
    let (to, key) = (server.address.to_string(), hex(key));
    let common = ["s_client", "-dtls1_2", "-connect", &to, "-psk", &key, "-psk_identity", IDENTITY];
    run("openssl", "openssl", &[&common[..], arguments].concat())
}

#[test]
fn openssl_speaks_every_psk_suite() {
    for (name, suite) in [
        ("PSK-AES128-CCM8", CipherSuite::PskAes128Ccm8),
        ("PSK-AES128-CCM", CipherSuite::PskAes128Ccm),
        ("PSK-AES128-GCM-SHA256", CipherSuite::PskAes128GcmSha256),
        ("PSK-AES128-CBC-SHA256", CipherSuite::PskAes128CbcSha256),
    ] {
        let server = serve();
        let mut client = s_client(&server, KEY, &["-cipher", &format!("{name}:@SECLEVEL=0")]);
        client.say("temperature 21");
        assert!(client.wait_for("echo:temperature 21"), "{name}: {}", client.output);
        client.finish();
        let outcome = server.end();
        assert!(
            outcome
                .events
                .iter()
                .any(|event| matches!(event, Event::Connected { suite: chosen, .. } if *chosen == suite))
        );
        assert_eq!(outcome.identities(), [Identity::Psk(IDENTITY.into())]);
    }
}

#[test]
fn openssl_asks_for_small_records() {
    let server = serve();
    let arguments = ["-cipher", "PSK-AES128-CCM8:@SECLEVEL=0", "-maxfraglen", "512"];
    let mut client = s_client(&server, KEY, &arguments);
    client.say("short");
    assert!(client.wait_for("echo:short"), "{}", client.output);
    client.finish();
    assert_eq!(server.end().stats.completed, 1);
}

#[test]
fn openssl_resumes_a_session() {
    let server = serve();
    let file = std::env::temp_dir().join(format!("dtls-session-{}", std::process::id()));
    let file = file.to_str().unwrap();
    for (option, reused) in [("-sess_out", "New, "), ("-sess_in", "Reused, ")] {
        let arguments = ["-cipher", "PSK-AES128-GCM-SHA256:@SECLEVEL=0", option, file];
        let mut client = s_client(&server, KEY, &arguments);
        client.say("again");
        assert!(client.wait_for("echo:again"), "{}", client.output);
        assert!(client.output.contains(reused), "{}", client.output);
        client.finish();
    }
    std::fs::remove_file(file).unwrap();
    assert_eq!(server.end().stats.resumed, 1);
}

#[test]
fn openssl_with_a_wrong_key_is_told_so() {
    let server = serve();
    let client = s_client(&server, b"not-the-key", &["-cipher", "PSK-AES128-CCM8:@SECLEVEL=0"]);
    client.finish();
    let outcome = server.end();
    assert_eq!((outcome.stats.wrong_keys, outcome.stats.completed), (1, 0));
}

#[test]
fn gnutls_speaks_psk() {
    for (cipher, suite) in [
        ("+AES-128-CCM-8:+AEAD", CipherSuite::PskAes128Ccm8),
        ("+AES-128-GCM:+AEAD", CipherSuite::PskAes128GcmSha256),
        ("+AES-128-CBC:+SHA256", CipherSuite::PskAes128CbcSha256),
        // Without extended master secret, as older devices are.
        ("+AES-128-CCM:+AEAD:%NO_SESSION_HASH", CipherSuite::PskAes128Ccm),
    ] {
        let server = serve();
        let port = server.address.port().to_string();
        let key = hex(KEY);
        let priority = format!("NONE:+VERS-DTLS1.2:+PSK:+COMP-NULL:+SIGN-ALL:+GROUP-ALL:{cipher}");
        let arguments = [
            "--udp",
            "-p",
            &port,
            "--pskusername",
            IDENTITY,
            "--pskkey",
            &key,
            "--priority",
            &priority,
            "127.0.0.1",
        ];
        let mut client = run("gnutls-bin", "gnutls-cli", &arguments);
        assert!(client.wait_for("Handshake was completed"), "{cipher}: {}", client.output);
        client.say("humidity 48");
        assert!(client.wait_for("echo:humidity 48"), "{cipher}: {}", client.output);
        drop(client);
        let outcome = server.end();
        assert!(
            outcome
                .events
                .iter()
                .any(|event| matches!(event, Event::Connected { suite: chosen, .. } if *chosen == suite))
        );
    }
}

#[test]
fn libcoap_asks_over_both_of_its_libraries_also_when_datagrams_are_lost() {
    for program in ["coap-client-openssl", "coap-client-gnutls"] {
        // Which of its datagrams the client does not send; it never comes to the thousandth.
        for lost in ["1000", "1,3,6"] {
            let server = serve();
            let uri = format!("coaps://{}/test", server.address);
            let key = std::str::from_utf8(KEY).unwrap();
            let arguments = ["-k", key, "-u", IDENTITY, "-l", lost, "-B", "25", &uri];
            let client = run("libcoap3-bin", program, &arguments);
            let output = client.finish();
            let outcome = server.end();
            assert!(output.contains("from the bridge"), "{program} without {lost}: {output} {outcome:?}");
            assert_eq!(outcome.identities(), [Identity::Psk(IDENTITY.into())]);
        }
    }
}

#[test]
fn libcoap_with_a_wrong_key_does_not_get_in() {
    let server = serve();
    let uri = format!("coaps://{}/test", server.address);
    let client =
        run("libcoap3-bin", "coap-client-openssl", &["-k", "wrong", "-u", IDENTITY, "-B", "3", &uri]);
    let output = client.finish();
    let outcome = server.end();
    assert!(!output.contains("from the bridge"));
    assert!(outcome.stats.wrong_keys >= 1 && outcome.stats.completed == 0);
}
