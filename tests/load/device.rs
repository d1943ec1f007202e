//! One simulated device that is not connected: its certificate, and how it comes to a WebSocket.
//!
//! It is built to cost little, because it shares the machine with what is measured: small buffers, and one task while
//! it is connected.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use hub_node::pki::Authority;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use time::OffsetDateTime;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::limits::{READ_BUFFER_BYTES, SESSIONS_KEPT, WRITE_BUFFER_BYTES_MAX};
use crate::tally::Tally;

/// The name of the device with this number.
pub(crate) fn name(number: u32) -> String {
    format!("load-{number:06}")
}

/// A device's connection after the upgrade.
pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// What all devices of a worker share.
pub(crate) struct Kind {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    /// What devices have seen.
    pub(crate) tally: Tally,
    /// Whether acknowledgements are kept back.
    pub(crate) hold: watch::Sender<bool>,
    /// Whether all are to close their connections.
    pub(crate) depart: watch::Sender<bool>,
}

impl Kind {
    /// Devices that trust this authority, PEM, for the server.
    ///
    /// # Errors
    /// When it is no certificate.
    pub(crate) fn new(server_root_pem: &[u8], tally: Tally) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(server_root_pem)?)?;
        Ok(Self {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            roots: Arc::new(roots),
            tally,
            hold: watch::Sender::new(false),
            depart: watch::Sender::new(false),
        })
    }
}

/// A device that is not connected.
pub(crate) struct Device {
    pub(crate) name: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    /// The settings that remember the sessions of one server.
    remembering: OnceCell<Arc<ClientConfig>>,
}

impl Device {
    /// Makes a device with a certificate of this authority.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub(crate) fn make(
        number: u32,
        authority: &Authority,
        now: OffsetDateTime,
    ) -> anyhow::Result<Self> {
        let name = name(number);
        let issued = authority.device(&name.parse()?, 1, now)?;
        Ok(Self {
            name,
            certificate: CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes())?,
            key: PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes())?,
            remembering: OnceCell::new(),
        })
    }

    /// Connects and upgrades; whether a TLS session was resumed. Only with `resume` is one remembered. With a `window`, the system
    /// takes little more than so many bytes before they are read.
    ///
    /// # Errors
    /// When any of it is refused.
    pub(crate) async fn upgrade(
        &self,
        server: SocketAddr,
        kind: &Kind,
        resume: bool,
        window: Option<u32>,
    ) -> anyhow::Result<(Socket, bool)> {
        let stream = TcpSocket::new_v4()?;
        if let Some(bytes) = window {
            stream.set_recv_buffer_size(bytes)?;
        }
        let stream = stream.connect(server).await.context("connect")?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(self.tls(kind, resume)?)
            .connect(ServerName::try_from("localhost")?, stream)
            .await
            .context("TLS handshake")?;
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX);
        let url = "wss://localhost/socket/websocket?vsn=2.0.0";
        let (socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config))
            .await
            .context("upgrade")?;
        Ok((socket, resumed))
    }

    fn tls(&self, kind: &Kind, resume: bool) -> anyhow::Result<Arc<ClientConfig>> {
        if let (true, Some(config)) = (resume, self.remembering.get()) {
            return Ok(config.clone());
        }
        let mut config = ClientConfig::builder_with_provider(kind.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(kind.roots.clone())
            .with_client_auth_cert(vec![self.certificate.clone()], self.key.clone_key())?;
        if !resume {
            config.resumption = Resumption::disabled();
            return Ok(Arc::new(config));
        }
        config.resumption = Resumption::in_memory_sessions(SESSIONS_KEPT);
        // The same settings again, because rustls resumes only what the same settings began.
        Ok(self.remembering.get_or_init(|| Arc::new(config)).clone())
    }
}
