//! One connection: its bytes in and out, TLS before that when it is wanted, and why it ended. Not here: what messages mean
//! ([`super`]), how long what may take (`coap-proto`).

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coap_proto::stream::{Link, LinkEvent, signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{sleep_until, timeout};

use super::door::{Door, Guest};
use super::{ConnectionId, Fate, Incoming, What};

/// For TLS to come to an agreement.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Messages that wait to be written; with more of them the connection ends.
const OUTGOING: usize = 128;
/// For one message to be written, and for all of them when the connection ends.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
const END_WITHIN: Duration = Duration::from_secs(5);
/// Bytes read at once; a message that is no longer needs no room of the [`Door`].
const BUFFER: usize = 4096;

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, id: ConnectionId, guest: Guest) {
    // Answers are small; they must not wait for more.
    let _ = stream.set_nodelay(true);
    let door = guest.door();
    let fate = match &door.tls {
        None => run(stream, None, id, door).await,
        Some(tls) => match timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok((stream, certificate))) => run(stream, certificate, id, door).await,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                Fate::HandshakeFailed
            }
            Err(_) => Fate::HandshakeTimedOut,
        },
    };
    door.api.fates().count(fate);
}

async fn run<S: AsyncRead + AsyncWrite>(
    stream: S,
    certificate: Option<[u8; 32]>,
    id: ConnectionId,
    door: &Door,
) -> Fate {
    let (reader, writer) = split(stream);
    let (outgoing, to_write) = mpsc::channel(OUTGOING);
    let mut link = Link::new(Instant::now(), door.link.clone());
    // Our settings come before anything else that goes out.
    while let Some(bytes) = link.poll_transmit() {
        let _ = outgoing.try_send(bytes);
    }
    let replies = outgoing.downgrade();
    if !tell(door, id, What::Opened { outgoing, certificate }).await {
        return Fate::HungUp;
    }
    let mut reading = std::pin::pin!(read(reader, Incomer { link, replies, id, door, room: None }));
    let mut writing = std::pin::pin!(write(writer, to_write));
    tokio::select! {
        fate = &mut reading => {
            tell(door, id, What::Closed).await;
            // Its last words, and answers that were ready.
            let _ = timeout(END_WITHIN, writing).await;
            fate
        }
        fate = &mut writing => {
            tell(door, id, What::Closed).await;
            fate
        }
    }
}

/// False when nobody takes it: the server has ended.
async fn tell(door: &Door, connection: ConnectionId, what: What) -> bool {
    door.incoming.send(Incoming { connection, what }).await.is_ok()
}

struct Incomer<'d> {
    link: Link,
    replies: mpsc::WeakSender<Bytes>,
    id: ConnectionId,
    door: &'d Door,
    /// For the long message that has begun, with its length.
    room: Option<(usize, OwnedSemaphorePermit)>,
}

async fn read<S: AsyncRead>(mut reader: ReadHalf<S>, mut incomer: Incomer<'_>) -> Fate {
    let mut buffer = vec![0; BUFFER];
    loop {
        if let Err(fate) = incomer.hand_over().await {
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
                Ok(length) => incomer.link.handle_bytes(Instant::now(), &buffer[..length]),
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
    /// Hands over what has come, and makes room for what comes. An error ends the connection.
    async fn hand_over(&mut self) -> Result<(), Fate> {
        while let Some(bytes) = self.link.poll_transmit() {
            self.reply(bytes)?;
        }
        while let Some(event) = self.link.poll_event() {
            let what = match event {
                LinkEvent::Settled(limit) => What::Settled(limit),
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
                self.reply(signal::abort("no room for so long a message now", None).encode_stream())?;
                return Err(Fate::NoRoom);
            };
            self.room = Some((expected, permit));
        }
        Ok(())
    }

    fn reply(&self, bytes: Bytes) -> Result<(), Fate> {
        let outgoing = self.replies.upgrade().ok_or(Fate::HungUp)?;
        outgoing.try_send(bytes).map_err(|_| Fate::SlowReader)
    }
}

/// Writes until nobody has anything to say any more.
async fn write<S: AsyncWrite>(mut writer: WriteHalf<S>, mut to_write: mpsc::Receiver<Bytes>) -> Fate {
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
    let _ = timeout(END_WITHIN, writer.shutdown()).await;
    Fate::HungUp
}
