//! What carries a device's messages: TCP, or WebSocket by a client of another's making. Not here: messages.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::Framing;

pub(super) enum Wire {
    Stream(TcpStream),
    Socket(Box<WebSocketStream<TcpStream>>),
}

impl Wire {
    pub(super) async fn connect(bridge: SocketAddr, framing: Framing) -> Self {
        let stream = TcpStream::connect(bridge).await.unwrap();
        if framing == Framing::Length {
            return Self::Stream(stream);
        }
        let mut request = format!("ws://{bridge}/.well-known/coap").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("coap"));
        let (socket, answer) = client_async(request, stream).await.unwrap();
        assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], "coap");
        Self::Socket(Box::new(socket))
    }

    /// One message of WebSocket.
    pub(super) async fn write(&mut self, bytes: Bytes) {
        match self {
            Self::Stream(stream) => stream.write_all(&bytes).await.unwrap(),
            Self::Socket(socket) => socket.send(Message::Binary(bytes)).await.unwrap(),
        }
    }

    /// Bytes of a stream, or one message of WebSocket; none at the end, of which a reset is one.
    pub(super) async fn read(&mut self) -> Option<Bytes> {
        match self {
            Self::Stream(stream) => {
                let mut buffer = vec![0; 4096];
                let length = stream.read(&mut buffer).await.unwrap_or(0);
                buffer.truncate(length);
                (length > 0).then(|| buffer.into())
            }
            Self::Socket(socket) => match socket.next().await {
                Some(Ok(Message::Binary(bytes))) => Some(bytes),
                Some(Ok(Message::Close(_)) | Err(_)) | None => None,
                Some(other) => panic!("{other:?}"),
            },
        }
    }
}
