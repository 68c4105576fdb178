//! The real bridge in this process, with the hub down, so that every accepted uplink can be looked at in the outbox. Not
//! here: what is asserted.

use std::net::SocketAddr;

use app::App;
use app::config::{Config, Mistakes};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bridge_core::Message;
use bridge_core::ports::{DeadLetter, DeadLetterFilter, DeadLetters, Outbox};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use store_embedded::{EmbeddedStore, Mode};
use tower::ServiceExt;

use crate::world::free_port;

/// What every integration wants in `X-Secret`.
pub const SECRET: &str = "one-secret-of-the-tests";
/// Or this.
pub const NEXT_SECRET: &str = "the-next-secret-of-the-tests";

/// A bridge in this process, with its store open beside it.
pub struct Bridge {
    /// Its configuration's and its data's folder.
    pub folder: tempfile::TempDir,
    /// None once it is drained.
    pub app: Option<App>,
    /// Its routes.
    pub router: Router,
    /// Its routes for operators, on a listener of their own.
    pub admin: Router,
    /// What it keeps.
    pub store: EmbeddedStore,
}

/// An answer, read to its end.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

impl Bridge {
    /// Four integrations named like their connectors, all with the same header secrets; `more` is added to the text.
    pub async fn with(more: &str) -> Self {
        Self::in_folder_with(tempfile::tempdir().unwrap(), more, "").await
    }

    /// The same in a folder that holds files of the configuration, with lines for the integration `ttn`.
    pub async fn in_folder_with(folder: tempfile::TempDir, more: &str, ttn: &str) -> Self {
        let config = config(&folder, more, ttn).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let app = App::open(&config).await.unwrap();
        let store = EmbeddedStore::open(&folder.path().join("data"), Mode::Tool, 1 << 30).unwrap();
        Self { router: app.router(), admin: app.admin_router(), app: Some(app), folder, store }
    }

    /// What its configuration would be with other lines, and the files as they are now.
    ///
    /// # Errors
    /// Its mistakes.
    pub fn reconfigured(&self, more: &str, ttn: &str) -> Result<Config, Mistakes> {
        config(&self.folder, more, ttn)
    }

    /// No more than that.
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// The token of the command line.
    pub fn operator_token(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("data/operator.token")).unwrap()
    }

    /// Sends a request to the listener of its path; a refusal must be a problem in JSON.
    pub async fn send(&self, mut request: Request<Body>) -> Answer {
        let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 4242)));
        request.extensions_mut().get_or_insert(peer);
        let is_admin = request.uri().path().starts_with("/admin/");
        let router = if is_admin { &self.admin } else { &self.router };
        let answer = router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        };
        if answer.status.is_client_error() || answer.status.is_server_error() {
            assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
            let problem: Value = serde_json::from_str(&answer.body).unwrap();
            assert!(problem["type"].as_str().unwrap().starts_with("urn:device-bridge:problem:"));
            assert_eq!(problem["status"], answer.status.as_u16());
        }
        answer
    }

    /// Posts JSON to an integration.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(request(path, "application/json", body.to_string())).await
    }

    /// The same; it must be accepted with an empty body.
    pub async fn accept(&self, path: &str, body: &Value) {
        let answer = self.post(path, body).await;
        assert!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.body);
        assert_eq!(answer.body, "", "particle publishes answers to devices");
    }

    /// What waits in the outbox.
    pub async fn messages(&self) -> Vec<Message> {
        let entries = self.store.load(0, 10_000).await.unwrap();
        entries.iter().map(|entry| Message::from_record(&entry.record).unwrap()).collect()
    }

    /// What is dead.
    pub async fn letters(&self) -> Vec<DeadLetter> {
        self.store.list(&DeadLetterFilter::default(), 0, 10_000).await.unwrap()
    }

    /// Everything in the data directory, as bytes.
    pub async fn everything_stored(mut self) -> Vec<u8> {
        if let Some(app) = self.app.take() {
            app.drain().await;
        }
        let folder = self.folder.path().join("data");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files
            .filter(|path| !path.ends_with("operator.token"))
            .flat_map(|path| std::fs::read(path).unwrap())
            .collect()
    }
}

fn config(folder: &tempfile::TempDir, more: &str, ttn: &str) -> Result<Config, Mistakes> {
    let mut text =
        format!("[bridge]\ndata_dir = \"data\"\n[hub]\nurl = \"mqtt://127.0.0.1:{}\"\n{more}\n", free_port());
    for (name, lines) in [("sigfox", ""), ("particle", ""), ("ttn", ttn), ("chirpstack", "")] {
        text += &format!(
            "[integrations.{name}]\nconnector = \"{name}\"\nauth = {{ scheme = \"header\", header = \"X-Secret\", \
                 secrets = [{{ env = \"ONE\" }}, {{ env = \"NEXT\" }}] }}\n{lines}\n"
        );
    }
    let env = |name: &str| match name {
        "ONE" => Some(SECRET.to_owned()),
        "NEXT" => Some(NEXT_SECRET.to_owned()),
        _ => None,
    };
    Config::parse(&text, folder.path(), &env, &app::connector_infos())
}

/// A request to an integration.
pub fn request(path: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(format!("/webhooks/{path}"))
        .header("X-Secret", SECRET)
        .header(header::CONTENT_TYPE, content_type)
        .body(body.into())
        .unwrap()
}
