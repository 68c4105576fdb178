//! The configuration as a whole: what parses, what does not and how it says so.

mod admin;
mod azure_bridge;
mod coap;
mod credentials;
mod downlink;
mod gateways;
mod in_force;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bridge_core::naming::Case;
use bridge_core::registrar::Register;
use proptest::prelude::*;

use super::*;
use in_force::everything_in_force;

const SECRET: &str = "s3cr3t-s3cr3t-s3cr3t";
const PEM: &str =
    "-----BEGIN CERTIFICATE-----\nczNjcjN0\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n";

fn connectors() -> Vec<ConnectorInfo<'static>> {
    let all: Vec<AuthScheme> = AuthScheme::CHOICES.iter().map(|(_, scheme)| *scheme).collect();
    let info = |name, title, default_prefix, auth| ConnectorInfo {
        name,
        title,
        default_prefix,
        auth,
        settings: Vec::new(),
        downlink: None,
        check: None,
    };
    let mut sigfox = info("sigfox", "Sigfox", "sigfox-", all.clone());
    sigfox.settings = vec![("service", "What all callbacks are."), ("device", "Keys that hold the id.")];
    sigfox.check = Some(Box::new(|settings| {
        let wrong = settings.get("service").filter(|service| service[..] != ["data"]);
        let message = "is not a service".to_owned();
        wrong.map(|_| SettingMistake { key: "service".into(), message }).into_iter().collect()
    }));
    sigfox.downlink = Some(WayDownInfo {
        manner: WayManner::Mailbox { example: "daily_budget = 4" },
        settings: vec![("daily_budget", "Commands a day.")],
        check: Box::new(|url, settings| {
            assert_eq!(url, "");
            let message = "is not a budget".to_owned();
            let wrong = settings.get("daily_budget").filter(|budget| budget[..] != ["4"]);
            wrong.map(|_| SettingMistake { key: "daily_budget".into(), message }).into_iter().collect()
        }),
    });
    let mut particle = info("particle", "Particle", "particle-", all.clone());
    particle.downlink = Some(WayDownInfo {
        manner: WayManner::Api {
            default_url: Some("https://api.example.com"),
            token: "a token",
            announces: Some(&["product"]),
        },
        settings: vec![("product", "What the devices belong to.")],
        check: Box::new(|_, settings| {
            let message = "is not a product".to_owned();
            let wrong = settings
                .get("product")
                .filter(|product| !["bridge", "announced"].contains(&product[0].as_str()));
            wrong.map(|_| SettingMistake { key: "product".into(), message }).into_iter().collect()
        }),
    });
    vec![sigfox, particle, info("ttn", "The Things Stack", "", all[..3].to_vec())]
}

/// Parses in a world with some variables and files.
fn parse(text: &str) -> Result<Config, Mistakes> {
    let surroundings = Surroundings { base_dir: Path::new("/etc/bridge"), env: &env, file: &file };
    Config::parse_in(text, &surroundings, &connectors())
}

fn env(name: &str) -> Option<String> {
    match name {
        "SHORT" => Some("s3cr3t-short\n".into()),
        "BLANK" => Some(format!(" {SECRET}")),
        "EMPTY" => Some("\n".into()),
        "ABSENT" => None,
        _ => Some(format!("{SECRET}-{name}\r\n")),
    }
}

fn file(path: &Path, _limit: usize) -> io::Result<Vec<u8>> {
    match path.strip_prefix("/etc/bridge").ok().and_then(Path::to_str) {
        Some("secrets/farm") => Ok(format!("{SECRET}-farm\n").into_bytes()),
        Some("ca.pem" | "client.pem" | "client.key") => Ok(PEM.into()),
        Some("coap.pem") => Ok(include_bytes!("../../../../tests/fixtures/x509/bridge.pem").into()),
        Some("coap.key") => Ok(include_bytes!("../../../../tests/fixtures/x509/bridge.key").into()),
        Some("p384.key") => Ok(include_bytes!("../../../../tests/fixtures/x509/p384.key").into()),
        Some("devices-ca.pem") => Ok(include_bytes!("../../../../tests/fixtures/x509/ca.pem").into()),
        Some("my-codec.js") => Ok(b"function decodeUplink(input) { return { data: input.bytes } }".into()),
        Some("broken.js") => Ok(b"function decodeUplink(input) {\n  return {".into()),
        Some("other.js") => Ok(b"function convert(input) {}".into()),
        Some("binary") => Ok(vec![0xff; 40]),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn mistakes(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// The one mistake of an integration with these lines.
fn mistake_of_integration(lines: &str) -> String {
    let auth = if lines.contains("auth") {
        ""
    } else {
        "auth = { scheme = \"bearer\", secrets = [{ env = \"A\" }] }\n"
    };
    let text = mistakes(&format!("[integrations.farm]\nconnector = \"sigfox\"\n{auth}{lines}"));
    let (count, mistake) = text.split_once("\n  ").unwrap();
    assert_eq!(count, "1 mistake in the configuration:", "{text}");
    mistake.split_once("integrations.farm.").unwrap().1.to_owned()
}

#[test]
fn an_empty_text_is_the_builtin_configuration() {
    let config = Config::parse("", Path::new(""), &|_| None, &connectors()).unwrap();
    assert_eq!(config, Config::builtin());
    assert_eq!(parse("").unwrap().bridge.data_dir, Path::new("/etc/bridge/device-bridge-data"));
    assert_eq!(parse("[hub]\n[http]\n[integrations]\n").unwrap().integrations, []);
}

#[test]
fn everything_can_be_said() {
    let config = parse(
        r#"
        [bridge]
        name = "north"
        data_dir = "/var/lib/bridge"
        [http]
        listen = "[::]:80"
        public_url = "https://bridge.example.com/"
        trusted_proxies = ["10.0.0.0/8", "::1"]
        [hub]
        url = "mqtts://hub.example.com"
        user = "bridge"
        password = { env = "HUB_PASSWORD" }
        tls = { ca_file = "ca.pem", client_cert_file = "client.pem", client_key_file = "client.key" }
        protocol = "3.1.1"
        encoding = "senml"
        topic_prefix = "acme/north"
        connections.max = 4
        window = 0x40
        max_packet = "1MiB"
        [delivery]
        durability = "disk-first"
        ack_wait = "4s"
        drain_rate = 500
        outbox.max_bytes = "1GiB"
        [dedup]
        window = "2h"
        [integrations.farm]
        connector = "sigfox"
        enabled = false
        body_limit = "16KiB"
        rate = 50
        sources = ["185.110.96.0/22"]
        [integrations.farm.auth]
        scheme = "header"
        header = "Authorization"
        secrets = [{ env = "NEW" }, { file = "secrets/farm" }]
        [integrations.farm.devices]
        register = "park"
        prefix = "sf:"
        case = "keep"
        map = { "1A2B3C" = "tank-7" }
        [integrations.farm.settings]
        service = "data"
        device = ["id", 7, 1.50, true]
        [integrations.alps]
        connector = "ttn"
        auth = { scheme = "basic", user = "ttn", secrets = [{ env = "ALPS" }] }
        "#,
    )
    .unwrap();
    assert_eq!(config.http.base_url(), "https://bridge.example.com");
    assert_eq!(config.bridge.data_dir, Path::new("/var/lib/bridge"));
    let Broker::Remote(remote) = &config.hub.broker else { panic!("{:?}", config.hub.broker) };
    assert_eq!((remote.host.as_str(), remote.port), ("hub.example.com", 8883));
    let credentials = remote.credentials.as_ref().unwrap();
    assert_eq!(credentials.password.as_ref().unwrap().expose(), "s3cr3t-s3cr3t-s3cr3t-HUB_PASSWORD");
    let tls = remote.tls.as_ref().unwrap();
    assert_eq!(tls.ca.as_ref().unwrap().path, Path::new("/etc/bridge/ca.pem"));
    assert_eq!(tls.client.as_ref().unwrap().key.pem.expose(), PEM);
    assert_eq!(config.hub.client_id, "north");
    assert_eq!(config.hub.connections, Connections { min: 1, max: 4 });
    assert_eq!((config.hub.window, config.hub.max_packet), (64, 1 << 20));
    assert_eq!((config.hub.protocol, config.hub.encoding), (Protocol::V311, Encoding::Senml));
    assert_eq!(config.delivery.drain_rate, Some(500));
    assert_eq!(config.delivery.outbox, OutboxBounds { max_messages: 10_000_000, max_bytes: 1 << 30 });
    assert_eq!(config.dedup.window, Duration::from_hours(2));

    let [alps, farm] = &config.integrations[..] else { panic!("{:?}", config.integrations) };
    assert_eq!((farm.name.as_str(), farm.connector, farm.enabled), ("farm", "sigfox", false));
    assert_eq!((farm.body_limit, farm.rate), (Some(16_384), Some(50)));
    assert!(farm.sources[0].contains("185.110.97.3".parse().unwrap()));
    assert_eq!(farm.auth.proof, Proof::Header(::http::header::AUTHORIZATION));
    let secrets: Vec<&str> = farm.auth.secrets.iter().map(Secret::expose).collect();
    assert_eq!(secrets, ["s3cr3t-s3cr3t-s3cr3t-NEW", "s3cr3t-s3cr3t-s3cr3t-farm"]);
    assert_eq!((farm.devices.register, farm.devices.naming.case), (Register::Park, Case::Keep));
    assert_eq!(farm.devices.naming.device_id("1A2B3C").unwrap().as_str(), "tank-7");
    assert_eq!(farm.devices.naming.device_id("1A2B3D").unwrap().as_str(), "sf:1A2B3D");
    let settings = BTreeMap::from([
        ("device".to_owned(), vec!["id".to_owned(), "7".into(), "1.50".into(), "true".into()]),
        ("service".to_owned(), vec!["data".to_owned()]),
    ]);
    assert_eq!(farm.settings, settings);
    assert_eq!(alps.auth.proof, Proof::Basic { user: "ttn".into() });
    assert_eq!((alps.rate, alps.body_limit, alps.devices.register), (None, None, Register::Auto));
    assert_eq!(alps.devices.naming.device_id("EUI-70B3").unwrap().as_str(), "eui-70b3");
}

#[test]
fn every_mistake_is_told_at_once_with_its_place_and_a_suggestion() {
    let text = r#"[brige]
name = "x"

[http]
lisen = "0.0.0.0:80"
header_timeout = 10
max_connections = "many"

[hub]
url = "mqtt://user:hunter2@hub"
encoding = "jsn"
connections = { min = 8, max = 2 }
[hub.tls]
ca_file = "nowhere.pem"

[delivery]
ack_wait = "10s"
outbox = { max_bytes = "4GB" }

[dedup]
window = "72m"

[log]
level = "inof"

[integrations.farm]
connector = "sigfx"
body_limit = 4096
sources = ["185.110.97.0/22", "sigfox.com"]

[integrations.farm.auth]
scheme = "heade"
secrets = [{ env = "ABSENT" }, { file = "nowhere" }, "hunter2hunter2hunter2", { envv = "A" }]

[integrations."my farm"]
connector = "ttn"

[integrations.city]
connector = "sigfox"
auth = { scheme = "bearer", user = "bridge", secrets = [{ env = "SHORT" }] }
settings = { servce = "data", service = "dta" }
devices = { map = { "A" = "one", "B" = "one", "C" = "t/wo" }, register = "parked" }
"#;
    assert_eq!(mistakes(text), GOLDEN);
}

const GOLDEN: &str = r#"31 mistakes in the configuration:
  line 1: brige: is not a known key; did you mean bridge?
  line 5: http.lisen: is not a known key; did you mean listen?
  line 6: http.header_timeout: has no unit; write one of ms, s, m, h, d after the number, in quotes
  line 7: http.max_connections: must be a whole number, not text
  line 10: hub.url: must not hold credentials; they have the keys user and password
  line 11: hub.encoding: "jsn" is not one of "json", "flat", "senml"; did you mean "json"?
  line 12: hub.connections: min (8) is more than max (2)
  line 14: hub.tls.ca_file: there is no such file; a relative path starts at the folder of the configuration
  line 17: delivery.ack_wait: must be "100ms" to "9s"
  line 18: delivery.outbox.max_bytes: has an unknown unit; write one of B, KiB, MiB, GiB, TiB after a whole number
  line 21: dedup.window: must be "75m" to "30d"
  line 24: log.level: must be a level (off, error, warn, info, debug, trace), or levels by part such as "info,mqtt_hub=debug"; did you mean info?
  line 27: integrations.farm.connector: "sigfx" is not one of "sigfox", "particle", "ttn"; did you mean "sigfox"?
  line 28: integrations.farm.body_limit: has no unit; write one of B, KiB, MiB, GiB, TiB after the number, in quotes
  line 29: integrations.farm.sources[0]: has bits set beyond its prefix length; the block is written 185.110.96.0/22
  line 29: integrations.farm.sources[1]: must be a block of IP addresses such as "185.110.96.0/22" or "2001:db8::/32"
  line 32: integrations.farm.auth.scheme: "heade" is not one of "header", "basic", "bearer", "url-token"; did you mean "header"?
  line 33: integrations.farm.auth.secrets[0].env: the environment variable ABSENT is not set (or is not UTF-8)
  line 33: integrations.farm.auth.secrets[1].file: there is no such file; a relative path starts at the folder of the configuration
  line 33: integrations.farm.auth.secrets[2]: a secret does not stand here itself; refer to it: { env = "NAME" } or { file = "path" }
  line 33: integrations.farm.auth.secrets[3]: must name one of env and file: { env = "NAME" } or { file = "path" }
  line 33: integrations.farm.auth.secrets[3].envv: is not a known key; did you mean env?
  line 35: integrations."my farm": the name holds the character ' '; allowed are letters, digits and - _; it stands in the webhook URL
  line 35: integrations."my farm".auth: is missing: every integration must prove a secret; add auth = { scheme = "header", secrets = [{ env = "MY_FARM_SECRET" }] }
  line 40: integrations.city.auth.secrets[0]: the secret is shorter than 16 bytes; make one with: openssl rand -base64 32
  line 40: integrations.city.auth.user: has a meaning only with scheme = "basic"
  line 41: integrations.city.settings.servce: is not a known key; did you mean service?
  line 41: integrations.city.settings.service: is not a service
  line 42: integrations.city.devices.register: "parked" is not one of "auto", "off", "park"; did you mean "park"?
  line 42: integrations.city.devices.map.B: two devices cannot share one id: "A" has it already
  line 42: integrations.city.devices.map.C: holds the character '/'; allowed are letters, digits and - . _ :"#;

#[test]
fn a_mistake_in_one_line_says_what_to_do() {
    for (lines, told) in [
        ("x = 1", "x: is not a known key; known are"),
        ("enabled = 1", "enabled: must be true or false, not a number"),
        ("rate = -1", "rate: must be 0 to 1000000"),
        ("rate = 99999999999999999999", "rate: must be 0 to 1000000"),
        ("sources = \"10.0.0.0/8\"", "sources: must be a list in brackets, not text"),
        ("auth = 1", "auth: must be a table, not a number"),
        ("auth = { scheme = \"bearer\" }", "auth.secrets: is missing"),
        (
            "auth = { secrets = [{ env = \"A\" }] }",
            "auth.scheme: is missing: one of header, basic, bearer, url-token",
        ),
        ("auth = { scheme = \"bearer\", secrets = [] }", "auth.secrets: must hold 1 to 8 secrets"),
        ("auth = { scheme = \"basic\", secrets = [{ env = \"A\" }] }", "auth.user: is missing"),
        (
            "auth = { scheme = \"basic\", user = \"a:b\", secrets = [{ env = \"A\" }] }",
            "auth.user: must not hold colons",
        ),
        (
            "auth = { scheme = \"header\", header = \"a b\", secrets = [{ env = \"A\" }] }",
            "auth.header: must be the name",
        ),
        (
            "auth = { scheme = \"url-token\", parameter = \"a&b\", secrets = [{ env = \"A\" }] }",
            "auth.parameter: must be 1",
        ),
        (
            "auth = { scheme = \"bearer\", header = \"X\", secrets = [{ env = \"A\" }] }",
            "auth.header: has a meaning only with",
        ),
        (
            "auth = { scheme = \"bearer\", secrets = [{ env = \"SHORT\" }] }",
            "auth.secrets[0]: the secret is shorter than 16",
        ),
        (
            "auth = { scheme = \"bearer\", secrets = [{ env = \"BLANK\" }] }",
            "auth.secrets[0]: the secret begins or ends",
        ),
        (
            "auth = { scheme = \"bearer\", secrets = [{ env = \"EMPTY\" }] }",
            "auth.secrets[0]: the secret is empty",
        ),
        (
            "auth = { scheme = \"bearer\", secrets = [{ env = \"A=B\" }] }",
            "auth.secrets[0].env: must be the name of",
        ),
        (
            "auth = { scheme = \"bearer\", secrets = [{ file = \"binary\" }] }",
            "auth.secrets[0].file: the file is not UTF-8",
        ),
        ("devices.prefix = \"a/b\"", "devices.prefix: holds '/'; allowed are letters, digits and - . _ :"),
        (
            "devices.map = { \"a b\" = \"x\", \"c\" = \"x\" }",
            "devices.map.c: two devices cannot share one id: \"a b\" has it",
        ),
        ("devices.map = { \"a b\" = \"x/y\" }", "devices.map.\"a b\": holds the character '/'"),
        ("settings = { servce = \"data\" }", "settings.servce: is not a known key; did you mean service?"),
        ("settings = { service = \"dta\" }", "settings.service: is not a service"),
        ("settings = { device = { a = 1 } }", "settings.device: must be text, a number"),
        ("settings = { device = [2020-01-01] }", "settings.device[0]: must be text, a number"),
    ] {
        let mistake = mistake_of_integration(lines);
        assert!(mistake.starts_with(told), "{lines}: {mistake}");
    }
    let missing = mistakes("[integrations.my-farm]\nconnector = \"ttn\"");
    assert!(missing.contains("line 1: integrations.my-farm.auth: is missing: every integration must prove a secret; add auth = { scheme = \"header\", secrets = [{ env = \"MY_FARM_SECRET\" }] }"), "{missing}");
}

#[test]
fn the_hub_is_one_broker() {
    for (lines, told) in [
        ("url = \"mqtt://a\"\nembedded = {}", "hub.embedded: cannot stand beside url"),
        ("user = \"a\"", "hub.user: has a meaning only with a url"),
        ("url = \"mqtt://a\"\npassword = { env = \"A\" }", "hub.user: is missing"),
        (
            "url = \"mqtt://a\"\nuser = \"a\"\npassword = \"hunter2\"",
            "hub.password: a secret does not stand here",
        ),
        (
            "url = \"mqtt://a\"\ntls = { ca_file = \"ca.pem\" }",
            "hub.tls: has a meaning only with a url that begins with mqtts",
        ),
        (
            "url = \"mqtts://a\"\ntls = { client_key_file = \"client.key\" }",
            "hub.tls.client_cert_file: is missing",
        ),
        (
            "url = \"mqtts://a\"\ntls = { ca_file = \"secrets/farm\" }",
            "hub.tls.ca_file: the file holds no CERTIFICATE",
        ),
        ("protocol = \"5\"", "hub.protocol: must be \"3.1.1\""),
        (
            "embedded.listen = \"127.0.0.1:8080\"",
            "hub: http.listen and hub.embedded.listen cannot be the same",
        ),
        (
            "embedded.listen = \"localhost:1884\"",
            "hub.embedded.listen: must be an IP address and a port, such as \"127.0.0.1:1884\"",
        ),
        ("topic_prefix = \"a/#\"", "hub.topic_prefix: must be at most"),
        ("topic_prefix = \"a/\"", "hub.topic_prefix: must not begin"),
        ("dialect = \"azure\"", "hub.dialect: \"azure\" is not the only choice \"mqtt\""),
        ("keep_alive = \"1s\"", "hub.keep_alive: must be \"5s\" to \"18h\""),
    ] {
        let told_all = mistakes(&format!("[hub]\n{lines}"));
        assert!(told_all.starts_with("1 mistake ") && told_all.contains(told), "{lines}: {told_all}");
        assert!(!told_all.contains("hunter2"));
    }
    assert_eq!(parse("[hub]\nprotocol = \"3.1.1\"").unwrap().hub, parse("").unwrap().hub);
    assert_eq!(parse("[hub]\nurl = \"mqtt://a\"").unwrap().hub.protocol, Protocol::V5);
}

#[test]
fn what_is_not_toml_says_where_and_not_what() {
    let told = mistakes("[http]\nlisten = hunter2\n[hub]\npassword = \"hunter2\nhunter2\n= hunter2");
    assert!(told.starts_with("3 mistakes in the configuration:\n  line 2: not TOML: "), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    let twice = mistakes("[http]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"");
    assert_eq!(twice, "1 mistake in the configuration:\n  line 3: not TOML: duplicate key");
    assert!(mistakes(&"#".repeat(9 << 20)).contains("larger than 8MiB"));
}

#[test]
fn keys_nobody_knows_are_refused_in_every_table() {
    for table in [
        "",
        "bridge",
        "http",
        "hub",
        "hub.embedded",
        "hub.connections",
        "delivery",
        "delivery.outbox",
        "dedup",
        "dead_letters",
        "archive",
        "commands",
        "trace",
        "log",
        "devices_api",
        "azure_bridge",
        "coap",
    ] {
        let header = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
        let told = mistakes(&format!("{header}zzz = 1"));
        assert!(told.contains("zzz: is not a known key"), "{table}: {told}");
    }
    for table in ["devices", "settings"] {
        assert!(
            mistake_of_integration(&format!("{table}.zzz = 1")).contains("zzz: is not a known key"),
            "{table}"
        );
    }
    let auth = "auth = { scheme = \"bearer\", secrets = [{ env = \"A\" }], zzz = 1 }";
    assert!(mistake_of_integration(auth).contains("auth.zzz: is not a known key"));
}

#[test]
fn debug_output_and_mistakes_hold_no_secret() {
    let config = parse(&everything_in_force(&template(&connectors()))).unwrap();
    assert!(config.integrations.len() == 3 && !config.integrations[0].auth.secrets.is_empty());
    let shown = format!("{config:?} {config:#?}");
    assert!(shown.contains("***") && !shown.contains("s3cr3t") && !shown.contains("czNjcjN0"), "{shown}");
}

#[test]
fn mistakes_in_codecs_say_what_to_do() {
    let told = |lines: &str| mistakes(&format!("[codecs.mine]\n{lines}"));
    for (lines, wanted) in [
        ("", "codecs.mine.format: is missing"),
        ("format = \"lua\"", "codecs.mine.format: \"lua\" is not one of \"javascript\""),
        ("format = \"javascript\"", "codecs.mine.file: is missing"),
        ("format = \"javascript\"\nfile = \"nowhere.js\"", "codecs.mine.file: there is no such file"),
        ("format = \"javascript\"\nfile = \"broken.js\"", "line 2"),
        ("format = \"javascript\"\nfile = \"other.js\"", "has none of the functions"),
        ("format = \"sigfox\"\ngrammar = \"a::uint:7\"", "codecs.mine: "),
        ("format = \"cbor\"\ngrammar = \"a::uint:8\"", "codecs.mine.grammar: belongs to format = \"sigfox\""),
        ("format = \"cbor\"\nfields = { a = \"/a\" }", "codecs.mine.fields: belongs to format = \"json\""),
        ("format = \"json\"\nfields = { a = \"a\" }", "codecs.mine: "),
        ("format = \"cbor\"\nothers = \"drop\"", "codecs.mine.others: would drop everything"),
        ("format = \"cbor\"\nmap = [{ to = \"a\" }]", "rule 0: a rule has either \"from\" or \"constant\""),
        (
            "format = \"cbor\"\nmap = [{ from = \"a\", scale = 0 }]",
            "rule 0: \"scale\" is a finite number other than 0",
        ),
        ("format = \"cbor\"\nmap = [{ from = \"a\", time = \"seconds\" }]", "time: belongs to as = \"time\""),
        ("format = \"cbor\"\ntrial_of = \"nobody\"", "trial_of \"nobody\" names no other codec"),
        ("format = \"cbor\"\ntrial_of = \"mine\"", "trial_of \"mine\" names no other codec"),
        (
            "format = \"cbor\"\ndownlinks = { a = { template = \"01 n::uint:7\" } }",
            "downlinks.a.template: at character 12: not a number from 8 to 64",
        ),
        ("format = \"cbor\"\ndownlinks = { a = { port = 3 } }", "downlinks.a.template: is missing"),
        (
            "format = \"cbor\"\ndownlinks = { \"a b\" = { template = \"01\" } }",
            "no command can have this name",
        ),
        (
            "format = \"cbor\"\ndownlinks = { a = { template = \"01\", port = 224 } }",
            "downlinks.a.port: must be 1 to 223",
        ),
        ("format = \"cbor\"\nzzz = 1", "codecs.mine.zzz: is not a known key"),
        ("format = \"cbor\"\nmap = [{ from = \"a\", zzz = 1 }]", "zzz: is not a known key"),
    ] {
        let told = told(lines);
        assert!(told.starts_with("1 mistake ") && told.contains(wanted), "{lines}: {told}");
    }
    assert!(mistake_of_integration("codec = \"nobody\"").contains("there is no codec \"nobody\""));
    assert!(mistake_of_integration("profiles = { a = \"nobody\" }").contains("there is no codec \"nobody\""));
}

#[test]
fn files_are_read_from_the_disk_up_to_their_limit() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), format!("{SECRET}\n")).unwrap();
    std::fs::write(dir.path().join("large"), "s3cr3t".repeat(1000)).unwrap();
    let parse = |file: &str| {
        let auth = format!("auth = {{ scheme = \"bearer\", secrets = [{{ file = {file:?} }}] }}");
        let text = format!("[integrations.a]\nconnector = \"ttn\"\n{auth}");
        Config::parse(&text, dir.path(), &|_| None, &connectors())
    };
    assert_eq!(parse("secret").unwrap().integrations[0].auth.secrets, [Secret::new(SECRET)]);
    let absolute: PathBuf = dir.path().join("secret");
    assert!(parse(absolute.to_str().unwrap()).is_ok());
    assert!(parse("large").unwrap_err().to_string().contains("the file is larger than 4KiB"));
    assert!(parse(".").unwrap_err().to_string().contains("cannot be read"));
}

fn value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        "\"[ -!#-\\[\\]-~]{0,20}\"",
        "\"[0-9]{1,20}(ms|s|m|h|d|KiB|TiB)\"",
        "[\\PC]{0,20}",
        Just("2020-01-01".to_owned()),
    ];
    scalar.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            proptest::collection::vec((key(), inner), 0..4).prop_map(|pairs| {
                let pairs: Vec<String> =
                    pairs.into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
                format!("{{ {} }}", pairs.join(", "))
            }),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    let known = [
        "bridge",
        "http",
        "hub",
        "delivery",
        "dedup",
        "log",
        "integrations",
        "farm",
        "auth",
        "devices",
        "settings",
        "listen",
        "url",
        "tls",
        "embedded",
        "secrets",
        "env",
        "file",
        "scheme",
        "header",
        "map",
        "sources",
        "level",
        "connector",
        "connections",
        "outbox",
        "ack_wait",
        "max_bytes",
        "rate",
        "trusted_proxies",
        "topic_prefix",
    ];
    prop_oneof![4 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "\"\\PC{0,8}\""]
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = parse(&text).map_err(|mistakes| mistakes.to_string());
    }

    #[test]
    fn no_toml_makes_it_panic(lines in proptest::collection::vec((proptest::collection::vec(key(), 1..4), value(), any::<bool>()), 0..12)) {
        let line = |(path, value, is_table): (Vec<String>, String, bool)| match is_table {
            true => format!("[{}]\n", path.join(".")),
            false => format!("{} = {value}\n", path.join(".")),
        };
        let text: String = lines.into_iter().map(line).collect();
        if let Err(mistakes) = parse(&text) {
            prop_assert!(mistakes.iter().count() > 0);
            prop_assert!(mistakes.to_string().lines().count() > 1);
        }
    }

    #[test]
    fn no_damage_to_a_good_text_makes_it_panic(at in 0_usize..20_000, damage in "\\PC{0,4}", cut in 0_usize..40) {
        let text = everything_in_force(&template(&connectors()));
        let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (from, to) = (boundary(at), boundary(at + cut));
        let damaged = format!("{}{damage}{}", &text[..from], &text[to..]);
        let told = parse(&damaged).map_err(|mistakes| mistakes.to_string());
        prop_assert!(!told.as_ref().err().is_some_and(|told| told.contains("s3cr3t")));
    }
}
