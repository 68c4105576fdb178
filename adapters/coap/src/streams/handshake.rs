//! How a connection becomes a WebSocket (RFC 6455 section 4.2, RFC 8323 section 4.1): one request in, one answer out. Not here: TLS
//! before it ([`super::tls`]), frames behind it ([`super::frames`]), how long it may take ([`super::connection`]).

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, Response, create_response, write_response};
use tungstenite::http::StatusCode;
use tungstenite::http::header::{HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};

/// Where it is, and what is spoken there.
const PATH: &str = "/.well-known/coap";
const PROTOCOL: &str = "coap";
/// For the request with its headers, bytes.
const LONGEST_REQUEST: usize = 8192;

/// Answers the request that comes first. Gives what came behind it; none when it was refused. `has_certificate` says that the
/// peer has shown who it is.
///
/// # Errors
/// When the connection ends before.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    has_certificate: bool,
) -> io::Result<Option<BytesMut>> {
    let mut received = BytesMut::new();
    let answer = loop {
        if stream.read_buf(&mut received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match Request::try_parse(&received) {
            Ok(Some((length, request))) => {
                received.advance(length);
                break answer(&request, has_certificate);
            }
            Ok(None) if received.len() < LONGEST_REQUEST => {}
            Ok(None) => break Err(Refusal::TOO_LONG),
            Err(error) => break Err(Refusal::of(&error)),
        }
    };
    match answer {
        Ok(response) => {
            let mut bytes = Vec::new();
            write_response(&mut bytes, &response).map_err(io::Error::other)?;
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            Ok(Some(received))
        }
        Err(refusal) => {
            tracing::debug!(status = %refusal.status, why = refusal.why, "a WebSocket was refused");
            stream.write_all(refusal.to_string().as_bytes()).await?;
            stream.shutdown().await?;
            Ok(None)
        }
    }
}

fn answer(request: &Request, has_certificate: bool) -> Result<Response, Refusal> {
    if request.uri().path() != PATH {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "CoAP is at /.well-known/coap"));
    }
    let mut response = create_response(request).map_err(|error| Refusal::of(&error))?;
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offered = offered.filter_map(|value| value.to_str().ok()).flat_map(|names| names.split(','));
    if !offered.any(|name| name.trim() == PROTOCOL) {
        let why = "the subprotocol coap must be offered in Sec-WebSocket-Protocol";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, why));
    }
    if has_certificate && request.headers().contains_key(ORIGIN) {
        // A browser shows it for every page that asks (RFC 6455 section 10.2).
        let why = "pages cannot use the certificate of their reader";
        return Err(Refusal::new(StatusCode::FORBIDDEN, why));
    }
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

/// Why there is no WebSocket; shown as the answer that says so.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    why: &'static str,
    /// More headers, each with its end of line.
    headers: &'static str,
}

impl Refusal {
    const TOO_LONG: Refusal =
        Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is longer than 8192 bytes");

    const fn new(status: StatusCode, why: &'static str) -> Self {
        Self { status, why, headers: "" }
    }

    fn of(error: &Error) -> Self {
        use ProtocolError as P;
        match error {
            Error::Protocol(P::WrongHttpMethod) => Self {
                headers: "Allow: GET\r\n",
                ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket begins with GET")
            },
            Error::Protocol(
                P::MissingConnectionUpgradeHeader
                | P::MissingUpgradeWebSocketHeader
                | P::MissingSecWebSocketVersionHeader,
            ) => Self {
                headers: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                ..Self::new(StatusCode::UPGRADE_REQUIRED, "only WebSocket, version 13, is spoken here")
            },
            _ => Self::new(StatusCode::BAD_REQUEST, "this is no request for a WebSocket"),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { status, why, headers } = self;
        let length = why.len() + 1;
        write!(f, "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}")?;
        write!(f, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{why}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: &str = "Host: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                           Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const COAP: &str = "Sec-WebSocket-Protocol: mqtt, coap\r\n";

    /// What a client is told, in pieces of so many bytes; and what the bridge keeps of what came behind the request.
    async fn told(request: &str, step: usize, has_certificate: bool) -> (String, Option<BytesMut>) {
        let (mut client, mut bridge) = tokio::io::duplex(1 << 16);
        let serving = tokio::spawn(async move { accept(&mut bridge, has_certificate).await.unwrap() });
        for piece in request.as_bytes().chunks(step) {
            // It need not read to the end what it refuses.
            let _ = client.write_all(piece).await;
            tokio::task::yield_now().await;
        }
        let rest = serving.await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        (answer, rest)
    }

    #[tokio::test]
    async fn coap_is_agreed_upon() {
        let request = format!("GET /.well-known/coap?x HTTP/1.1\r\n{HEADERS}{COAP}\r\n");
        for step in [1, 100, request.len()] {
            let (answer, rest) = told(&request, step, true).await;
            assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
            // The sample of RFC 6455 section 1.3.
            for wanted in ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "sec-websocket-protocol: coap\r\n"] {
                assert!(answer.contains(wanted), "{answer}");
            }
            assert_eq!(rest, Some(BytesMut::new()));
        }
        let (_, rest) = told(&format!("{request}more"), 4096, false).await;
        assert_eq!(rest.as_deref(), Some(&b"more"[..]));
    }

    #[tokio::test]
    async fn whoever_asks_for_something_else_is_told_why() {
        let line = "GET /.well-known/coap HTTP/1.1\r\n";
        let long = format!("{line}{HEADERS}{COAP}Cookie: {}", "x".repeat(LONGEST_REQUEST));
        let without = |header: &str| {
            let rest = HEADERS.split_inclusive("\r\n").filter(|line| !line.starts_with(header));
            format!("{line}{}{COAP}\r\n", rest.collect::<String>())
        };
        for (request, status) in [
            (format!("{line}{HEADERS}\r\n"), "400 Bad Request"),
            (format!("{line}{HEADERS}Sec-WebSocket-Protocol: coap2\r\n\r\n"), "400 Bad Request"),
            (format!("GET /coap HTTP/1.1\r\n{HEADERS}{COAP}\r\n"), "404 Not Found"),
            (format!("POST /.well-known/coap HTTP/1.1\r\n{HEADERS}{COAP}\r\n"), "405 Method Not Allowed"),
            (format!("GET /.well-known/coap HTTP/1.0\r\n{HEADERS}{COAP}\r\n"), "400 Bad Request"),
            (without("Sec-WebSocket-Key"), "400 Bad Request"),
            (without("Sec-WebSocket-Version"), "426 Upgrade Required"),
            (without("Upgrade"), "426 Upgrade Required"),
            (without("Connection"), "426 Upgrade Required"),
            (format!("{line}{HEADERS}{COAP}Origin: https://example.com\r\n\r\n"), "403 Forbidden"),
            ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".into(), "400 Bad Request"),
            (long, "431 Request Header Fields Too Large"),
        ] {
            let (answer, rest) = told(&request, 1000, true).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
            assert_eq!(rest, None);
        }
        // Without a certificate there is nothing that a page could use.
        let request = format!("{line}{HEADERS}{COAP}Origin: https://example.com\r\n\r\n");
        assert!(told(&request, 1000, false).await.1.is_some());
    }
}
