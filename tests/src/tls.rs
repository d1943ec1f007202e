//! TLS from a device's side: version, certificate and session store chosen by the test.
//!
//! One [`TlsDialer`] is one device: its sessions are kept between connections, so a second dial resumes the
//! first, which is what a revoked device would try.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pki::Leaf;
use crate::wait;

/// Sessions one dialer remembers.
const SESSIONS_MAX: usize = 16;

/// The TLS versions a device may offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2 alone, as the Nerves clients of 2023 and later do by default.
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
    /// Both.
    Any,
}

impl Version {
    fn offered(self) -> &'static [&'static SupportedProtocolVersion] {
        static TLS12_ALONE: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
        static TLS13_ALONE: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
        match self {
            Self::Tls12 => &TLS12_ALONE,
            Self::Tls13 => &TLS13_ALONE,
            Self::Any => rustls::ALL_VERSIONS,
        }
    }
}

/// A device's TLS settings and its memory of earlier sessions.
#[derive(Clone, Debug)]
pub struct TlsDialer {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    receive_buffer_bytes: Option<u32>,
}

impl TlsDialer {
    /// A dialer that trusts `server_root` for `localhost` and presents `device`, if any.
    ///
    /// # Errors
    /// When the certificate and key do not fit together.
    pub fn new(
        server_root: &CertificateDer<'static>,
        device: Option<&Leaf>,
        version: Version,
    ) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(server_root.clone())?;
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(version.offered())?
            .with_root_certificates(roots);
        let mut config = match device {
            Some(leaf) => config.with_client_auth_cert(leaf.chain.clone(), leaf.private_key())?,
            None => config.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Ok(Self {
            config: Arc::new(config),
            server_name: ServerName::try_from("localhost")?,
            receive_buffer_bytes: None,
        })
    }

    /// The same device asking for another server name (SNI); the server's certificate must hold it.
    ///
    /// # Errors
    /// When it is no host name.
    pub fn asking_for(mut self, server_name: &str) -> anyhow::Result<Self> {
        self.server_name = ServerName::try_from(server_name.to_owned())?;
        Ok(self)
    }

    /// The same device with a small receive buffer in the kernel (rounded as that likes): one that does not
    /// read is then seen as slow after little data.
    #[must_use]
    pub fn receiving_at_most(mut self, bytes: u32) -> Self {
        self.receive_buffer_bytes = Some(bytes);
        self
    }

    /// Connects and completes the handshake.
    ///
    /// With TLS 1.3 a refusal of the client certificate shows at the first read *after* this, because the
    /// client's last flight is not answered: use [`TlsDialer::refusal`] to look for one.
    ///
    /// # Errors
    /// When the peer refuses or the deadline passes.
    pub async fn dial(&self, address: SocketAddr) -> anyhow::Result<TlsStream<TcpStream>> {
        wait::within("the TLS handshake", wait::PATIENCE, async {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            if let Some(bytes) = self.receive_buffer_bytes {
                socket.set_recv_buffer_size(bytes)?;
            }
            let socket = socket
                .connect(address)
                .await
                .with_context(|| format!("cannot connect to {address}"))?;
            socket.set_nodelay(true)?;
            let connector = TlsConnector::from(Arc::clone(&self.config));
            Ok(connector.connect(self.server_name.clone(), socket).await?)
        })
        .await
    }

    /// Dials a server that must refuse, and gives the error it refused with.
    ///
    /// # Errors
    /// When the server did not refuse within the deadline.
    pub async fn refusal(&self, address: SocketAddr) -> anyhow::Result<std::io::Error> {
        use tokio::io::AsyncReadExt as _;
        let mut stream = match self.dial(address).await {
            Ok(stream) => stream,
            Err(error) => return error.downcast::<std::io::Error>(),
        };
        wait::within("a refusal after the handshake", wait::PATIENCE, async {
            match stream.read(&mut [0; 1]).await {
                Err(error) => Ok(error),
                Ok(0) => bail!("closed without an alert"),
                Ok(_) => bail!("accepted: the server sent data"),
            }
        })
        .await
    }
}

/// Whether a connection resumed an earlier session.
#[must_use]
pub fn resumed(stream: &TlsStream<TcpStream>) -> bool {
    let (_, connection) = stream.get_ref();
    match connection.handshake_kind() {
        Some(HandshakeKind::Resumed) => true,
        Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest) | None => false,
    }
}

/// The alert in an error that a TLS stream returned, if the peer sent one.
#[must_use]
pub fn alert(error: &std::io::Error) -> Option<rustls::AlertDescription> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    if let rustls::Error::AlertReceived(alert) = inner {
        Some(*alert)
    } else {
        None
    }
}
