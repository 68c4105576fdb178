//! Devices whose frames or handshakes are wrong: each is told so, and nobody else notices. Not here: which handshakes and frames
//! are wrong (`streams/handshake.rs`, `streams/frames.rs`), what goes well (`streams.rs`).

use std::net::SocketAddr;

use bytes::Bytes;
use coap_proto::stream::signal;
use coap_proto::{Code, Message};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{self, CloseFrame};

use super::streams::{BOUND, Device, Served, reading};
use super::wire::Wire;
use crate::{Fate, Framing};

type Socket = WebSocketStream<TcpStream>;

/// After its settings.
async fn connect(bridge: SocketAddr) -> Socket {
    let Wire::Socket(mut socket) = Wire::connect(bridge, Framing::Carrier).await else { panic!("it is TCP") };
    assert_eq!(message(&mut socket).await.code, signal::CSM);
    socket.send(binary(&signal::settings(5000))).await.unwrap();
    *socket
}

fn binary(message: &Message) -> Frame {
    Frame::Binary(Framing::Carrier.encode(message))
}

async fn next(socket: &mut Socket) -> Frame {
    timeout(BOUND, socket.next()).await.unwrap().unwrap().unwrap()
}

async fn message(socket: &mut Socket) -> Message {
    match next(socket).await {
        Frame::Binary(bytes) => Framing::Carrier.decode(&bytes, 8).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Why the bridge closes it, what it has said before that left out.
async fn close_code(socket: &mut Socket) -> CloseCode {
    loop {
        match next(socket).await {
            Frame::Close(Some(CloseFrame { code, .. })) => return code,
            Frame::Binary(bytes) => {
                let last = Framing::Carrier.decode(&bytes, 8).unwrap();
                assert_eq!(last.code, signal::ABORT);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Reads until the bridge has closed the connection.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = timeout(BOUND, stream.read_to_end(&mut rest)).await.unwrap();
    rest
}

#[tokio::test]
async fn frames_that_are_wrong_close_their_own_connection_alone() {
    let served = Served::over(Framing::Carrier).await;
    let mut good = Device::new(&served).await;
    let (mut malformed, mut long) = (0, 0);
    let fragment = |kind, payload: &'static [u8]| {
        Frame::Frame(frame::Frame::message(payload, OpCode::Data(kind), false))
    };
    for (frames, wanted) in [
        (vec![Frame::text("{}")], CloseCode::Unsupported),
        (vec![fragment(Data::Continue, b"x")], CloseCode::Protocol),
        (vec![fragment(Data::Binary, b"x"), Frame::binary(&b"x"[..])], CloseCode::Protocol),
        // CoAP with a length of its own, and none at all.
        (vec![Frame::Binary(signal::settings(70_000).encode_stream())], CloseCode::Protocol),
        (vec![Frame::Binary(Bytes::new())], CloseCode::Protocol),
        // 2,048 bytes and 4,096 for options are the limit.
        (vec![Frame::binary(vec![0; 7000])], CloseCode::Size),
        (vec![fragment(Data::Binary, &[0; 4000]), fragment(Data::Continue, &[0; 3000])], CloseCode::Size),
    ] {
        let mut bad = connect(served.address).await;
        for frame in frames {
            // It may be told before it has sent all of it.
            let _ = bad.send(frame).await;
        }
        assert_eq!(close_code(&mut bad).await, wanted);
        drop(bad);
        match wanted {
            CloseCode::Size => long += 1,
            _ => malformed += 1,
        }
        served.had(Fate::Malformed, malformed).await;
        served.had(Fate::TooLong, long).await;
        assert_eq!(good.ask(reading()).await.code, Code::CHANGED);
    }
    // The length alone is enough; and a frame that is not masked.
    for (bytes, code) in [
        (&[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4][..], CloseCode::Size),
        (&[0x82, 2, 0x00, 0xe2], CloseCode::Protocol),
    ] {
        let mut bad = connect(served.address).await;
        bad.get_mut().write_all(bytes).await.unwrap();
        assert_eq!(close_code(&mut bad).await, code);
    }
    assert_eq!(good.ask(reading()).await.code, Code::CHANGED);
}

#[tokio::test]
async fn what_coap_does_not_take_is_said_in_coap_and_in_the_last_frame() {
    let served = Served::over(Framing::Carrier).await;
    for (bad, fate) in [
        (Bytes::from_static(&[0x00, 0xe1, 0x90]), Fate::NotUnderstood),
        (Framing::Carrier.encode(&signal::abort("enough", None)), Fate::Aborted),
    ] {
        let mut socket = connect(served.address).await;
        socket.send(Frame::Binary(bad)).await.unwrap();
        if fate != Fate::Aborted {
            assert_eq!(message(&mut socket).await.code, signal::ABORT);
        }
        let wanted = if fate == Fate::Aborted { CloseCode::Normal } else { CloseCode::Protocol };
        assert_eq!(close_code(&mut socket).await, wanted);
        drop(socket);
        served.had(fate, 1).await;
    }
    // Settings first.
    let Wire::Socket(mut socket) = Wire::connect(served.address, Framing::Carrier).await else { panic!() };
    socket.send(binary(&signal::release())).await.unwrap();
    assert_eq!(message(&mut socket).await.code, signal::CSM);
    assert_eq!(close_code(&mut socket).await, CloseCode::Protocol);
    drop(socket);
    served.had(Fate::Unsettled, 1).await;
}

#[tokio::test]
async fn fragments_and_pings_are_fine_and_a_close_is_answered() {
    let served = Served::over(Framing::Carrier).await;
    let mut socket = connect(served.address).await;
    let ping = Framing::Carrier.encode(&signal::ping(coap_proto::Token::new(b"p")));
    let (first, second) = ping.split_at(1);
    let part = |payload: &[u8], kind, is_final| {
        Frame::Frame(frame::Frame::message(payload.to_vec(), OpCode::Data(kind), is_final))
    };
    socket.send(part(first, Data::Binary, false)).await.unwrap();
    socket.send(Frame::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    assert_eq!(next(&mut socket).await, Frame::Pong(Bytes::from_static(b"there?")));
    socket.send(part(second, Data::Continue, true)).await.unwrap();
    assert_eq!(message(&mut socket).await.code, signal::PONG);
    socket.send(binary(&signal::release())).await.unwrap();
    assert_eq!(close_code(&mut socket).await, CloseCode::Normal);
    drop(socket);
    served.had(Fate::HungUp, 1).await;
    let mut socket = connect(served.address).await;
    socket.close(None).await.unwrap();
    assert_eq!(close_code(&mut socket).await, CloseCode::Normal);
    assert!(rest(socket.get_mut()).await.is_empty());
    drop(socket);
    served.had(Fate::Closed, 1).await;
}

#[tokio::test]
async fn handshakes_that_are_none_are_counted() {
    let served = Served::over(Framing::Carrier).await;
    for (count, (bytes, answer)) in [
        (&b"GET /.well-known/coap HTTP/1.1\r\nHost: x\r\n\r\n"[..], &b"HTTP/1.1 426"[..]),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 404"),
        (&[0x00, 0xe1, 0x40, 0x01], b"HTTP/1.1 400"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut bad = TcpStream::connect(served.address).await.unwrap();
        bad.write_all(bytes).await.unwrap();
        assert!(rest(&mut bad).await.starts_with(answer));
        served.had(Fate::HandshakeFailed, count as u64 + 1).await;
    }
    let mut half = TcpStream::connect(served.address).await.unwrap();
    half.write_all(b"GET /.well-known/coap HTTP/1.1\r\nHo").await.unwrap();
    drop(half);
    served.had(Fate::HandshakeFailed, 4).await;
    assert_eq!(Device::new(&served).await.ask(reading()).await.code, Code::CHANGED);
}
