//! The few answers this port gives before a WebSocket exists: the upgrade, and short refusals that close.

use std::io;
use std::time::Duration;

use hub_core::level::Refusal;
use hub_core::limits::{IDENTITY_RETRY_AFTER, REFUSAL_WRITE_MAX};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::Upgrade;
use crate::identity::admission::Denied;
use crate::identity::fault::reason;

/// A refusal: status, reason and what the client should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status, 400 or above.
    pub status: u16,
    /// Sent as `x-hub-reason`; plain ASCII text.
    pub reason: &'static str,
    /// Sent as `retry-after`, rounded up to whole seconds.
    pub retry_after: Option<Duration>,
    /// One more header that the status calls for.
    header: Option<(&'static str, &'static str)>,
}

impl Answer {
    /// A refusal.
    #[must_use]
    pub const fn new(status: u16, reason: &'static str) -> Self {
        Self {
            status,
            reason,
            retry_after: None,
            header: None,
        }
    }

    /// The refusal that follows from an admission.
    #[must_use]
    pub fn denied(denied: &Denied) -> Self {
        match denied {
            Denied::Refused(Refusal::NoCertificate) => {
                Self::new(401, reason(Refusal::NoCertificate))
            }
            Denied::Refused(refusal) => Self::new(403, reason(*refusal)),
            Denied::Unavailable(_) => {
                Self::new(503, "identities_unavailable").retry_after(IDENTITY_RETRY_AFTER)
            }
        }
    }

    /// The same, with `retry-after`.
    #[must_use]
    pub const fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    pub(super) const fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// The response, head and (empty) body.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!(
            "HTTP/1.1 {} {}\r\nconnection: close\r\ncontent-length: 0\r\nx-hub-reason: {}\r\n",
            self.status,
            phrase(self.status),
            self.reason
        );
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            text.push_str(&format!("retry-after: {seconds}\r\n"));
        }
        if let Some((name, value)) = self.header {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// Writes the response and shuts the stream down, within [`REFUSAL_WRITE_MAX`].
    ///
    /// # Errors
    /// The stream's, or `TimedOut` when the peer does not read.
    pub async fn write<IO: AsyncWrite + Unpin>(&self, io: &mut IO) -> io::Result<()> {
        self.write_within(io, REFUSAL_WRITE_MAX).await
    }

    async fn write_within<IO: AsyncWrite + Unpin>(
        &self,
        io: &mut IO,
        limit: Duration,
    ) -> io::Result<()> {
        let bytes = self.to_bytes();
        let write = async {
            io.write_all(&bytes).await?;
            io.shutdown().await
        };
        tokio::time::timeout(limit, write).await?
    }
}

/// The response that makes the connection a WebSocket. No extension and no subprotocol is agreed to.
#[must_use]
pub fn accept(upgrade: &Upgrade) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {}\r\n\r\n",
        derive_accept_key(upgrade.key.as_bytes())
    )
    .into_bytes()
}

fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_closes_and_says_why() {
        let answer = Answer::new(429, "too_many").retry_after(Duration::from_millis(1500));
        let text = String::from_utf8(answer.to_bytes()).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
            "{text}"
        );
        assert!(text.contains("connection: close\r\n"), "{text}");
        assert!(text.contains("content-length: 0\r\n"), "{text}");
        assert!(text.contains("x-hub-reason: too_many\r\n"), "{text}");
        assert!(text.contains("retry-after: 2\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "{text}");
    }

    #[test]
    fn no_certificate_is_401_and_a_refused_one_403() {
        assert_eq!(
            Answer::denied(&Denied::Refused(Refusal::NoCertificate)).status,
            401
        );
        assert_eq!(
            Answer::denied(&Denied::Refused(Refusal::CertificateRevoked)).status,
            403
        );
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_given_up() {
        let (mut near, _far) = tokio::io::duplex(8);
        let error = Answer::new(400, "x")
            .write_within(&mut near, Duration::from_millis(5))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
