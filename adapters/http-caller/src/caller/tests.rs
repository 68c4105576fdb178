//! Calls to servers on loopback that answer, refuse, hang up, drag on or talk too much.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A server that reads a request head, writes these bytes, and hangs up or waits; one connection after the other.
async fn server(answer: &'static str, hang_up: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut head, mut read) = (Vec::<u8>::new(), [0; 1024]);
            while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                let length = stream.read(&mut read).await.unwrap();
                head.extend(&read[..length]);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            if !hang_up {
                open.push(stream);
            }
        }
    });
    address
}

fn caller(allow: Allow) -> Caller {
    let config = CallerConfig {
        timeout: Duration::from_millis(300),
        max_answer: 100,
        allow,
        ..CallerConfig::default()
    };
    Caller::new(config).unwrap()
}

fn post(url: impl std::fmt::Display) -> Call {
    Call {
        method: Method::POST,
        url: url.to_string().parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"{}"),
    }
}

#[tokio::test]
async fn an_answer_is_an_answer_whatever_its_status() {
    let address =
        server("HTTP/1.1 429 Slow Down\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno", false).await;
    let answer = caller(Allow::All).call(post(format!("http://{address}/a?b=c"))).await.unwrap();
    assert_eq!(
        (answer.status, answer.retry_after()),
        (StatusCode::TOO_MANY_REQUESTS, Some(Duration::from_secs(7)))
    );
    assert_eq!(&answer.body[..], b"no");
    let address =
        server("HTTP/1.1 302 Elsewhere\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n", true)
            .await;
    let answer = caller(Allow::All).call(post(format!("http://{address}"))).await.unwrap();
    assert_eq!(answer.status, StatusCode::FOUND, "nobody follows");
}

#[tokio::test]
async fn whether_it_may_have_been_carried_out_is_told() {
    let caller = caller(Allow::All);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = caller.call(post(format!("http://{nobody}"))).await.unwrap_err();
    assert!(matches!(refused, CallError::NotSent { after: None, .. }), "{refused:?}");
    for (answer, hang_up) in [
        ("", true),
        ("", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n", false),
        ("SSH-2.0-OpenSSH\r\n", true),
    ] {
        let address = server(answer, hang_up).await;
        let lost = caller.call(post(format!("http://{address}"))).await.unwrap_err();
        assert!(matches!(lost, CallError::Unanswered(_)), "{answer:?}: {lost:?}");
    }
    let address = server("", true).await;
    let no_tls = caller.call(post(format!("https://{address}"))).await.unwrap_err();
    assert!(matches!(no_tls, CallError::NotSent { .. }), "{no_tls:?}");
}

#[tokio::test]
async fn what_is_not_public_is_not_called() {
    let address = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true).await;
    let refused = caller(Allow::Public).call(post(format!("http://{address}"))).await.unwrap_err();
    assert!(refused.to_string().contains("not a public address"), "{refused}");
    for url in ["ftp://example.com/", "/only/a/path", "https://user:secret@example.com/"] {
        let invalid = caller(Allow::All).call(post(url)).await.unwrap_err();
        assert!(matches!(&invalid, CallError::Invalid(why) if !why.contains("secret")), "{url}: {invalid:?}");
    }
}

#[tokio::test]
async fn a_host_that_fails_is_left_alone() {
    let address = server("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", true).await;
    let caller = caller(Allow::All);
    for _ in 0..5 {
        assert_eq!(caller.call(post(format!("http://{address}"))).await.unwrap().status.as_u16(), 500);
    }
    let alone = caller.call(post(format!("http://{address}"))).await.unwrap_err();
    assert!(matches!(alone, CallError::NotSent { after: Some(_), .. }), "{alone:?}");
}

#[test]
fn nothing_secret_is_shown() {
    let mut call = post("https://example.com/path?token=hush");
    call.headers.insert(header::AUTHORIZATION, "Bearer hush".parse().unwrap());
    assert_eq!(format!("{call:?}"), "POST example.com/path");
}

#[test]
fn urls_of_others_are_looked_at() {
    for (url, public, all) in [
        ("https://example.com/a?code=1", true, true),
        ("http://8.8.8.8:8080/", true, true),
        ("http://127.0.0.1:8080/", false, true),
        ("http://LOCALHOST/", false, true),
        ("https://[fd12::1]/", false, true),
        ("http://0.0.0.0/", false, false),
        ("http://user:secret@example.com/", false, false),
        ("ftp://example.com/", false, false),
        ("/callbacks", false, false),
        ("example.com", false, false),
        ("", false, false),
        ("http:///x", false, false),
    ] {
        assert_eq!(parse_url(url, Allow::Public).is_ok(), public, "{url}");
        assert_eq!(parse_url(url, Allow::All).is_ok(), all, "{url}");
    }
}

#[test]
fn a_host_says_when_to_come_back_in_seconds_or_by_a_date() {
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (asked, date, wanted) in [
        (Some("7"), None, Some(7)),
        (Some("Sun, 06 Nov 1994 08:51:07 GMT"), Some(DATE), Some(90)),
        (Some("Sun, 06 Nov 1994 08:49:00 GMT"), Some(DATE), Some(0)),
        (Some("Sun, 06 Nov 1994 08:51:07 GMT"), None, None),
        (Some("soon"), Some(DATE), None),
        (Some("-1"), Some(DATE), None),
        (None, Some(DATE), None),
    ] {
        let given = [(header::RETRY_AFTER, asked), (header::DATE, date)];
        let given = given.into_iter().filter_map(|(name, value)| Some((name, value?.parse().unwrap())));
        let answer =
            Answer { status: StatusCode::SERVICE_UNAVAILABLE, headers: given.collect(), body: Bytes::new() };
        assert_eq!(answer.retry_after(), wanted.map(Duration::from_secs), "{asked:?} {date:?}");
    }
}
