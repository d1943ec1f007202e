//! What must be shown before an authority is trusted or a certificate is pinned.
//!
//! An authority is registered by whoever holds its key: the upload comes with a second certificate, signed by
//! that key, whose common name is a code this hub issued a moment ago. That also keeps the web's public roots
//! out without a copy of their list, which would always be old: nobody can make a public authority sign a
//! dotless random name. The same holds for every authority whose operator checks the names it signs.

use hub_core::limits::CERTIFICATE_PEM_BYTES_MAX;
use hub_proto::id::{OrgId, ProductId};
use hub_proto::time::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
    OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512,
    OID_SIG_ED25519, Oid,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::admission::pin;
use super::certificate::{CertificateFacts, Usage};
use super::path::ALGORITHMS;
use crate::store::records::{NewAuthority, NewCertificate};

/// Smallest and largest RSA modulus, bits: below is too weak, above is not verified by the TLS library.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Field of the API body with the certificate itself.
pub const CERTIFICATE_FIELD: &str = "certificate_pem";
/// Field of the API body with the proof of possession.
pub const VERIFICATION_FIELD: &str = "verification_pem";

/// What is wrong with an upload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct RegistrationError {
    /// The field of the request that is wrong.
    pub field: &'static str,
    /// Stable code for scripts.
    pub code: &'static str,
    /// A sentence for people.
    pub detail: String,
}

/// An authority whose key the uploader holds.
#[derive(Clone, Debug)]
pub struct CheckedAuthority {
    der: Vec<u8>,
    facts: CertificateFacts,
}

impl CheckedAuthority {
    /// What it says about itself.
    #[must_use]
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// The row to store for `org`, which uses up `code`.
    #[must_use]
    pub fn into_new(
        self,
        org: OrgId,
        code: String,
        provisioning: Option<(ProductId, u32)>,
    ) -> NewAuthority {
        let key_id = self.facts.trusted_key_id().map(<[u8]>::to_vec);
        NewAuthority {
            org,
            code,
            der: self.der,
            sha256: self.facts.sha256,
            key_sha256: self.facts.key_sha256,
            key_id,
            subject_der: self.facts.subject_der,
            subject: self.facts.subject,
            not_before: self.facts.not_before,
            not_after: self.facts.not_after,
            provisioning,
        }
    }
}

/// Checks an authority's certificate and the proof that the uploader holds its key. That `code` was issued to
/// this org, is unused and not expired is the store's to check.
///
/// # Errors
/// The field, a stable code and a sentence.
pub fn check_authority(
    certificate_pem: &str,
    verification_pem: &str,
    code: &str,
    now: Timestamp,
) -> Result<CheckedAuthority, RegistrationError> {
    let fail = |code, detail: &str| Err(error(CERTIFICATE_FIELD, code, detail));
    let (der, facts) = read_one(CERTIFICATE_FIELD, certificate_pem)?;
    match facts.authority {
        None => {
            return fail(
                "not_an_authority",
                "this certificate is not one of an authority (CA:TRUE)",
            );
        }
        Some(authority) if !authority.signs_certificates => {
            return fail(
                "not_an_authority",
                "its key usage does not include certificate signing (keyCertSign)",
            );
        }
        Some(_) => {}
    }
    check_strength(CERTIFICATE_FIELD, &der)?;
    if now > facts.not_after {
        return fail("expired", "this certificate has expired");
    }
    if facts.subject_der.len() <= 2 {
        return fail(
            "no_subject",
            "its subject is empty, so no certificate could name it as its issuer",
        );
    }
    if webpki::anchor_from_trusted_cert(&der).is_err() {
        return fail(
            "unsupported",
            "it has a critical extension or a form that cannot be verified against",
        );
    }
    check_possession(&der, &facts, verification_pem, code, now)?;
    Ok(CheckedAuthority {
        der: der.to_vec(),
        facts,
    })
}

/// Reads a device's certificate that an operator wants to pin. It may be signed by anybody, itself included.
///
/// # Errors
/// The field, a stable code and a sentence.
pub fn read_device_certificate(
    pem: &str,
    now: Timestamp,
) -> Result<NewCertificate, RegistrationError> {
    let fail = |code, detail: &str| Err(error(CERTIFICATE_FIELD, code, detail));
    let (der, facts) = read_one(CERTIFICATE_FIELD, pem)?;
    if facts.authority.is_some() {
        return fail(
            "is_authority",
            "this is an authority's certificate (CA:TRUE); a device needs one of its own",
        );
    }
    if facts.usage == Usage::OtherOnly {
        return fail(
            "wrong_usage",
            "its extended key usage leaves out client authentication",
        );
    }
    if facts.has_wildcard {
        return fail(
            "wildcard",
            "a device certificate must not have a wildcard name",
        );
    }
    if now > facts.not_after {
        return fail("expired", "this certificate has expired");
    }
    check_key(CERTIFICATE_FIELD, &parse(CERTIFICATE_FIELD, &der)?)?;
    if EndEntityCert::try_from(&der).is_err() {
        return fail(
            "unsupported",
            "it has a critical extension or a form that TLS clients cannot use",
        );
    }
    Ok(pin(&facts, now))
}

/// The verification certificate: its only common name is the code, and the authority's key signed it.
fn check_possession(
    authority: &CertificateDer<'_>,
    facts: &CertificateFacts,
    verification_pem: &str,
    code: &str,
    now: Timestamp,
) -> Result<(), RegistrationError> {
    let fail = |code, detail: &str| Err(error(VERIFICATION_FIELD, code, detail));
    let (der, proof) = read_one(VERIFICATION_FIELD, verification_pem)?;
    let verification = parse(VERIFICATION_FIELD, &der)?;
    let mut names = verification.subject().iter_common_name();
    let name = names.next().and_then(|name| name.as_str().ok());
    if code.is_empty() || name != Some(code) || names.next().is_some() {
        return fail("wrong_code", "its common name is not the registration code");
    }
    if proof.issuer_der != facts.subject_der {
        return fail(
            "not_signed_by_authority",
            "its issuer is not the authority being registered",
        );
    }
    if now > proof.not_after {
        return fail("expired", "the verification certificate has expired");
    }
    let unsupported = |_| {
        error(
            CERTIFICATE_FIELD,
            "unsupported",
            "its key cannot be used to verify signatures",
        )
    };
    let key = EndEntityCert::try_from(authority).map_err(unsupported)?;
    let message = verification.tbs_certificate.as_ref();
    let signature = verification.signature_value.data.as_ref();
    // Weak digests are not among these algorithms, so a proof made with SHA-1 proves nothing.
    if ALGORITHMS
        .all
        .iter()
        .any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok())
    {
        return Ok(());
    }
    fail(
        "not_signed_by_authority",
        "it is not signed by the key of the authority being registered",
    )
}

/// Exactly one certificate, within the size limit, and nothing secret beside it.
fn read_one(
    field: &'static str,
    pem: &str,
) -> Result<(CertificateDer<'static>, CertificateFacts), RegistrationError> {
    if pem.len() > CERTIFICATE_PEM_BYTES_MAX {
        let limit = format!("more than {CERTIFICATE_PEM_BYTES_MAX} bytes of PEM text");
        return Err(error(field, "too_large", &limit));
    }
    if pem.contains("PRIVATE KEY-----") {
        let detail =
            "the text holds a private key; hub never needs one, and this one should be replaced";
        return Err(error(field, "private_key", detail));
    }
    let mut found = CertificateDer::pem_slice_iter(pem.as_bytes());
    let first = found
        .next()
        .ok_or_else(|| error(field, "no_certificate", "no PEM certificate in the text"))?;
    let der = first.map_err(|_| error(field, "bad_pem", "the PEM text cannot be read"))?;
    if found.next().is_some() {
        return Err(error(
            field,
            "several_certificates",
            "more than one certificate; send exactly one",
        ));
    }
    let facts = CertificateFacts::read(&der)
        .map_err(|_| error(field, "bad_certificate", "not a readable X.509 certificate"))?;
    Ok((der, facts))
}

fn parse<'a>(field: &'static str, der: &'a [u8]) -> Result<X509Certificate<'a>, RegistrationError> {
    let unreadable = |_| error(field, "bad_certificate", "not a readable X.509 certificate");
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(unreadable)
}

fn check_strength(field: &'static str, der: &[u8]) -> Result<(), RegistrationError> {
    let certificate = parse(field, der)?;
    let strong: [Oid<'_>; 8] = [
        OID_PKCS1_SHA256WITHRSA,
        OID_PKCS1_SHA384WITHRSA,
        OID_PKCS1_SHA512WITHRSA,
        OID_PKCS1_RSASSAPSS,
        OID_SIG_ECDSA_WITH_SHA256,
        OID_SIG_ECDSA_WITH_SHA384,
        OID_SIG_ECDSA_WITH_SHA512,
        OID_SIG_ED25519,
    ];
    if !strong.contains(&certificate.signature_algorithm.algorithm) {
        let detail = "its signature algorithm is too weak or unknown; use SHA-256 or better with RSA, ECDSA or Ed25519";
        return Err(error(field, "weak_signature", detail));
    }
    check_key(field, &certificate)
}

fn check_key(
    field: &'static str,
    certificate: &X509Certificate<'_>,
) -> Result<(), RegistrationError> {
    let unsupported = || {
        error(
            field,
            "unsupported_key",
            "its key is not RSA, P-256, P-384, P-521 or Ed25519",
        )
    };
    let key = certificate.public_key();
    if key.algorithm.algorithm == OID_SIG_ED25519 {
        return Ok(());
    }
    if key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = key
            .algorithm
            .parameters()
            .and_then(|curve| curve.as_oid().ok());
        let known = [OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521];
        return curve
            .filter(|curve| known.contains(curve))
            .map(|_| ())
            .ok_or_else(unsupported);
    }
    let Ok(PublicKey::RSA(rsa)) = key.parsed() else {
        return Err(unsupported());
    };
    let bits = rsa.key_size();
    if RSA_BITS.contains(&bits) {
        return Ok(());
    }
    let detail = format!(
        "its RSA key has {bits} bits; {} to {} are accepted",
        RSA_BITS.start(),
        RSA_BITS.end()
    );
    Err(error(field, "weak_key", &detail))
}

fn error(field: &'static str, code: &'static str, detail: &str) -> RegistrationError {
    RegistrationError {
        field,
        code,
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests;
