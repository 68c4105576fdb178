//! HTTP events of payload format 2.0 (API Gateway HTTP API, Function URL) as requests of the router, and its answers as
//! API Gateway wants them (AWS: "Working with AWS Lambda proxy integrations for HTTP APIs"). Their quirks: the body may be
//! base64; the path begins with the name of the stage unless that is `$default`, and is decoded already; cookies stand
//! apart; several headers of one name are one with commas. Not here: routes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bridge_core::Timestamp;
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value, json};

/// A request that came as an event.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpEvent {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    peer: SocketAddr,
    /// When API Gateway had it, when that can be believed.
    pub received: Option<Timestamp>,
}

/// What cannot stand in a path as it is (RFC 3986, section 3.3). Not `%`: of an encoded one nobody can tell whether it is.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^')
    .add(b'[')
    .add(b']');

impl HttpEvent {
    /// Reads an event.
    ///
    /// # Errors
    /// A sentence for people; nothing of the request is in it.
    pub fn parse(event: &Value) -> Result<Self, String> {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        let lacks = |what: &str| format!("The HTTP event has no {what} that can be used.");
        let method = text("/requestContext/http/method").and_then(|method| method.parse().ok());
        let path =
            text("/rawPath").or_else(|| text("/requestContext/http/path")).ok_or_else(|| lacks("path"))?;
        let path = without_prefix(path, text("/requestContext/stage").filter(|stage| *stage != "$default"));
        let path = utf8_percent_encode(path, NOT_IN_PATH).to_string();
        let uri = match text("/rawQueryString").filter(|query| !query.is_empty()) {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let peer = text("/requestContext/http/sourceIp").and_then(|ip| ip.parse().ok());
        let received = event.pointer("/requestContext/timeEpoch").and_then(Value::as_i64);
        Ok(Self {
            method: method.ok_or_else(|| lacks("method"))?,
            uri: uri.parse().map_err(|_| lacks("path"))?,
            headers: headers(event),
            body: body(event)?,
            peer: SocketAddr::new(peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), 0),
            received: received.and_then(Timestamp::from_millis),
        })
    }

    /// The path, without a stage.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// The request for the router; `base` is the path in front of its routes.
    pub fn request(&self, base: Option<&str>) -> Request<Body> {
        let mut request = Request::new(Body::from(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = match base {
            None => self.uri.clone(),
            Some(base) => {
                let whole = self.uri.to_string();
                without_prefix(&whole, Some(base.trim_matches('/')))
                    .parse()
                    .unwrap_or_else(|_| self.uri.clone())
            }
        };
        *request.headers_mut() = self.headers.clone();
        request.extensions_mut().insert(ConnectInfo(self.peer));
        request
    }

    /// How long ago API Gateway had it, at most `most`.
    pub fn age(&self, now: Timestamp, most: Duration) -> Duration {
        let age = self.received.filter(|received| *received <= now).map(|received| now.since(received));
        age.filter(|age| *age <= most).unwrap_or_default()
    }
}

/// The answer for API Gateway: text as text, all else as base64.
pub fn answer(parts: &Parts, body: &[u8]) -> Value {
    let mut headers = Map::new();
    let mut cookies = Vec::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if name == header::SET_COOKIE {
            cookies.push(value);
            continue;
        }
        match headers.get_mut(name.as_str()) {
            Some(Value::String(before)) => *before = format!("{before},{value}"),
            _ => drop(headers.insert(name.as_str().to_owned(), value.into())),
        }
    }
    let (body, is_base64) = match std::str::from_utf8(body) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (BASE64.encode(body), true),
    };
    let mut answer = json!({
        "statusCode": parts.status.as_u16(), "headers": headers, "body": body, "isBase64Encoded": is_base64,
    });
    if !cookies.is_empty() {
        answer["cookies"] = cookies.into();
    }
    answer
}

/// The path behind `/prefix`; as it is when it does not begin with that.
fn without_prefix<'p>(path: &'p str, prefix: Option<&str>) -> &'p str {
    let rest = prefix.and_then(|prefix| path.strip_prefix('/')?.strip_prefix(prefix));
    match rest {
        Some("") => "/",
        Some(rest) if rest.starts_with(['/', '?']) => rest,
        _ => path,
    }
}

/// A name or a value that HTTP does not have is left out; the router would not have got it from a listener either.
fn headers(event: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let given = event.get("headers").and_then(Value::as_object);
    for (name, value) in given.into_iter().flatten() {
        let name = HeaderName::try_from(name.as_str());
        let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok());
        if let (Ok(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    // Of the body as it is here there is but one length.
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::TRANSFER_ENCODING);
    let cookies = event.get("cookies").and_then(Value::as_array);
    let cookies: Vec<&str> = cookies.into_iter().flatten().filter_map(Value::as_str).collect();
    if let Ok(value) = HeaderValue::from_str(&cookies.join("; "))
        && !cookies.is_empty()
    {
        headers.insert(header::COOKIE, value);
    }
    headers
}

fn body(event: &Value) -> Result<Bytes, String> {
    let Some(body) = event.get("body").and_then(Value::as_str) else { return Ok(Bytes::new()) };
    match event.get("isBase64Encoded").and_then(Value::as_bool) {
        Some(true) => BASE64
            .decode(body)
            .map(Bytes::from)
            .map_err(|_| "The body of the HTTP event is not base64.".into()),
        _ => Ok(Bytes::copy_from_slice(body.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(stage: &str, path: &str, body: &str, is_base64: bool) -> Value {
        json!({
            "version": "2.0", "rawPath": path, "rawQueryString": "a=1&b=%20", "cookies": ["x=1", "y=2"],
            "headers": { "content-type": "application/json", "x-two": "1,2", "content-length": "99" },
            "requestContext": {
                "http": { "method": "POST", "path": path, "sourceIp": "203.0.113.7" },
                "stage": stage, "timeEpoch": 1_795_218_011_123_i64,
            },
            "body": body, "isBase64Encoded": is_base64,
        })
    }

    #[test]
    fn requests_are_what_they_were() {
        for (stage, path, base, want) in [
            ("$default", "/webhooks/farm", None, "/webhooks/farm?a=1&b=%20"),
            ("prod", "/prod/webhooks/farm", None, "/webhooks/farm?a=1&b=%20"),
            ("prod", "/prod", None, "/?a=1&b=%20"),
            // A custom domain name hides the stage.
            ("prod", "/webhooks/farm", None, "/webhooks/farm?a=1&b=%20"),
            ("prod", "/production/farm", None, "/production/farm?a=1&b=%20"),
            ("prod", "/iot/webhooks/farm", Some("/iot"), "/webhooks/farm?a=1&b=%20"),
            ("$default", "/webhooks/farm/a b", None, "/webhooks/farm/a%20b?a=1&b=%20"),
        ] {
            let event = HttpEvent::parse(&event(stage, path, "{}", false)).unwrap();
            let request = event.request(base);
            assert_eq!(request.uri().to_string(), want);
            assert_eq!(request.method(), Method::POST);
            assert_eq!(request.headers()["cookie"], "x=1; y=2");
            assert!(!request.headers().contains_key("content-length"));
            let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>().unwrap();
            assert_eq!(peer.ip().to_string(), "203.0.113.7");
        }
        let binary = HttpEvent::parse(&event("$default", "/", "AP8=", true)).unwrap();
        assert_eq!(binary.body.as_ref(), [0, 255]);
        assert!(HttpEvent::parse(&event("$default", "/", "%", true)).is_err());
    }

    #[test]
    fn ages_are_believed_within_bounds() {
        let event = HttpEvent::parse(&event("$default", "/", "", false)).unwrap();
        let at = |ms: i64| Timestamp::from_millis(1_795_218_011_123 + ms).unwrap();
        let most = Duration::from_secs(10);
        assert_eq!(event.age(at(1500), most), Duration::from_millis(1500));
        assert_eq!(event.age(at(-1), most), Duration::ZERO);
        assert_eq!(event.age(at(60_000), most), Duration::ZERO);
    }

    #[test]
    fn answers_are_what_api_gateway_wants() {
        let response = http::Response::builder()
            .status(202)
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
            .header("vary", "x")
            .header("vary", "y")
            .body(())
            .unwrap();
        let (parts, ()) = response.into_parts();
        let text = answer(&parts, b"{}");
        assert_eq!((&text["statusCode"], &text["body"]), (&json!(202), &json!("{}")));
        assert_eq!((&text["headers"]["vary"], &text["cookies"]), (&json!("x,y"), &json!(["a=1", "b=2"])));
        let binary = answer(&parts, &[0, 255]);
        assert_eq!((&binary["body"], &binary["isBase64Encoded"]), (&json!("AP8="), &json!(true)));
    }
}
