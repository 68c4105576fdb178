//! How long a peer may leave an answer unread: whoever takes none of it for that long is cut off, so that it keeps neither
//! a connection nor a shutdown. Not here: how long a peer may take to send (`header_read_timeout`, the bodies' time limits).

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long an answer may wait for its reader.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// While the bridge runs.
    pub(super) usual: Duration,
    /// While it goes down.
    pub(super) closing: Duration,
}

/// For everybody.
pub(super) const PATIENCE: Patience =
    Patience { usual: Duration::from_secs(30), closing: Duration::from_secs(1) };

/// A stream whose writes fail when the other side takes nothing for some time.
pub(super) struct Patient<S> {
    stream: S,
    patience: Patience,
    closing: watch::Receiver<bool>,
    /// There while a write waits: since when, and what wakes it when it has waited too long.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, patience: Patience, closing: watch::Receiver<bool>) -> Self {
        Self { stream, patience, closing, waiting: None }
    }

    /// What a write came to; an error in the place of waiting when it has waited too long.
    fn bound<T>(&mut self, context: &mut Context<'_>, written: Poll<Result<T>>) -> Poll<Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let limit = if *self.closing.borrow() { self.patience.closing } else { self.patience.usual };
        let (since, alarm) = self.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(sleep_until(now + limit)))
        });
        let until = *since + limit;
        if alarm.deadline() != until {
            alarm.as_mut().reset(until);
        }
        match alarm.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the answer is not read"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bound(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.bound(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn who_reads_nothing_is_cut_off_and_who_reads_is_not() {
        let (closing, begins) = watch::channel(false);
        let (ours, mut theirs) = duplex(4);
        let mut patient = Patient::new(ours, Patience { usual: SHORT, closing: LONG }, begins);
        let mut read = [0; 12];
        let (written, _) = tokio::join!(patient.write_all(b"twelve bytes"), theirs.read_exact(&mut read));
        assert_eq!((written.is_ok(), &read), (true, b"twelve bytes"));
        let error = patient.write_all(b"nobody reads it").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(closing);
    }

    #[tokio::test]
    async fn who_reads_nothing_does_not_hold_up_the_end() {
        let (closing, begins) = watch::channel(false);
        let (ours, _theirs) = duplex(4);
        let mut patient = Patient::new(ours, Patience { usual: LONG, closing: SHORT }, begins);
        {
            let mut writing = std::pin::pin!(patient.write_all(b"nobody reads it"));
            let mut context = Context::from_waker(std::task::Waker::noop());
            assert!(writing.as_mut().poll(&mut context).is_pending());
            closing.send_replace(true);
            assert_eq!(writing.await.unwrap_err().kind(), ErrorKind::TimedOut);
        }
    }
}
