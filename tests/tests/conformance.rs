//! Every fixture through the real router: the connectors' own, and real payloads where the folder with them is there. Each
//! request is sent three times: with a wrong secret, as it is, and once more.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it passed over"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use app::App;
use app::config::Config;
use axum::body::Body;
use bridge_core::Message;
use bridge_core::ports::{DeadLetterFilter, DeadLetters, Outbox};
use http::{Request, header};
use http_body_util::BodyExt;
use serde_json::Value;
use store_embedded::{EmbeddedStore, Mode};
use tests::world::free_port;
use tower::ServiceExt;

const SECRET: &str = "one-secret-of-the-tests";
/// File, connector, status, kinds of messages, reasons of dead letters, what a copy becomes. Reviewed by hand.
const EXPECTED: &str = include_str!("conformance.tsv");
/// Real payloads, beside the project.
const SHARED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fixtures");
const CONNECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../adapters/webhook/src/connectors");

/// A request at rest.
struct Stored {
    method: String,
    path: String,
    content_type: String,
    body: Vec<u8>,
}

/// What became of it.
#[derive(Debug, PartialEq)]
struct Outcome {
    status: u16,
    kinds: Vec<&'static str>,
    reasons: Vec<&'static str>,
    /// A copy became a message too: nothing in such a request tells two uplinks from two copies of one.
    copied: bool,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |items: &[&str]| if items.is_empty() { "-".to_owned() } else { items.join(",") };
        let copy = if self.copied { "copy kept" } else { "-" };
        write!(f, "{}\t{}\t{}\t{copy}", self.status, list(&self.kinds), list(&self.reasons))
    }
}

/// A bridge without a hub, so that the outbox shows what was accepted; each fixture has a new one.
async fn run(connector: &str, settings: &str, stored: &Stored) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[bridge]\ndata_dir = \"data\"\n[hub]\nurl = \"mqtt://127.0.0.1:{}\"\n\
         [integrations.it]\nconnector = \"{connector}\"\nauth = {{ scheme = \"bearer\", secrets = [{{ env = \"S\" }}] }}\n{settings}",
        free_port()
    );
    let config = Config::parse(&text, folder.path(), &|_| Some(SECRET.to_owned()), &app::connector_infos());
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let app = App::open(&config).await.unwrap();
    let store = EmbeddedStore::open(&folder.path().join("data"), Mode::Tool, 1 << 30).unwrap();
    let send = async |secret: &str| {
        let mut request =
            Request::builder().method(stored.method.as_str()).uri(format!("/webhooks/it{}", stored.path));
        request = request.header(header::AUTHORIZATION, format!("Bearer {secret}"));
        if !stored.content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, &stored.content_type);
        }
        let answer =
            app.router().oneshot(request.body(Body::from(stored.body.clone())).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    };
    let look = async || {
        let entries = store.load(0, 1000).await.unwrap();
        let kinds = entries.iter().map(|entry| Message::from_record(&entry.record).unwrap().kind.as_str());
        let letters = store.list(&DeadLetterFilter::default(), 0, 1000).await.unwrap();
        let reasons = letters.iter().map(|letter| letter.letter.reason.as_str());
        (kinds.collect::<Vec<_>>(), reasons.collect::<Vec<_>>())
    };
    let (refused, _) = send("wrong-secret-of-the-tests").await;
    assert_eq!((refused, look().await), (401, (vec![], vec![])), "nothing is kept of a stranger");
    let (status, first) = send(SECRET).await;
    let (kinds, reasons) = look().await;
    let (again, second) = send(SECRET).await;
    assert_eq!((status, first), (again, second), "a copy gets the same answer");
    let copied = look().await.0.len() > kinds.len();
    Outcome { status, kinds, reasons, copied }
}

fn files(folder: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            found.extend(files(&path).into_iter().map(|(file, path)| (format!("{name}/{file}"), path)));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), path);
        }
    }
    found
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Whose request a shared file is; none when it is not an inbound request of a cloud that we have.
fn connector_of(file: &str) -> Option<&'static str> {
    const NOT_INBOUND: &[&str] = &[
        "api-",
        "downlink-response-",
        "custom-grammar-",
        "devices-list",
        "function-call-",
        "variable-response",
        "webhook-definition",
        "v2-api-",
        "storage-field-mask",
        "chirpstack4-api-",
        "tracker-",
        "typed-publish-",
    ];
    let (folder, name) = file.split_once('/').unwrap();
    let name = name.strip_prefix("composed/").unwrap_or(name);
    if NOT_INBOUND.iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    match folder {
        "ttn" => Some("ttn"),
        "sigfox" => Some("sigfox"),
        "particle" => Some("particle"),
        "other" if name.starts_with("chirpstack4-") => Some("chirpstack"),
        _ => None,
    }
}

/// A shared file as a request: the file is the body, or (`*.request.json`) a description of the request.
fn shared_request(file: &str, path: &Path) -> (Stored, String) {
    if !file.ends_with(".request.json") {
        let event = file.split("chirpstack4-").nth(1).and_then(|rest| rest.split(['-', '.']).next());
        let path_and_query = event.map(|event| format!("?event={event}")).unwrap_or_default();
        let body = std::fs::read(path).unwrap();
        let content_type = "application/json".to_owned();
        return (Stored { method: "POST".into(), path: path_and_query, content_type, body }, String::new());
    }
    let request = read(path);
    let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
    let query = text("url").split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
    let settings = request["line_pattern"].as_str().map(|pattern| {
        let field = if query.contains("data=") { "data" } else { "batch" };
        format!("[integrations.it.settings]\nline_pattern = \"{pattern}\"\nbatch_field = \"{field}\"\n")
    });
    let stored = Stored {
        method: text("method"),
        path: query,
        content_type: text("content_type"),
        body: text("body").into(),
    };
    (stored, settings.unwrap_or_default())
}

#[tokio::test]
async fn real_payloads_become_what_the_table_says() {
    if !Path::new(SHARED).exists() {
        println!("PASSED OVER: the folder with real payloads is not there: {SHARED}");
        return;
    }
    let lines = EXPECTED.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut expected: BTreeMap<&str, &str> = lines.map(|line| line.split_once('\t').unwrap()).collect();
    let mut wrong = Vec::new();
    for folder in ["ttn", "sigfox", "particle", "other"] {
        for (name, path) in files(&Path::new(SHARED).join(folder)) {
            let file = format!("{folder}/{name}");
            let Some(connector) = connector_of(&file) else { continue };
            let (stored, settings) = shared_request(&file, &path);
            let outcome = format!("{connector}\t{}", run(connector, &settings, &stored).await);
            if expected.remove(file.as_str()) != Some(outcome.as_str()) {
                wrong.push(format!("{file}\t{outcome}"));
            }
        }
    }
    assert!(wrong.is_empty(), "not as the table says:\n{}\n", wrong.join("\n"));
    assert!(expected.is_empty(), "in the table and nowhere else: {:?}", expected.keys());
}

#[tokio::test]
async fn own_fixtures_hold_through_the_router() {
    let mut count = 0;
    for connector in ["sigfox", "particle", "ttn", "chirpstack"] {
        for (name, path) in files(&Path::new(CONNECTORS).join(connector).join("fixtures")) {
            let fixture = read(&path);
            let (request, expect) = (&fixture["request"], &fixture["expect"]);
            let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
            let body = match request.get("body") {
                Some(body) => body.to_string(),
                None => text("body_text"),
            };
            let device = request["path_device"].as_str().map(|device| format!("/{}", encoded(device)));
            let query =
                Some(text("query")).filter(|query| !query.is_empty()).map(|query| format!("?{query}"));
            let stored = Stored {
                method: text("method"),
                path: device.unwrap_or_default() + &query.unwrap_or_default(),
                content_type: text("content_type"),
                body: body.into(),
            };
            let outcome = run(connector, &settings_toml(&fixture["settings"]), &stored).await;
            if expect["malformed"] == true {
                assert_eq!(outcome.status, 400, "{connector}/{name}");
            } else {
                assert!((200..300).contains(&outcome.status), "{connector}/{name}: {outcome}");
                let list = |key: &str| expect[key].as_array().map_or(0, Vec::len);
                // Two uplinks of one request may be copies of each other.
                assert!(
                    outcome.kinds.len() + outcome.reasons.len() <= list("uplinks") + list("problems"),
                    "{connector}/{name}"
                );
                assert!(!(outcome.kinds.is_empty() && list("uplinks") > 0), "{connector}/{name}: {outcome}");
            }
            count += 1;
        }
    }
    println!("{count} fixtures");
    assert!(count > 100, "only {count} fixtures were found");
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                (b as char).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

fn settings_toml(settings: &Value) -> String {
    let Some(settings) = settings.as_object() else { return String::new() };
    let lines: Vec<String> = settings.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("[integrations.it.settings]\n{}\n", lines.join("\n"))
}
