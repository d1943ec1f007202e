//! Counts the fragments of WebSocket messages as they stream past.
//!
//! Rule owned here: a message of more than `FRAGMENTS_MAX` fragments ends the socket. The WebSocket library bounds a
//! message's bytes but not its fragments, so a device could send empty continuations for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hub_core::limits::FRAGMENTS_MAX;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that knows where frames begin. It changes no byte and refuses nothing but fragments: everything
/// else about a frame is the WebSocket library's to judge.
#[derive(Debug)]
pub(crate) struct FrameMeter<S> {
    stream: S,
    at: At,
    fragments: u32,
    /// One message had too many. One read can bring the end of that message, too, and no later one makes up for it.
    exceeded: bool,
}

/// Where in a frame the next byte belongs.
#[derive(Clone, Copy, Debug)]
enum At {
    First,
    Length {
        control: bool,
        last: bool,
    },
    ExtendedLength {
        missing: u8,
        masked: bool,
        length: u64,
    },
    /// The rest of the header (mask) and the payload.
    Rest(u64),
}

const MASK_BYTES: u64 = 4;

impl<S> FrameMeter<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            at: At::First,
            fragments: 0,
            exceeded: false,
        }
    }

    /// Whether the peer sent a message of too many fragments.
    pub(crate) fn too_many_fragments(&self) -> bool {
        self.exceeded
    }

    /// Accounts bytes that were read.
    pub(crate) fn see(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let At::Rest(length) = self.at {
                let skipped = bytes
                    .len()
                    .min(usize::try_from(length).unwrap_or(usize::MAX));
                bytes = &bytes[skipped..];
                let left = length - skipped as u64;
                self.at = if left == 0 { At::First } else { At::Rest(left) };
                continue;
            }
            bytes = rest;
            self.at = self.next(byte);
        }
    }

    fn next(&mut self, byte: u8) -> At {
        match self.at {
            At::First => At::Length {
                control: byte & 0x08 != 0,
                last: byte & 0x80 != 0,
            },
            At::Length { control, last } => {
                if !control {
                    self.fragments = if last {
                        0
                    } else {
                        self.fragments.saturating_add(1)
                    };
                    self.exceeded |= self.fragments > FRAGMENTS_MAX;
                }
                let masked = byte & 0x80 != 0;
                match byte & 0x7f {
                    126 => At::ExtendedLength {
                        missing: 2,
                        masked,
                        length: 0,
                    },
                    127 => At::ExtendedLength {
                        missing: 8,
                        masked,
                        length: 0,
                    },
                    length => rest(u64::from(length), masked),
                }
            }
            At::ExtendedLength {
                missing,
                masked,
                length,
            } => {
                let length = (length << 8) | u64::from(byte);
                if missing == 1 {
                    rest(length, masked)
                } else {
                    At::ExtendedLength {
                        missing: missing - 1,
                        masked,
                        length,
                    }
                }
            }
            At::Rest(_) => self.at,
        }
    }
}

fn rest(length: u64, masked: bool) -> At {
    match length.saturating_add(if masked { MASK_BYTES } else { 0 }) {
        0 => At::First,
        length => At::Rest(length),
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameMeter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.see(&buffer.filled()[before..]);
        if self.too_many_fragments() {
            return Poll::Ready(Err(io::Error::other("too many fragments in one message")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameMeter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fragment(first: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload {
            0..=125 => bytes.push(0x80 | payload as u8),
            126..=0xffff => bytes.extend([0x80 | 126, (payload >> 8) as u8, payload as u8]),
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((payload as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![0; payload + 4]);
        bytes
    }

    proptest! {
        #[test]
        fn counts_the_same_however_the_bytes_are_cut(
            sizes in proptest::collection::vec(0_usize..70_000, 1..12),
            cut in 1_usize..4_096,
        ) {
            let bytes: Vec<u8> = sizes.iter().flat_map(|size| fragment(0x00, *size)).collect();
            let mut meter = FrameMeter::new(());
            bytes.chunks(cut).for_each(|chunk| meter.see(chunk));
            prop_assert_eq!(meter.fragments as usize, sizes.len());
        }
    }

    #[test]
    fn control_frames_do_not_count_and_a_last_fragment_forgives() {
        let mut meter = FrameMeter::new(());
        for _ in 0..FRAGMENTS_MAX {
            meter.see(&fragment(0x00, 1));
            meter.see(&fragment(0x89, 0));
        }
        assert!(!meter.too_many_fragments());
        meter.see(&fragment(0x80, 0));
        meter.see(&fragment(0x00, 0));
        assert!(!meter.too_many_fragments());
    }

    #[test]
    fn the_end_of_the_message_does_not_excuse_its_fragments() {
        let mut meter = FrameMeter::new(());
        let mut bytes = fragment(0x00, 0).repeat(FRAGMENTS_MAX as usize + 1);
        bytes.extend(fragment(0x80, 0));
        meter.see(&bytes);
        assert!(meter.too_many_fragments());
    }
}
