//! One connection: its bytes in and out, handshakes of TLS and WebSocket before that when they are wanted, and why it ended. Not
//! here: what messages mean ([`super`]), how long what may take (`coap-proto`).

use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use coap_proto::stream::{Framing, Link, LinkEvent, signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{sleep_until, timeout};
use tungstenite::protocol::frame::coding::CloseCode;

use super::door::{Door, Guest};
use super::frames::{self, Came, Frames};
use super::{ConnectionId, Fate, Incoming, What, handshake};
use crate::certificate::Shown;

/// For TLS to come to an agreement, and for WebSocket.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Messages that wait to be written; with more of them the connection ends.
const OUTGOING: usize = 128;
/// For one message to be written, and for all of them when the connection ends.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
const END_WITHIN: Duration = Duration::from_secs(5);
/// For the peer to close its WebSocket, too.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// Bytes read at once; a message that is no longer needs no room of the [`Door`].
const BUFFER: usize = 4096;

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, id: ConnectionId, guest: Guest) {
    // Answers are small; they must not wait for more.
    let _ = stream.set_nodelay(true);
    let door = guest.door();
    let fate = match &door.tls {
        None => begin(stream, None, id, door).await,
        Some(tls) => match timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok((stream, certificate))) => begin(stream, certificate, id, door).await,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                Fate::HandshakeFailed
            }
            Err(_) => Fate::HandshakeTimedOut,
        },
    };
    door.api.fates().count(fate);
}

/// Agrees on WebSocket first, when that is what the door is for.
async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    certificate: Option<Shown>,
    id: ConnectionId,
    door: &Door,
) -> Fate {
    if door.link.framing == Framing::Length {
        return run(stream, certificate, None, id, door).await;
    }
    match timeout(HANDSHAKE, handshake::accept(&mut stream, certificate.is_some())).await {
        Ok(Ok(Some(behind))) => run(stream, certificate, Some(behind), id, door).await,
        Ok(Ok(None) | Err(_)) => Fate::HandshakeFailed,
        Err(_) => Fate::HandshakeTimedOut,
    }
}

async fn run<S: AsyncRead + AsyncWrite>(
    stream: S,
    certificate: Option<Shown>,
    behind_handshake: Option<BytesMut>,
    id: ConnectionId,
    door: &Door,
) -> Fate {
    let (mut reader, mut writer) = split(stream);
    let (outgoing, to_write) = mpsc::channel(OUTGOING);
    let link = Link::new(Instant::now(), door.link.clone());
    let replies = outgoing.downgrade();
    let frames = behind_handshake.map(Frames::new);
    let mut incomer = Incomer { link, frames, refused: None, replies, id, door, room: None };
    // Our settings come before anything else that goes out: there is room for them.
    let _ = incomer.send_replies();
    if !tell(door, id, What::Opened { outgoing, certificate }).await {
        return Fate::HungUp;
    }
    let (fate, is_all_written) = {
        let mut reading = std::pin::pin!(read(&mut reader, &mut incomer));
        let mut writing = std::pin::pin!(write(&mut writer, to_write));
        tokio::select! {
            fate = &mut reading => {
                tell(door, id, What::Closed).await;
                // Its last words, and answers that were ready.
                (fate, timeout(END_WITHIN, writing).await == Ok(Fate::HungUp))
            }
            fate = &mut writing => {
                tell(door, id, What::Closed).await;
                (fate, fate == Fate::HungUp)
            }
        }
    };
    if is_all_written {
        let _ = timeout(END_WITHIN, end(reader, writer, incomer.last_frame(fate))).await;
    }
    fate
}

/// False when nobody takes it: the server has ended.
async fn tell(door: &Door, connection: ConnectionId, what: What) -> bool {
    door.incoming.send(Incoming { connection, what }).await.is_ok()
}

struct Incomer<'d> {
    link: Link,
    /// When it is a WebSocket.
    frames: Option<Frames>,
    /// What its peer is to be told that has sent what is no frame for us.
    refused: Option<CloseCode>,
    replies: mpsc::WeakSender<Bytes>,
    id: ConnectionId,
    door: &'d Door,
    /// For the long message that has begun, with its length.
    room: Option<(usize, OwnedSemaphorePermit)>,
}

async fn read<S: AsyncRead>(reader: &mut ReadHalf<S>, incomer: &mut Incomer<'_>) -> Fate {
    let mut buffer = vec![0; BUFFER];
    // What came behind a handshake.
    let mut taken = incomer.take(&[]);
    loop {
        if let Err(fate) = incomer.hand_over().await.and(taken) {
            return fate;
        }
        let due = incomer.link.next_timeout();
        let timer = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = reader.read(&mut buffer) => match received {
                Ok(0) => return Fate::Closed,
                Ok(length) => taken = incomer.take(&buffer[..length]),
                Err(error) => {
                    tracing::debug!(%error, "a CoAP connection failed");
                    return Fate::Failed;
                }
            },
            () = timer => incomer.link.handle_timeout(Instant::now()),
        }
    }
}

impl Incomer<'_> {
    /// Takes what was read. An error ends the connection once what came before it is handed over.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Fate> {
        let now = Instant::now();
        let Some(frames) = &mut self.frames else {
            self.link.handle_bytes(now, bytes);
            return Ok(());
        };
        frames.take(bytes);
        loop {
            match frames.next() {
                Ok(Some(Came::Message(message))) => self.link.handle_frame(now, &message),
                Ok(Some(Came::Ping(payload))) => put(&self.replies, frames::pong(payload))?,
                Ok(Some(Came::Close)) => return Err(Fate::Closed),
                Ok(None) => break,
                Err(code) => {
                    self.refused = Some(code);
                    return Err(Fate::Malformed);
                }
            }
        }
        self.link.handle_begin(now, frames.begun());
        Ok(())
    }

    /// What a WebSocket ends with (RFC 6455 section 7.4.1).
    fn last_frame(&self, fate: Fate) -> Option<Bytes> {
        self.frames.as_ref()?;
        let code = self.refused.unwrap_or(match fate {
            Fate::Malformed | Fate::Unsettled | Fate::NotUnderstood => CloseCode::Protocol,
            Fate::TooLong => CloseCode::Size,
            Fate::NoRoom => CloseCode::Again,
            Fate::SlowSender | Fate::SlowReader | Fate::Silent => CloseCode::Policy,
            _ => CloseCode::Normal,
        });
        Some(frames::close(code))
    }

    /// Hands over what has come, and makes room for what comes. An error ends the connection.
    async fn hand_over(&mut self) -> Result<(), Fate> {
        self.send_replies()?;
        while let Some(event) = self.link.poll_event() {
            let what = match event {
                LinkEvent::Settled(limits) => What::Settled(limits),
                LinkEvent::Message(message) => What::Message(message),
                LinkEvent::Ping { token, custody } => What::Ping { token, custody },
                LinkEvent::Released => What::Released,
                LinkEvent::Ended(end) => return Err(end.into()),
            };
            if !tell(self.door, self.id, what).await {
                return Err(Fate::HungUp);
            }
        }
        self.make_room()
    }

    fn make_room(&mut self) -> Result<(), Fate> {
        let expected = self.link.expected();
        if expected <= BUFFER {
            self.room = None;
        } else if self.room.as_ref().is_none_or(|(length, _)| *length != expected) {
            self.room = None;
            let permits = u32::try_from(expected.div_ceil(1024)).unwrap_or(u32::MAX);
            let Ok(permit) = self.door.room.clone().try_acquire_many_owned(permits) else {
                let abort = signal::abort("no room for so long a message now", None);
                self.reply(self.door.link.framing.encode(&abort))?;
                return Err(Fate::NoRoom);
            };
            self.room = Some((expected, permit));
        }
        Ok(())
    }

    fn send_replies(&mut self) -> Result<(), Fate> {
        while let Some(bytes) = self.link.poll_transmit() {
            self.reply(bytes)?;
        }
        Ok(())
    }

    fn reply(&self, message: Bytes) -> Result<(), Fate> {
        put(&self.replies, frames::on_wire(self.door.link.framing, message))
    }
}

fn put(outgoing: &mpsc::WeakSender<Bytes>, bytes: Bytes) -> Result<(), Fate> {
    let outgoing = outgoing.upgrade().ok_or(Fate::HungUp)?;
    outgoing.try_send(bytes).map_err(|_| Fate::SlowReader)
}

/// Writes until nobody has anything to say any more.
async fn write<S: AsyncWrite>(writer: &mut WriteHalf<S>, mut to_write: mpsc::Receiver<Bytes>) -> Fate {
    while let Some(bytes) = to_write.recv().await {
        let written = async {
            writer.write_all(&bytes).await?;
            if to_write.is_empty() {
                writer.flush().await?;
            }
            Ok::<_, io::Error>(())
        };
        match timeout(WRITE_WITHIN, written).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Fate::Failed,
            Err(_) => return Fate::SlowReader,
        }
    }
    Fate::HungUp
}

/// Says the last words and closes.
async fn end<S: AsyncRead + AsyncWrite>(
    mut reader: ReadHalf<S>,
    mut writer: WriteHalf<S>,
    last: Option<Bytes>,
) -> io::Result<()> {
    let Some(last) = last else { return writer.shutdown().await };
    writer.write_all(&last).await?;
    writer.shutdown().await?;
    // To close on bytes that nobody has read would be a reset, which can overtake the last frame.
    let mut rest = [0; 512];
    let closed = async { while reader.read(&mut rest).await.is_ok_and(|length| length > 0) {} };
    let _ = timeout(CLOSE_WITHIN, closed).await;
    Ok(())
}
