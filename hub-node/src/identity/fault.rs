//! Why a certificate is not accepted, and which TLS alert says so. Alerts tell a stranger as little as the
//! standard allows; the log gets the fault itself.

use hub_core::level::Refusal;
use rustls::{AlertDescription, CertificateError};

use crate::store::StoreError;

/// Why a presented certificate does not let a device in.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFault {
    /// It is not a readable certificate.
    #[error("the certificate cannot be read")]
    Malformed,
    /// More intermediates than any sane hierarchy has; refused before anything is looked up.
    #[error("the certificate comes with too many intermediates")]
    ChainTooLong,
    /// An authority's certificate, used as a device's.
    #[error("an authority's certificate is not a device certificate")]
    IsAuthority,
    /// Its extended key usage leaves out client authentication.
    #[error("the certificate is not for client authentication")]
    WrongUsage,
    /// A wildcard, or a name its authority may not certify.
    #[error("the certificate has a name that is not allowed")]
    ForbiddenName,
    /// Signed with an algorithm that is too weak or unknown, or carrying a critical extension nobody here knows.
    #[error("the certificate uses something unsupported")]
    Unsupported,
    /// It makes sense, and its holder may not come in.
    #[error("the certificate is refused: {}", reason(*.0))]
    Refused(Refusal),
    /// The store could not say who it is.
    #[error("the certificate cannot be looked up now")]
    Unavailable(#[source] StoreError),
    /// The look-up took too long.
    #[error("the certificate's look-up took too long")]
    TimedOut,
    /// Too many look-ups are running.
    #[error("too many certificates are being looked up")]
    Busy,
}

impl CertificateFault {
    /// The alert this fault deserves.
    #[must_use]
    pub fn alert(&self) -> AlertDescription {
        self.for_handshake().into()
    }

    /// What to tell rustls, so that the client sees the alert this fault deserves.
    #[must_use]
    pub fn for_handshake(&self) -> CertificateError {
        match self {
            // -> bad_certificate
            Self::Malformed | Self::ChainTooLong | Self::Unsupported => {
                CertificateError::BadEncoding
            }
            Self::ForbiddenName => CertificateError::NotValidForName,
            // -> unsupported_certificate
            Self::IsAuthority | Self::WrongUsage => CertificateError::InvalidPurpose,
            Self::Refused(refusal) => match refusal {
                // -> certificate_expired
                Refusal::Expired => CertificateError::Expired,
                Refusal::NotYetValid => CertificateError::NotValidYet,
                // -> certificate_revoked
                Refusal::CertificateRevoked | Refusal::DeviceRevoked => CertificateError::Revoked,
                // -> unknown_ca
                Refusal::NoCertificate
                | Refusal::Unknown
                | Refusal::QuotaExceeded
                | Refusal::BadIdentifier
                | Refusal::AuthorityRevoked => CertificateError::UnknownIssuer,
            },
            // -> access_denied
            Self::Unavailable(_) | Self::TimedOut | Self::Busy => {
                CertificateError::ApplicationVerificationFailure
            }
        }
    }

    /// The fault as a standing: `None` when it is ours and may pass.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Malformed
            | Self::ChainTooLong
            | Self::IsAuthority
            | Self::WrongUsage
            | Self::ForbiddenName
            | Self::Unsupported => Some(Refusal::Unknown),
            Self::Refused(refusal) => Some(*refusal),
            Self::Unavailable(_) | Self::TimedOut | Self::Busy => None,
        }
    }
}

/// Stable name of a refusal, for headers, logs and counters.
#[must_use]
pub const fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NoCertificate => "no_certificate",
        Refusal::Unknown => "unknown_certificate",
        Refusal::QuotaExceeded => "quota_exceeded",
        Refusal::BadIdentifier => "bad_identifier",
        Refusal::Expired => "certificate_expired",
        Refusal::NotYetValid => "certificate_not_yet_valid",
        Refusal::CertificateRevoked => "certificate_revoked",
        Refusal::AuthorityRevoked => "authority_revoked",
        Refusal::DeviceRevoked => "device_revoked",
    }
}
