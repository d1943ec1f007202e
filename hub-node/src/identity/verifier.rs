//! The verdict inside the TLS handshake: client certificates are asked for, never demanded, and judged by
//! [`Verdicts`]. No authority names are sent: a tenant's list of authorities is nobody else's business.

use std::sync::Arc;
use std::time::Duration;

use hub_proto::time::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::path::ALGORITHMS;
use super::verdicts::Verdicts;

/// Judges device certificates during the handshake.
#[derive(Debug)]
pub struct DeviceVerifier {
    verdicts: Arc<Verdicts>,
}

impl DeviceVerifier {
    /// A verifier that asks `verdicts`.
    #[must_use]
    pub fn new(verdicts: Arc<Verdicts>) -> Arc<Self> {
        Arc::new(Self { verdicts })
    }
}

impl ClientCertVerifier for DeviceVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    /// Programs that download firmware by signed URL have no certificate; the upgrade answers 401 to a device
    /// without one.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let micros = Duration::from_secs(now.as_secs()).as_micros();
        let now = Timestamp(i64::try_from(micros).unwrap_or(i64::MAX));
        match self.verdicts.give_blocking(end_entity, intermediates, now) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(fault) => {
                tracing::debug!(%fault, "a client certificate is refused");
                Err(Error::InvalidCertificate(fault.for_handshake()))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &ALGORITHMS)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}
