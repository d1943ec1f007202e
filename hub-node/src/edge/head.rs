//! Guards the first HTTP request on the device port: bounded in bytes, headers and time, read strictly, and
//! matched against exact routes before anything else looks at it. Nothing is normalised: a path is what it says,
//! or it is not there. Headers that claim an identity are ignored; only the certificate speaks.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hub_core::limits::{REQUEST_HEAD_BYTES_MAX, REQUEST_HEAD_MAX};
use hub_proto::frame::Serializer;
use tokio::io::{AsyncRead, AsyncReadExt};

pub mod answer;
mod read;
mod scan;

pub use answer::{Answer, accept};
pub use read::judge;
use scan::Scan;

/// Path of the WebSocket upgrade.
pub const SOCKET_PATH: &str = "/socket/websocket";
/// Every firmware download starts with this.
pub const FIRMWARE_PREFIX: &str = "/firmware/";

/// First guess at the size of a request head, bytes; most fit.
const FIRST_READ_BYTES: usize = 1024;

/// What may differ between listeners.
#[derive(Clone, Debug)]
pub struct HeadPolicy {
    /// The head must be complete within this time from the call.
    pub deadline: Duration,
    /// Values of `Origin` that may open a socket; devices send none.
    pub origins: Vec<String>,
}

impl Default for HeadPolicy {
    fn default() -> Self {
        Self {
            deadline: REQUEST_HEAD_MAX,
            origins: Vec::new(),
        }
    }
}

/// The first request of a connection.
#[derive(Clone, Debug)]
pub struct Head {
    /// What it asks for.
    pub kind: HeadKind,
    /// How many of its headers claimed an identity or an address; all were ignored.
    pub claims: usize,
    read: Bytes,
    end: usize,
}

/// What the first request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadKind {
    /// A WebSocket, correctly asked for.
    Upgrade(Upgrade),
    /// A firmware download; the HTTP library takes over, from the first byte on.
    Download,
    /// Nothing it can have.
    Refuse(Answer),
    /// The peer went away before it had asked.
    Gone,
}

/// A WebSocket upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// `Sec-WebSocket-Key`, checked to be 16 bytes in base64.
    pub key: Box<str>,
    /// The framing its `vsn` asks for.
    pub serializer: Serializer,
    /// Subprotocols it offers; none is ever chosen.
    pub protocols: Vec<Box<str>>,
}

impl Head {
    /// Everything read from the connection so far, the head included: what an HTTP library must be given first.
    #[must_use]
    pub fn replay(&self) -> Bytes {
        self.read.clone()
    }

    /// What was read beyond the head: the first bytes of the WebSocket, if the client could not wait.
    #[must_use]
    pub fn rest(&self) -> Bytes {
        self.read.slice(self.end..)
    }

    fn refused(answer: Answer, read: BytesMut) -> Self {
        let end = read.len();
        Self {
            kind: HeadKind::Refuse(answer),
            claims: 0,
            read: read.freeze(),
            end,
        }
    }
}

/// Reads and judges the first request. Reads at most [`REQUEST_HEAD_BYTES_MAX`] bytes and takes at most the
/// policy's deadline; total: whatever comes, an answer.
pub async fn read_head<IO: AsyncRead + Unpin>(io: &mut IO, policy: &HeadPolicy) -> Head {
    let mut buffer = BytesMut::with_capacity(FIRST_READ_BYTES);
    let outcome = tokio::time::timeout(policy.deadline, fill(io, &mut buffer)).await;
    match outcome {
        Err(_) => Head::refused(
            Answer::new(408, "the request did not arrive in time"),
            buffer,
        ),
        Ok(Filled::TooLarge) => {
            Head::refused(Answer::new(431, "the request head is too large"), buffer)
        }
        Ok(Filled::Refused(why)) => Head::refused(Answer::new(400, why), buffer),
        Ok(Filled::Gone) => Head {
            kind: HeadKind::Gone,
            claims: 0,
            read: Bytes::new(),
            end: 0,
        },
        Ok(Filled::Complete(end)) => {
            let (kind, claims) = judge(&buffer[..end], policy);
            Head {
                kind,
                claims,
                read: buffer.freeze(),
                end,
            }
        }
    }
}

enum Filled {
    /// The head ends here.
    Complete(usize),
    TooLarge,
    Refused(&'static str),
    Gone,
}

async fn fill<IO: AsyncRead + Unpin>(io: &mut IO, buffer: &mut BytesMut) -> Filled {
    let mut scan = Scan::default();
    loop {
        let room = REQUEST_HEAD_BYTES_MAX - buffer.len();
        if room == 0 {
            return Filled::TooLarge;
        }
        match io.take(room as u64).read_buf(buffer).await {
            Ok(0) | Err(_) => return Filled::Gone,
            Ok(_) => {}
        }
        match scan.go_on(buffer) {
            Ok(Some(end)) => return Filled::Complete(end),
            Ok(None) => {}
            Err(why) => return Filled::Refused(why),
        }
    }
}

#[cfg(test)]
mod tests;
