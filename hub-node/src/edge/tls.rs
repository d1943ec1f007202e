//! TLS of the device port: 1.3 and 1.2, one server certificate that can be replaced while running, and session
//! tickets that every node of the cluster opens ([`tickets`](super::tickets)). Whose a client certificate is, presented or brought back
//! from a ticket, is not decided here: whoever accepts a connection must ask; no early data is ever taken.
//!
//! Missing and unknown server names get the one certificate there is: older devices send an address or nothing.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::crypto::hash::HashAlgorithm;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedCipherSuite};

use super::tickets::Tickets;
use crate::secret::ClusterSecret;

/// Tickets a client gets at each handshake: a device reconnects one socket at a time.
const TICKETS_PER_HANDSHAKE: usize = 1;

/// Where the server's certificate chain and key are.
#[derive(Clone, Debug)]
pub struct ServerFiles {
    /// PEM, the server's own certificate first.
    pub chain: PathBuf,
    /// PEM, the key of the first certificate.
    pub key: PathBuf,
}

impl ServerFiles {
    /// Whether the files hold a certificate and the key that belongs to it.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub fn check(&self) -> Result<(), TlsError> {
        load(self, &rustls::crypto::aws_lc_rs::default_provider()).map(drop)
    }
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds no certificate, or no key.
    #[error("{} holds no usable PEM {what}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// Certificate and key do not belong together, or use something unsupported.
    #[error("the server's certificate cannot be used")]
    Unusable(#[source] rustls::Error),
}

/// TLS of the device port.
#[derive(Debug)]
pub struct DeviceTls {
    config: Arc<ServerConfig>,
    certificate: Arc<Certificate>,
    tickets: Arc<Tickets>,
    provider: Arc<CryptoProvider>,
    files: ServerFiles,
}

impl DeviceTls {
    /// Reads the server's files and sets TLS up with this judge of client certificates; tickets are made of the secret.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub(crate) fn build(
        files: ServerFiles,
        verifier: Arc<dyn ClientCertVerifier>,
        secret: ClusterSecret,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let certificate = Arc::new(Certificate(ArcSwap::from_pointee(load(&files, &provider)?)));
        let tickets = Tickets::new(secret);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Unusable)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = Arc::clone(&tickets) as Arc<dyn ProducesTickets>;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
        config.max_early_data_size = 0;
        config.ignore_client_order = true;
        // For the alert that refuses a peer whose handshake was all right.
        config.enable_secret_extraction = true;
        Ok(Self {
            config: Arc::new(config),
            certificate,
            tickets,
            provider,
            files,
        })
    }

    /// What the acceptor needs. Stays the same over reloads.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The certificate in use and what follows it.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.certificate.0.load().cert.clone()
    }

    /// Reads the server's files again; handshakes from now on use them. On error the old ones stay.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.certificate
            .0
            .store(Arc::new(load(&self.files, &self.provider)?));
        Ok(())
    }

    /// Voids all tickets: no session from before resumes here. To be called when an authority is revoked.
    pub fn void_tickets(&self) {
        self.tickets.void();
    }
}

/// The library's own suites, but with SHA-256 first: a handshake hashes a dozen times, and what processors have built in is SHA-256.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let is_sha384 = |suite: &SupportedCipherSuite| {
        let hash = match suite {
            SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
            SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
        };
        hash.algorithm() == HashAlgorithm::SHA384
    };
    // stable, so that the rest of their order stays; 1.3 comes first anyway
    provider.cipher_suites.sort_by_key(is_sha384);
    provider
}

fn load(files: &ServerFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| TlsError::File {
            path: path.clone(),
            source,
        })
    };
    let pem = |path: &PathBuf, what| {
        let path = path.clone();
        move |source| TlsError::Pem { path, what, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(&files.chain)?)
        .collect::<Result<_, _>>()
        .map_err(pem(&files.chain, "certificate"))?;
    if chain.is_empty() {
        return Err(pem(&files.chain, "certificate")(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
        .map_err(pem(&files.key, "private key"))?;
    CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Unusable)
}

/// The server's certificate; the same for every client.
#[derive(Debug)]
struct Certificate(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

#[cfg(test)]
mod tests;
