//! The way from an unknown certificate up to a registered authority; pure, apart from the signatures it checks.
//!
//! Three bounds keep a hostile chain cheap: the number of certificates, one straight line through them (a
//! client's certificates never fan out into a search), and a handful of candidate authorities.

use std::sync::LazyLock;
use std::time::Duration;

use hub_core::level::Refusal;
use hub_core::limits::INTERMEDIATES_MAX;
use hub_proto::time::Timestamp;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::certificate::{CertificateFacts, Usage};
use super::fault::CertificateFault;
use crate::store::records::{Anchor, Identity};

/// The signature algorithms of the TLS provider.
pub(crate) static ALGORITHMS: LazyLock<WebPkiSupportedAlgorithms> = LazyLock::new(|| {
    rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms
});

/// A client's certificates, read and put in line.
#[derive(Debug)]
pub struct Presented<'a> {
    /// The device's own certificate.
    pub leaf: CertificateDer<'a>,
    /// What it says.
    pub facts: CertificateFacts,
    /// The issuers the client sent along, nearest first, each naming the next.
    issuers: Vec<(CertificateDer<'a>, CertificateFacts)>,
}

impl<'a> Presented<'a> {
    /// Reads what a client presented and refuses what no device certificate may be, whoever signed it.
    ///
    /// # Errors
    /// `Malformed`, `ChainTooLong`, `IsAuthority`, `WrongUsage` or `ForbiddenName`.
    pub fn read(
        leaf: &'a [u8],
        intermediates: &'a [CertificateDer<'_>],
    ) -> Result<Self, CertificateFault> {
        if intermediates.len() > INTERMEDIATES_MAX {
            return Err(CertificateFault::ChainTooLong);
        }
        let facts = CertificateFacts::read(leaf).map_err(|_| CertificateFault::Malformed)?;
        if facts.authority.is_some() {
            return Err(CertificateFault::IsAuthority);
        }
        if facts.usage == Usage::OtherOnly {
            return Err(CertificateFault::WrongUsage);
        }
        if facts.has_wildcard {
            return Err(CertificateFault::ForbiddenName);
        }
        let issuers = line_up(&facts, intermediates);
        Ok(Self {
            leaf: CertificateDer::from(leaf),
            facts,
            issuers,
        })
    }

    /// Its dates against the clock.
    ///
    /// # Errors
    /// `Refused` with `Expired` or `NotYetValid`.
    pub fn check_dates(&self, now: Timestamp) -> Result<(), CertificateFault> {
        if now > self.facts.not_after {
            return Err(CertificateFault::Refused(Refusal::Expired));
        }
        if now < self.facts.not_before {
            return Err(CertificateFault::Refused(Refusal::NotYetValid));
        }
        Ok(())
    }

    /// The places where a registered authority may stand: above the device's certificate first, then above each
    /// issuer in line. Each is the certificate whose issuer is sought, and how many issuers lie below.
    pub fn levels(&self) -> impl Iterator<Item = (&CertificateFacts, usize)> {
        let above = self
            .issuers
            .iter()
            .enumerate()
            .map(|(index, (_, facts))| (facts, index + 1));
        std::iter::once((&self.facts, 0)).chain(above)
    }

    /// Does a path lead through the first `issuers` of the line to one of `anchors`? The first anchor that
    /// carries the path decides, even against the device: another one must not undo a revocation.
    ///
    /// # Errors
    /// `Refused(Unknown)` when no path leads to any of them, a more telling fault when one nearly does, and
    /// `Refused(AuthorityRevoked)` when the one it leads to is revoked.
    pub fn verify<'s>(
        &self,
        issuers: usize,
        anchors: &'s [Anchor],
        now: Timestamp,
    ) -> Result<&'s Anchor, CertificateFault> {
        let intermediates: Vec<CertificateDer<'_>> = self
            .issuers
            .iter()
            .take(issuers)
            .map(|(der, _)| CertificateDer::from(der.as_ref()))
            .collect();
        let mut fault = CertificateFault::Refused(Refusal::Unknown);
        for anchor in anchors {
            match leads_to(&self.leaf, &intermediates, &anchor.der, now) {
                Ok(()) if anchor.revoked => {
                    return Err(CertificateFault::Refused(Refusal::AuthorityRevoked));
                }
                Ok(()) => return Ok(anchor),
                Err(found) => fault = more_telling(fault, found),
            }
        }
        Err(fault)
    }
}

/// Does the known holder of this certificate come in?
///
/// # Errors
/// The holder's refusal, or the certificate's dates.
pub fn admit_known(
    presented: &Presented<'_>,
    identity: &Identity,
    now: Timestamp,
) -> Result<(), CertificateFault> {
    match identity.refusal {
        Some(refusal) => Err(CertificateFault::Refused(refusal)),
        None => presented.check_dates(now),
    }
}

/// Keeps the fault that says more than "unknown".
pub(crate) fn more_telling(held: CertificateFault, found: CertificateFault) -> CertificateFault {
    if matches!(held, CertificateFault::Refused(Refusal::Unknown)) {
        found
    } else {
        held
    }
}

/// Follows issuer names (and key ids, where both sides have one) from the device's certificate up, as far as
/// the client's certificates reach. Order follows the client's; a certificate is used once.
fn line_up<'a>(
    leaf: &CertificateFacts,
    intermediates: &'a [CertificateDer<'_>],
) -> Vec<(CertificateDer<'a>, CertificateFacts)> {
    let mut pool: Vec<_> = intermediates
        .iter()
        .filter_map(|der| {
            Some((
                CertificateDer::from(der.as_ref()),
                CertificateFacts::read(der).ok()?,
            ))
        })
        .collect();
    let mut line: Vec<(CertificateDer<'a>, CertificateFacts)> = Vec::new();
    loop {
        let child = line.last().map_or(leaf, |(_, facts)| facts);
        // Nothing stands above a certificate that names itself as its issuer.
        if child.issuer_der == child.subject_der {
            return line;
        }
        let Some(next) = pool
            .iter()
            .position(|(_, facts)| may_have_signed(facts, child))
        else {
            return line;
        };
        line.push(pool.remove(next));
    }
}

fn may_have_signed(issuer: &CertificateFacts, child: &CertificateFacts) -> bool {
    let ids_agree = match (&child.authority_key_id, &issuer.subject_key_id) {
        (Some(wanted), Some(has)) => wanted == has,
        (Some(_) | None, Some(_) | None) => true,
    };
    issuer.subject_der == child.issuer_der && ids_agree
}

/// One authority, one line of intermediates: does the signature chain hold? Also checks what the path builder
/// leaves to its caller about the authority itself: its dates and how long a path it allows.
fn leads_to(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchor: &[u8],
    now: Timestamp,
) -> Result<(), CertificateFault> {
    let unknown = CertificateFault::Refused(Refusal::Unknown);
    let Ok(facts) = CertificateFacts::read(anchor) else {
        return Err(unknown);
    };
    if now < facts.not_before || now > facts.not_after {
        return Err(unknown);
    }
    let anchor = CertificateDer::from(anchor);
    let Ok(trust) = webpki::anchor_from_trusted_cert(&anchor) else {
        return Err(unknown);
    };
    let anchors = [trust];
    let end_entity = EndEntityCert::try_from(leaf).map_err(|error| translate(&error))?;
    let path = end_entity
        .verify_for_usage(
            ALGORITHMS.all,
            &anchors,
            intermediates,
            unix_time(now),
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map_err(|error| translate(&error))?;
    let below = path.intermediate_certificates().count();
    let allowed = facts.authority.and_then(|authority| authority.path_length);
    match allowed {
        Some(allowed) if below > usize::try_from(allowed).unwrap_or(usize::MAX) => Err(unknown),
        Some(_) | None => Ok(()),
    }
}

fn unix_time(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_micros(u64::try_from(now.0).unwrap_or(0)))
}

/// The path builder's errors in our words. What only says "this is not signed by whom it claims" is unknown.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign, open list of errors; whatever it grows by is no proof of a signature"
)]
fn translate(error: &webpki::Error) -> CertificateFault {
    use webpki::Error;
    match error {
        Error::CertExpired { .. } | Error::InvalidCertValidity => {
            CertificateFault::Refused(Refusal::Expired)
        }
        Error::CertNotValidYet { .. } => CertificateFault::Refused(Refusal::NotYetValid),
        Error::CaUsedAsEndEntity => CertificateFault::IsAuthority,
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            CertificateFault::WrongUsage
        }
        Error::NameConstraintViolation
        | Error::MalformedDnsIdentifier
        | Error::MalformedNameConstraint
        | Error::MaximumNameConstraintComparisonsExceeded => CertificateFault::ForbiddenName,
        Error::BadDer
        | Error::BadDerTime
        | Error::TrailingData(_)
        | Error::MalformedExtensions
        | Error::ExtensionValueInvalid
        | Error::InvalidSerialNumber => CertificateFault::Malformed,
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | Error::UnsupportedCriticalExtension
        | Error::UnsupportedCertVersion
        | Error::SignatureAlgorithmMismatch => CertificateFault::Unsupported,
        _ => CertificateFault::Refused(Refusal::Unknown),
    }
}

#[cfg(test)]
mod tests;
