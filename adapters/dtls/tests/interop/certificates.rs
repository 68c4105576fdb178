//! ECDHE with ECDSA: X.509 with OpenSSL and GnuTLS, raw public keys with GnuTLS. Not here: pre-shared keys.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use dtls::{CipherSuite, Config, Credential, Event, Identity};

use super::shell::{Outcome, Process, Shell, run};

/// Keys and certificates that OpenSSL makes for one test; the folder goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("dtls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let folder = Folder(path);
        for ca in ["ca", "stranger"] {
            folder.key(ca);
            let subject = format!("/CN={ca}");
            let key = format!("{ca}.key");
            let cert = format!("{ca}.pem");
            folder.openssl(&[
                "req", "-x509", "-new", "-key", &key, "-subj", &subject, "-days", "30", "-out", &cert,
            ]);
        }
        for (name, ca) in [("server", "ca"), ("device", "ca"), ("thief", "stranger")] {
            folder.key(name);
            folder.certify(name, ca);
        }
        folder
    }

    fn key(&self, name: &str) {
        let curve = "ec_paramgen_curve:P-256";
        let key = format!("{name}.key");
        self.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", curve, "-out", &key]);
        self.openssl(&["pkey", "-in", &key, "-pubout", "-out", &format!("{name}.pub")]);
        self.openssl(&[
            "pkcs8",
            "-topk8",
            "-nocrypt",
            "-in",
            &key,
            "-outform",
            "DER",
            "-out",
            &format!("{name}.p8"),
        ]);
    }

    fn certify(&self, name: &str, ca: &str) {
        let (key, request, subject) = (format!("{name}.key"), format!("{name}.csr"), format!("/CN={name}"));
        self.openssl(&["req", "-new", "-key", &key, "-subj", &subject, "-out", &request]);
        std::fs::write(
            self.path("ext"),
            "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n",
        )
        .unwrap();
        let (ca, ca_key, cert) = (format!("{ca}.pem"), format!("{ca}.key"), format!("{name}.pem"));
        let sign = [
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-days",
            "30",
        ];
        self.openssl(&[&sign[..], &["-extfile", "ext", "-out", &cert]].concat());
    }

    fn openssl(&self, arguments: &[&str]) {
        let status = Command::new("openssl")
            .args(arguments)
            .current_dir(&self.0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("openssl is missing: install the Debian package openssl");
        assert!(status.success(), "openssl {arguments:?} failed");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn der(&self, name: &str) -> Bytes {
        let out = format!("{name}.der");
        self.openssl(&["x509", "-in", &format!("{name}.pem"), "-outform", "DER", "-out", &out]);
        read(&self.path(&out))
    }

    fn credential(&self) -> Credential {
        Credential::new(&read(&self.path("server.p8")))
            .unwrap()
            .with_chain(vec![self.der("server")])
            .unwrap()
            .with_trust_anchors(&[self.der("ca")])
            .unwrap()
            .with_raw_public_keys()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The system cleans up what this cannot.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read(path: &Path) -> Bytes {
    Bytes::from(std::fs::read(path).unwrap())
}

fn s_client(folder: &Folder, server: &Shell, who: &str, cipher: &str) -> Process {
    let to = server.address.to_string();
    let (cert, key, ca) =
        (folder.text(&format!("{who}.pem")), folder.text(&format!("{who}.key")), folder.text("ca.pem"));
    let cipher = format!("{cipher}:@SECLEVEL=0");
    let common = ["s_client", "-dtls1_2", "-connect", &to, "-cert", &cert, "-key", &key, "-CAfile", &ca];
    run(
        "openssl",
        "openssl",
        &[&common[..], &["-verify_return_error", "-cipher", &cipher, "-mtu", "300"]].concat(),
    )
}

fn chose(outcome: &Outcome, suite: CipherSuite) -> bool {
    outcome
        .events
        .iter()
        .any(|event| matches!(event, Event::Connected { suite: chosen, .. } if *chosen == suite))
}

#[test]
fn openssl_proves_itself_by_certificate() {
    let folder = Folder::new("x509");
    for (name, suite) in [
        ("ECDHE-ECDSA-AES128-CCM8", CipherSuite::EcdheEcdsaAes128Ccm8),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", CipherSuite::EcdheEcdsaAes128GcmSha256),
    ] {
        // Both sides cut their certificates into pieces.
        let config = Config { handshake_mtu: 256, ..Config::default() };
        let server = Shell::start(config, Some(folder.credential()), |_| true);
        let mut client = s_client(&folder, &server, "device", name);
        client.say("pressure 1013");
        assert!(client.wait_for("echo:pressure 1013"), "{name}: {}", client.output);
        client.finish();
        let outcome = server.end();
        assert!(chose(&outcome, suite));
        assert_eq!(outcome.identities(), [Identity::Certificate(folder.der("device"))]);
    }
}

#[test]
fn certificates_that_lead_nowhere_or_are_not_wanted_are_refused() {
    let folder = Folder::new("refused");
    for (who, accept) in [("thief", true), ("device", false)] {
        let server = Shell::start(
            Config::default(),
            Some(folder.credential()),
            if accept { |_| true } else { |_| false },
        );
        let client = s_client(&folder, &server, who, "ECDHE-ECDSA-AES128-GCM-SHA256");
        client.finish();
        let outcome = server.end();
        assert_eq!((outcome.stats.certificates_refused, outcome.stats.completed), (1, 0), "{who}");
    }
    // No certificate at all.
    let server = Shell::start(Config::default(), Some(folder.credential()), |_| true);
    let to = server.address.to_string();
    let arguments = ["s_client", "-dtls1_2", "-connect", &to, "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"];
    run("openssl", "openssl", &arguments).finish();
    let outcome = server.end();
    assert_eq!((outcome.stats.certificates_refused, outcome.stats.completed), (1, 0));
}

#[test]
fn gnutls_proves_itself_by_raw_public_key() {
    let folder = Folder::new("rpk");
    let server = Shell::start(Config::default(), Some(folder.credential()), |_| true);
    let port = server.address.port().to_string();
    let (key, public) = (folder.text("device.key"), folder.text("device.pub"));
    let priority = "NONE:+VERS-DTLS1.2:+ECDHE-ECDSA:+AES-128-GCM:+AEAD:+COMP-NULL:+SIGN-ECDSA-SHA256:\
                    +GROUP-SECP256R1:+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK";
    let arguments = [
        "--udp",
        "-p",
        &port,
        "--rawpkkeyfile",
        &key,
        "--rawpkfile",
        &public,
        "--insecure",
        "--no-ca-verification",
        "--priority",
        priority,
        "127.0.0.1",
    ];
    let mut client = run("gnutls-bin", "gnutls-cli", &arguments);
    assert!(client.wait_for("Handshake was completed"), "{}", client.output);
    client.say("voltage 3.1");
    assert!(client.wait_for("echo:voltage 3.1"), "{}", client.output);
    drop(client);
    let outcome = server.end();
    let out = ["pkey", "-pubin", "-in", "device.pub", "-pubout", "-outform", "DER", "-out", "device.spki"];
    folder.openssl(&out);
    assert_eq!(outcome.identities(), [Identity::PublicKey(read(&folder.path("device.spki")))]);
}
