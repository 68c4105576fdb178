//! The resources that the plugtest cases name, and what they answer. Not here: who observes them, blocks, exchanges.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use coap_proto::link_format::{LINK_FORMAT, Link, render};
use coap_proto::{Code, Request, Response, number};

const TEXT: u16 = 0;
const XML: u16 = 41;
/// Longer than an acknowledgement waits.
const SLOW: Duration = Duration::from_millis(1500);
/// Observed, each with whether its notifications are confirmable.
const OBSERVABLE: &[(&str, bool)] =
    &[("obs", true), ("obs-non", false), ("obs-large", true), ("obs-pumping", true)];

/// What is answered to a request.
pub(crate) struct Reply {
    pub(crate) response: Response,
    /// How long it takes.
    pub(crate) wait: Option<Duration>,
    /// The resource that is another one now.
    pub(crate) changed: Option<String>,
}

struct Stored {
    format: u16,
    body: Bytes,
    version: u32,
}

pub(crate) struct Resources {
    stored: BTreeMap<String, Stored>,
    /// How often what is observed has changed by itself.
    ticks: u32,
}

impl Resources {
    pub(crate) fn new() -> Self {
        let mut resources = Self { stored: BTreeMap::new(), ticks: 0 };
        for (path, body) in [
            ("test", "a test".to_owned()),
            ("seg1/seg2/seg3", "three segments".to_owned()),
            ("validate", "first".to_owned()),
            ("large", lines(1280)),
            ("large-update", lines(1280)),
            ("link1", "one".to_owned()),
            ("link2", "two".to_owned()),
            ("link3", "three".to_owned()),
            ("path/sub1", "below".to_owned()),
            ("obs", "state".to_owned()),
            ("obs-non", "state".to_owned()),
            ("obs-large", lines(1280)),
            ("obs-pumping", lines(1280)),
        ] {
            resources.put(path, TEXT, body.into());
        }
        resources
    }

    pub(crate) fn is_observable(path: &str) -> bool {
        OBSERVABLE.iter().any(|(observable, _)| *observable == path)
    }

    /// What is observed changes; the paths.
    pub(crate) fn tick(&mut self) -> impl Iterator<Item = &'static str> + use<> {
        self.ticks += 1;
        OBSERVABLE.iter().map(|(path, _)| *path)
    }

    /// What is observed, and whether that goes in confirmable messages.
    pub(crate) fn state(&self, path: &str) -> (Response, bool) {
        let confirmable =
            OBSERVABLE.iter().any(|(observable, confirmable)| *observable == path && *confirmable);
        (self.get(path), confirmable)
    }

    pub(crate) fn answer(&mut self, path: &str, request: &Request) -> Reply {
        let response = match (request.code, path) {
            (Code::GET, "query") => Response::content(TEXT, request.query().collect::<Vec<_>>().join("&")),
            (Code::GET, "separate") => {
                let response = Response::content(TEXT, "slow");
                return Reply { response, wait: Some(SLOW), changed: None };
            }
            (Code::GET, "multi-format") => match request.negotiate(&[TEXT, XML]) {
                Err(refusal) => refusal,
                Ok(Some(XML)) => Response::content(XML, "<text/>"),
                Ok(_) => Response::content(TEXT, "text"),
            },
            (Code::GET, "path") => Response::content(LINK_FORMAT, render(&[Link::new("/path/sub1")], [])),
            (Code::GET, _) => self.get(path),
            (Code::PUT, _) => return self.take(path, request),
            (Code::DELETE, _) => {
                self.stored.remove(path);
                let changed = Some(path.to_owned());
                return Reply { response: Response::new(Code::DELETED), wait: None, changed };
            }
            (Code::POST, "test") => ["location1", "location2", "location3"]
                .into_iter()
                .fold(Response::new(Code::CREATED), |so_far, part| so_far.with(number::LOCATION_PATH, part)),
            (Code::POST, "location-query") => ["first=1", "second=2"]
                .into_iter()
                .fold(Response::new(Code::CREATED), |so_far, part| so_far.with(number::LOCATION_QUERY, part)),
            (Code::POST, "large-create") => {
                self.put("large-create/1", format(request), request.body.clone());
                ["large-create", "1"].into_iter().fold(Response::new(Code::CREATED), |so_far, part| {
                    so_far.with(number::LOCATION_PATH, part)
                })
            }
            (Code::POST, "large-post") => {
                let body = request.body.to_ascii_uppercase();
                Response::new(Code::CHANGED).with_uint(number::CONTENT_FORMAT, TEXT.into()).with_body(body)
            }
            _ => Response::error(Code::METHOD_NOT_ALLOWED, "no such method here"),
        };
        Reply { response, wait: None, changed: None }
    }

    fn get(&self, path: &str) -> Response {
        let Some(Stored { format, body, version }) = self.stored.get(path) else {
            return Response::error(Code::NOT_FOUND, "no such resource");
        };
        if !Self::is_observable(path) {
            return Response::content(*format, body.clone()).with_etag(version.to_be_bytes().to_vec());
        }
        let number = format!(" {}\n", self.ticks);
        let body = match path {
            // Now long, now short.
            "obs-pumping" if self.ticks % 2 == 1 => Bytes::from(number),
            _ => Bytes::from([&body[..], number.as_bytes()].concat()),
        };
        // A client that hears nothing for that long knows that it is not observing.
        Response::content(*format, body).with_uint(number::MAX_AGE, 5)
    }

    fn take(&mut self, path: &str, request: &Request) -> Reply {
        let version = self.stored.get(path).map(|stored| stored.version.to_be_bytes());
        let response = match request.preconditions(version.as_ref().map(|tag| &tag[..])) {
            Err(refusal) => refusal,
            Ok(()) => {
                self.put(path, format(request), request.body.clone());
                let code = if version.is_none() { Code::CREATED } else { Code::CHANGED };
                let changed = Some(path.to_owned());
                return Reply { response: Response::new(code), wait: None, changed };
            }
        };
        Reply { response, wait: None, changed: None }
    }

    fn put(&mut self, path: &str, format: u16, body: Bytes) {
        let version = self.stored.get(path).map_or(1, |stored| stored.version + 1);
        self.stored.insert(path.to_owned(), Stored { format, body, version });
    }
}

/// What discovery shows; the endpoint filters it.
pub(crate) fn links() -> Vec<Link> {
    let observable =
        OBSERVABLE.iter().map(|(path, _)| Link { observable: true, ..Link::new(format!("/{path}")) });
    let plain = ["test", "validate", "separate", "query", "large-update", "large-create", "large-post"];
    let link = |path: &str, rt: &[&str], interfaces: &[&str]| Link {
        rt: rt.iter().map(|rt| (*rt).to_owned()).collect(),
        interfaces: interfaces.iter().map(|one| (*one).to_owned()).collect(),
        ct: vec![TEXT],
        ..Link::new(path)
    };
    let mut links: Vec<Link> =
        plain.iter().map(|path| Link::new(format!("/{path}"))).chain(observable).collect();
    links.push(Link { sz: Some(1280), ..Link::new("/large") });
    links.push(link("/link1", &["Type1", "Type2"], &["If1"]));
    links.push(link("/link2", &["Type2", "Type3"], &["If2"]));
    links.push(link("/link3", &["Type1"], &["foo"]));
    links.push(Link { ct: vec![LINK_FORMAT], ..Link::new("/path") });
    links
}

fn format(request: &Request) -> u16 {
    request.content_format().unwrap_or(TEXT)
}

/// Text of that length, every line another one.
fn lines(length: usize) -> String {
    (0..length / 16).map(|line| format!("line {line:>10}\n")).collect()
}
