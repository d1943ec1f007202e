//! TLS over one TCP connection that keeps no buffer while nothing is under way.
//!
//! Rules owned here: records are read into and written from a scratch buffer that belongs to the thread; a connection holds bytes
//! only while a record is incomplete, while its reader has not taken what was decrypted, or while the kernel takes no more. At
//! most one record waits to be written: the next is not encrypted before it has gone. A failed handshake says why, by an alert.
//!
//! It exists because the buffered connection of the TLS library keeps 4 KiB for reading as long as it lives, a third of what an idle
//! device may cost.

mod opening;

pub use opening::Opening;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hub_core::limits::TLS_HANDSHAKE_BYTES_MAX;
use rustls::pki_types::CertificateDer;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Plaintext of one record, at most (RFC 8446 §5.1).
const PLAINTEXT_MAX: usize = 16 * 1024;
/// A whole record with its header and what encryption adds (RFC 5246 §6.2.3 allows the most: 2 KiB).
const RECORD_MAX: usize = 5 + PLAINTEXT_MAX + 2048;

/// Bytes asked for at a time during a handshake: the client's whole part fits, as a rule.
const HANDSHAKE_READ: usize = 4 * 1024;

thread_local! {
    /// Holds one connection's bytes for the time of one call.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; RECORD_MAX].into_boxed_slice());
}

/// The server's side of a connection whose handshake is done.
pub struct TlsStream {
    tcp: TcpStream,
    tls: Box<UnbufferedServerConnection>,
    /// The beginning of a record whose end has not come yet.
    incoming: Vec<u8>,
    /// Decrypted, and not read yet.
    plaintext: Pending,
    /// Encrypted, and not written yet.
    outgoing: Pending,
    peer_closed: bool,
    closing: bool,
    /// A record made no sense: nothing more is read or said.
    broken: bool,
}

/// Bytes of which some may be gone already; holds no memory when none is left.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    taken: usize,
}

impl Pending {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn take(&mut self, many: usize) {
        self.taken += many;
        if self.taken == self.bytes.len() {
            *self = Self::default();
        }
    }
}

/// How far the records that are here lead.
enum Step {
    /// More must come from the peer.
    NeedsMore,
    /// The handshake is done, and what was there is processed.
    Established,
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("tcp", &self.tcp)
            .finish_non_exhaustive()
    }
}

impl TlsStream {
    /// Makes the handshake but for its last bytes, so that there is time to judge who the peer is.
    ///
    /// # Errors
    /// The connection's, and whatever the handshake was refused for; then the peer was sent the alert.
    pub async fn accept(config: Arc<ServerConfig>, tcp: TcpStream) -> io::Result<Opening> {
        let tls = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = Self {
            tcp,
            tls: Box::new(tls),
            incoming: Vec::new(),
            plaintext: Pending::default(),
            outgoing: Pending::default(),
            peer_closed: false,
            closing: false,
            broken: false,
        };
        let mut input = Vec::new();
        if let Err(error) = stream.handshake(&mut input).await {
            // The alert.
            std::future::poll_fn(|cx| stream.poll_outgoing(cx)).await?;
            return Err(error);
        }
        if input.len() >= RECORD_MAX {
            return Err(io::Error::other("record too large"));
        }
        stream.incoming = input.as_slice().to_vec();
        Ok(Opening(stream))
    }

    async fn handshake(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut early = Pending::default();
            let (used, step) = self.process(input, |bytes| early.push(bytes))?;
            input.drain(..used);
            self.plaintext.push(early.rest());
            if matches!(step, Step::Established) {
                return Ok(());
            }
            std::future::poll_fn(|cx| self.poll_outgoing(cx)).await?;
            match step {
                Step::Established => return Ok(()),
                Step::NeedsMore if input.len() >= TLS_HANDSHAKE_BYTES_MAX => {
                    return Err(io::Error::other("handshake message too large"));
                }
                Step::NeedsMore => {}
            }
            input.reserve(HANDSHAKE_READ);
            if self.tcp.read_buf(input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The peer's certificate chain, its own first; `None` when it showed none.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.peer_certificates()
    }

    /// Whether the session goes on from an earlier connection.
    pub fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Processes the records that begin `input`; how many of its bytes are done with. What must be answered is put behind what waits
    /// to be written, and after an error that is the alert.
    fn process(
        &mut self,
        input: &mut [u8],
        mut plaintext: impl FnMut(&[u8]),
    ) -> io::Result<(usize, Step)> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.tls.process_tls_records(&mut input[used..]);
            let step = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        discard += record.discard;
                        plaintext(record.payload);
                    }
                    None
                }
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, &mut self.outgoing)?;
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_closed = true;
                    None
                }
                Ok(ConnectionState::Closed) => Some(Step::Established),
                Ok(ConnectionState::WriteTraffic(_)) => Some(Step::Established),
                Ok(ConnectionState::BlockedHandshake) => Some(Step::NeedsMore),
                Ok(_) => return Err(io::Error::other("early data was never offered")),
                Err(error) => {
                    self.broken = true;
                    self.queue_alert(&mut input[used..]);
                    return Err(invalid(error));
                }
            };
            used += discard;
            if let Some(step) = step {
                return Ok((used, step));
            }
        }
    }

    /// After an error the library has at most an alert left to say. What it was given must be there until then.
    fn queue_alert(&mut self, input: &mut [u8]) {
        if let Ok(ConnectionState::EncodeTlsData(data)) = self.tls.process_tls_records(input).state
        {
            let _ = encode(data, &mut self.outgoing);
        }
    }

    /// Writes a record with the library's leave, which has to see what has come in so far; how long the record is.
    fn seal(
        &mut self,
        mut write: impl FnMut(
            &mut WriteTraffic<'_, ServerConnectionData>,
        ) -> Result<usize, EncryptError>,
    ) -> io::Result<usize> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        loop {
            let UnbufferedStatus { discard, state } =
                self.tls.process_tls_records(&mut self.incoming);
            let sealed = match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    Some(write(&mut traffic).map_err(io::Error::other)?)
                }
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, &mut self.outgoing)?;
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_closed = true;
                    None
                }
                Ok(_) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(error) => {
                    self.broken = true;
                    return Err(invalid(error));
                }
            };
            self.incoming.drain(..discard);
            if let Some(length) = sealed {
                return Ok(length);
            }
        }
    }

    fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, self.outgoing.rest()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.take(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes a record, or keeps what the kernel does not take.
    fn send(&mut self, cx: &mut Context<'_>, record: &[u8]) -> io::Result<()> {
        let written = if self.outgoing.is_empty() {
            match Pin::new(&mut self.tcp).poll_write(cx, record) {
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            }
        } else {
            0
        };
        self.outgoing.push(&record[written..]);
        Ok(())
    }

    /// Reads from the connection once; true when nothing more will come.
    fn poll_records(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let kept = self.incoming.len();
        scratch[..kept].copy_from_slice(&self.incoming);
        let mut fresh = ReadBuf::new(&mut scratch[kept..]);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut fresh))?;
        let came = fresh.filled().len();
        let mut rest = Pending::default();
        let (used, _) = self.process(&mut scratch[..kept + came], |plain| {
            let (now, later) = plain.split_at(plain.len().min(buffer.remaining()));
            buffer.put_slice(now);
            rest.push(later);
        })?;
        self.plaintext = rest;
        self.incoming = scratch[used..kept + came].to_vec();
        Poll::Ready(Ok(came == 0))
    }
}

/// Puts a handshake message or an alert behind what waits to be written.
fn encode(
    mut data: EncodeTlsData<'_, ServerConnectionData>,
    outgoing: &mut Pending,
) -> io::Result<()> {
    let needed = match data.encode(&mut []) {
        Ok(_) => 0,
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Err(error @ EncodeError::AlreadyEncoded) => return Err(io::Error::other(error)),
    };
    let start = outgoing.bytes.len();
    outgoing.bytes.resize(start + needed, 0);
    match data.encode(&mut outgoing.bytes[start..]) {
        Ok(_) | Err(EncodeError::AlreadyEncoded) => Ok(()),
        Err(error @ EncodeError::InsufficientSize(_)) => Err(io::Error::other(error)),
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !self.plaintext.is_empty() {
            let many = self.plaintext.rest().len().min(buffer.remaining());
            buffer.put_slice(&self.plaintext.rest()[..many]);
            self.plaintext.take(many);
            return Poll::Ready(Ok(()));
        }
        if self.broken {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buffer.filled().len();
        while buffer.filled().len() == before && !self.peer_closed {
            let ended = SCRATCH.with_borrow_mut(|scratch| self.poll_records(cx, scratch, buffer));
            // Answers, and the alert after an error, go out with the read that caused them.
            let _ = self.poll_outgoing(cx)?;
            if ready!(ended)? && buffer.filled().len() == before && !self.peer_closed {
                // Cut off: without the peer's goodbye nobody knows whether that was all.
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_outgoing(cx))?;
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let plain = &bytes[..bytes.len().min(PLAINTEXT_MAX)];
        SCRATCH.with_borrow_mut(|scratch| {
            let length = self.seal(|traffic| traffic.encrypt(plain, scratch))?;
            self.send(cx, &scratch[..length])
        })?;
        Poll::Ready(Ok(plain.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_outgoing(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            self.closing = true;
            let mut goodbye = [0; 64];
            // After an error there is nobody to say it to.
            let length = self
                .seal(|traffic| traffic.queue_close_notify(&mut goodbye))
                .unwrap_or(0);
            self.send(cx, &goodbye[..length])?;
        }
        ready!(self.poll_outgoing(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
