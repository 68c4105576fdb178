//! One connection to the broker, from TCP to its end: bytes in, bytes out, keep alive. It never reconnects and never sends
//! anything twice; the outbox is the only resender. Not here: packet identifiers and what an answer means to anyone.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::TlsConnector;

use crate::config::{HubConfig, Protocol};
use crate::dialect::Publication;
use crate::keep_alive::{Due, KeepAlive};
use crate::wire::{self, ConnAck, Connect, Incoming, Session};

/// TCP, or TLS over it.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that the broker has accepted.
pub(crate) struct Connection {
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    protocol: Protocol,
    max_packet: usize,
    input: BytesMut,
    /// To be written, from `written` on.
    pub(crate) output: Vec<u8>,
    written: usize,
    flushed: bool,
    keep_alive: KeepAlive,
    /// Fires no later than the keep alive is due.
    tick: Option<Pin<Box<Sleep>>>,
}

/// Bytes that are read at once.
const READ: usize = 16 * 1024;
/// A buffer that grew beyond this is given back when it is empty.
const KEEP: usize = 64 * 1024;

impl Connection {
    /// Connects and says CONNECT.
    ///
    /// # Errors
    /// A text for people: who refused, and why. Never a password.
    pub(crate) async fn open(
        config: &HubConfig,
        tls: Option<&Arc<ClientConfig>>,
        client_id: &str,
        will: Option<&Publication<'_>>,
        session: Session,
    ) -> Result<(Self, ConnAck), String> {
        let (host, port) = (config.address.host.as_str(), config.address.port);
        let tcp =
            TcpStream::connect((host, port)).await.map_err(|error| format!("cannot connect: {error}"))?;
        // A publish must not wait for the next one.
        tcp.set_nodelay(true).map_err(|error| error.to_string())?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(tcp),
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|_| format!("{host:?} is no name that a certificate can be for"))?;
                let connected = TlsConnector::from(tls.clone()).connect(name, tcp).await;
                Box::new(connected.map_err(|error| format!("TLS failed: {error}"))?)
            }
        };
        let (reader, writer) = tokio::io::split(stream);
        let now = Instant::now();
        let mut connection = Self {
            reader,
            writer,
            protocol: config.protocol,
            max_packet: config.max_packet as usize,
            input: BytesMut::new(),
            output: Vec::new(),
            written: 0,
            flushed: true,
            keep_alive: KeepAlive::new(Duration::ZERO, now),
            tick: None,
        };
        let keep_alive_seconds = u16::try_from(config.keep_alive.as_secs()).unwrap_or(u16::MAX);
        let connect = Connect {
            protocol: config.protocol,
            client_id,
            keep_alive_seconds,
            credentials: config.credentials.as_ref(),
            will,
            max_packet: config.max_packet,
            session,
        };
        wire::connect(&mut connection.output, &connect);
        let connack = loop {
            match connection.turn(std::future::pending()).await? {
                Some(Incoming::ConnAck(connack)) => break connack,
                Some(other) => return Err(format!("the hub sent {other:?} before CONNACK")),
                None => {}
            }
        };
        if let Some(refusal) = wire::connect_refusal(&connack, config.protocol) {
            return Err(refusal);
        }
        let keep_alive = connack.keep_alive.unwrap_or(keep_alive_seconds);
        connection.keep_alive = KeepAlive::new(Duration::from_secs(keep_alive.into()), Instant::now());
        Ok((connection, connack))
    }

    /// A packet that was received already.
    ///
    /// # Errors
    /// When what was received is not MQTT.
    pub(crate) fn received(&mut self) -> Result<Option<Incoming>, String> {
        wire::next_packet(&mut self.input, self.protocol, self.max_packet).map_err(|error| error.to_string())
    }

    /// Writes and reads until a packet has been received, or `interrupted` completes.
    ///
    /// # Errors
    /// Any error ends the connection; the text says why.
    pub(crate) async fn turn(
        &mut self,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Option<Incoming>, String> {
        let mut interrupted = std::pin::pin!(interrupted);
        loop {
            if let Some(incoming) = self.received()? {
                return Ok(Some(incoming));
            }
            let due = match self.keep_alive.due(Instant::now()) {
                Due::Gone => return Err("the hub has not been heard of for too long".into()),
                Due::Ping => {
                    wire::pingreq(&mut self.output);
                    continue;
                }
                Due::At(at) => at,
            };
            self.set_tick(due);
            let unwritten = self.written < self.output.len();
            tokio::select! {
                biased;
                wrote = write_some(&mut self.writer, &self.output[self.written..]), if unwritten || !self.flushed => {
                    self.wrote(wrote.map_err(|error| lost(&error))?)?;
                }
                read = read_some(&mut self.reader, &mut self.input) => {
                    if read.map_err(|error| lost(&error))? == 0 {
                        return Err("the hub closed the connection".into());
                    }
                    self.keep_alive.heard(Instant::now());
                }
                () = &mut interrupted => return Ok(None),
                () = tick(&mut self.tick) => self.tick = None,
            }
        }
    }

    /// Writes what is left, and waits until the hub ends the connection. (To close it with something unread would reset it:
    /// the hub could lose what was written last.)
    pub(crate) async fn finish(mut self) -> std::io::Result<()> {
        self.writer.write_all(&self.output[self.written..]).await?;
        self.writer.shutdown().await?;
        while read_some(&mut self.reader, &mut self.input).await? > 0 {
            self.input.clear();
        }
        Ok(())
    }

    /// Timers are dear beside a small write: one that fires too early is left as it is.
    fn set_tick(&mut self, due: Option<Instant>) {
        let Some(due) = due else { return };
        if self.tick.as_ref().is_none_or(|tick| tick.deadline().into_std() > due) {
            self.tick = Some(Box::pin(tokio::time::sleep_until(due.into())));
        }
    }

    fn wrote(&mut self, wrote: Wrote) -> Result<(), String> {
        let length = match wrote {
            Wrote::Everything => {
                self.flushed = true;
                return Ok(());
            }
            Wrote::Bytes(0) => return Err("the connection takes no more bytes".into()),
            Wrote::Bytes(length) => length,
        };
        self.written += length;
        self.flushed = false;
        self.keep_alive.sent(Instant::now());
        if self.written == self.output.len() {
            self.written = 0;
            self.output.clear();
            if self.output.capacity() > KEEP {
                self.output = Vec::new();
            }
        }
        Ok(())
    }
}

/// What a step of writing did.
#[derive(Debug, Clone, Copy)]
enum Wrote {
    /// So many bytes went into the stream.
    Bytes(usize),
    /// And all of them out of it: TLS holds back what it has not encrypted and sent yet.
    Everything,
}

async fn write_some(writer: &mut (impl AsyncWrite + Unpin), rest: &[u8]) -> std::io::Result<Wrote> {
    if rest.is_empty() {
        return writer.flush().await.map(|()| Wrote::Everything);
    }
    writer.write(rest).await.map(Wrote::Bytes)
}

async fn read_some(reader: &mut (impl AsyncRead + Unpin), input: &mut BytesMut) -> std::io::Result<usize> {
    if input.capacity() - input.len() < READ / 4 {
        input.reserve(READ);
    }
    reader.read_buf(input).await
}

async fn tick(tick: &mut Option<Pin<Box<Sleep>>>) {
    match tick {
        Some(tick) => tick.await,
        None => std::future::pending().await,
    }
}

fn lost(error: &std::io::Error) -> String {
    format!("the connection was lost: {error}")
}
