//! A connection whose peer is not judged yet.
//!
//! Rule owned here: of a full handshake nothing that a client could take for success goes out before the verdict; who is refused gets
//! the alert that says why, as if the handshake itself had refused (RFC 8446 §6.2, RFC 5246 §7.2).

use std::io;

use rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage};
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, HandshakeKind, ProtocolVersion,
};
use tokio::io::AsyncWriteExt;

use super::{Pending, TlsStream};

/// A fatal alert (RFC 8446 §6).
const FATAL: u8 = 2;

/// A handshake that is done but for its last bytes, which are kept back.
#[derive(Debug)]
pub struct Opening(pub(super) TlsStream);

impl Opening {
    /// The peer's certificate chain, its own first; `None` when it showed none.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.0.peer_certificates()
    }

    /// Whether this goes on with a session of before: then the peer takes it for made already, and no alert can refuse it.
    pub fn is_resumed(&self) -> bool {
        self.0.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Ends the handshake well.
    ///
    /// # Errors
    /// The connection's.
    pub async fn open(mut self) -> io::Result<TlsStream> {
        self.0.flush().await?;
        Ok(self.0)
    }

    /// Ends a full handshake with an alert, and the connection.
    ///
    /// # Errors
    /// The connection's.
    pub async fn refuse(mut self, why: AlertDescription) -> io::Result<()> {
        self.0.outgoing = Pending::default();
        if let Some(record) = alert(*self.0.tls, why) {
            self.0.tcp.write_all(&record).await?;
        }
        self.0.tcp.shutdown().await
    }
}

/// The record of an alert that is the server's first after its part of a full handshake. In TLS 1.2 the client has no keys yet, in 1.3
/// the server writes with the keys of the session.
fn alert(tls: UnbufferedServerConnection, why: AlertDescription) -> Option<Vec<u8>> {
    let body = [FATAL, u8::from(why)];
    if tls.protocol_version()? == ProtocolVersion::TLSv1_2 {
        let [level, description] = body;
        return Some(vec![
            ContentType::Alert.into(),
            3,
            3,
            0,
            2,
            level,
            description,
        ]);
    }
    let suite = tls.negotiated_cipher_suite()?.tls13()?;
    let (secrets, _) = tls.dangerous_into_kernel_connection().ok()?;
    let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }
    | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
    | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets.tx.1
    else {
        return None;
    };
    let message = OutboundPlainMessage {
        typ: ContentType::Alert,
        version: ProtocolVersion::TLSv1_2,
        payload: OutboundChunks::Single(&body),
    };
    let mut encrypter = suite.aead_alg.encrypter(key, iv);
    encrypter
        .encrypt(message, 0)
        .ok()
        .map(|record| record.encode())
}
