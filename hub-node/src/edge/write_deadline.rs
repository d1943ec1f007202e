//! Cuts connections whose other end reads too slowly.
//!
//! Owns the rule: while bytes wait to be written, a least number of them must go out in every window ([`Pace`]). A response body cannot watch this itself, because nobody polls it while the socket is full.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hub_core::limits::{DOWNLOAD_BYTES_PER_WINDOW_MIN, DOWNLOAD_WINDOW};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

#[cfg(test)]
mod tests;

/// How fast a reader must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Time in which `bytes_min` must go out while more wait.
    pub(crate) window: Duration,
    /// Bytes that must go out in each window.
    pub(crate) bytes_min: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            window: DOWNLOAD_WINDOW,
            bytes_min: DOWNLOAD_BYTES_PER_WINDOW_MIN,
        }
    }
}

/// A stream whose writes fail with [`ErrorKind::TimedOut`] when the reader is too slow.
#[derive(Debug)]
pub(crate) struct WriteDeadline<S> {
    stream: S,
    pace: Pace,
    /// Runs only while a write waits.
    window: Option<Pin<Box<Sleep>>>,
    /// Bytes written since the window opened.
    written: usize,
}

impl<S> WriteDeadline<S> {
    pub(crate) fn new(stream: S, pace: Pace) -> Self {
        Self {
            stream,
            pace,
            window: None,
            written: 0,
        }
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        write: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if write.is_ready() {
            return write;
        }
        let window = self.window.get_or_insert_with(|| {
            self.written = 0;
            Box::pin(sleep(self.pace.window))
        });
        match window.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(
                ErrorKind::TimedOut,
                "the reader is too slow",
            ))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn wrote(&mut self, write: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &write {
            self.written = self.written.saturating_add(*bytes);
            if self.written >= self.pace.bytes_min {
                self.window = None;
            }
        }
        write
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(context, bytes);
        let write = self.wrote(write);
        self.watch(context, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        let write = self.wrote(write);
        self.watch(context, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.stream).poll_flush(context);
        if flush.is_ready() {
            // Nothing waits any more: a pause between two requests is not slow reading.
            self.window = None;
        }
        self.watch(context, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shutdown = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, shutdown)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteDeadline<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}
