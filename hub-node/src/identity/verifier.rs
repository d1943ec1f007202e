//! The first look at a client's certificate, inside the TLS handshake: certificates are asked for, never demanded, and must make sense.
//!
//! Who holds one is judged by [`Verdicts`](super::verdicts::Verdicts) while the handshake's last bytes are kept back
//! ([`Opening`](crate::edge::tls_stream::Opening)): that takes the store, and the TLS library cannot wait. No authority names are sent: a
//! tenant's list of authorities is nobody else's business.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::path::{ALGORITHMS, Presented};

/// Reads device certificates during the handshake.
#[derive(Debug)]
pub struct DeviceVerifier;

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
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match Presented::read(end_entity, intermediates) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
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
