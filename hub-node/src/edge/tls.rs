//! TLS of the device port: 1.3 and 1.2, one server certificate that can be replaced while running, and session
//! tickets that every node of the cluster opens ([`tickets`](super::tickets)). Whose a client certificate is, presented or brought back
//! from a ticket, is not decided here: whoever accepts a connection must ask; no early data is ever taken.
//!
//! Missing and unknown server names get the one certificate there is: older devices send an address or nothing.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::hash::HashAlgorithm;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedCipherSuite};

use super::tickets::Tickets;
use crate::secret::ClusterSecret;
use crate::server_certificate::{ServerCertificate, ServerFiles, TlsError};

/// Tickets a client gets at each handshake: a device reconnects one socket at a time.
const TICKETS_PER_HANDSHAKE: usize = 1;

/// TLS of the device port.
#[derive(Debug)]
pub struct DeviceTls {
    config: Arc<ServerConfig>,
    certificate: Arc<ServerCertificate>,
    tickets: Arc<Tickets>,
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
        let certificate = Arc::new(ServerCertificate::load(files, Arc::clone(&provider))?);
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
        })
    }

    /// What the acceptor needs. Stays the same over reloads.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The certificate, which can be read again.
    pub(crate) fn certificate(&self) -> Arc<ServerCertificate> {
        Arc::clone(&self.certificate)
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

#[cfg(test)]
mod tests;
