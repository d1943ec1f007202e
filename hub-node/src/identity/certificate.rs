//! Reads a certificate once and keeps the facts that decide about it. Trusts nothing: any bytes give facts or
//! an error, and a name found here is only a proposal until somebody vouches for it.

use hub_core::limits::CERTIFICATE_SERIAL_BYTES_MAX;
use hub_proto::slug::Slug;
use hub_proto::time::Timestamp;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::asn1_rs::Tag;
use x509_parser::prelude::FromDer;

/// What a certificate says, without any judgement on who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// SHA-256 of the whole certificate: its pin.
    pub sha256: [u8; 32],
    /// SHA-256 of its `SubjectPublicKeyInfo`.
    pub key_sha256: [u8; 32],
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// Valid from this moment on.
    pub not_before: Timestamp,
    /// Valid up to and including this moment.
    pub not_after: Timestamp,
    /// The device name the certificate proposes, or why it proposes none.
    pub name: Result<Slug, NameFault>,
    /// Key id of the authority that should have signed it.
    pub authority_key_id: Option<Vec<u8>>,
    /// Its own key id, as it claims.
    pub subject_key_id: Option<Vec<u8>>,
    /// Does the claimed key id follow from the key by one of the usual digests? One that does cannot be claimed
    /// by somebody with another key.
    pub key_id_is_derived: bool,
    /// Issuer, raw DER.
    pub issuer_der: Vec<u8>,
    /// Subject, raw DER.
    pub subject_der: Vec<u8>,
    /// Subject for people.
    pub subject: String,
    /// What it may be used for.
    pub usage: Usage,
    /// Basic constraints, when it says it is an authority.
    pub authority: Option<AuthorityFacts>,
    /// One of its DNS names has a `*`.
    pub has_wildcard: bool,
}

/// What the extended key usage says about client authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// No such extension: any use.
    Unrestricted,
    /// Client authentication is among the uses.
    ClientAuth,
    /// It is not.
    OtherOnly,
}

/// What a certificate with `CA:TRUE` says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorityFacts {
    /// How many intermediate authorities may follow below it.
    pub path_length: Option<u32>,
    /// Its key usage has `keyCertSign`.
    pub signs_certificates: bool,
}

/// Why a certificate proposes no device name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// The subject has no common name.
    #[error("the subject has no common name")]
    Missing,
    /// The subject has several.
    #[error("the subject has more than one common name")]
    Several,
    /// It is in a string type other than UTF-8, printable or IA5.
    #[error("the common name is not in a plain string type")]
    StringType,
    /// It is not a name hub can use.
    #[error("the common name is not a valid device name")]
    NotASlug,
    /// There are alternative DNS names, and they say something else.
    #[error("the common name and the alternative names differ")]
    Contradicted,
}

/// The bytes are not one X.509 certificate that makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a readable X.509 certificate")]
pub struct Unreadable;

impl CertificateFacts {
    /// Reads one DER certificate.
    ///
    /// # Errors
    /// [`Unreadable`] when it is not exactly one certificate, or an extension that matters is broken or doubled.
    pub fn read(der: &[u8]) -> Result<Self, Unreadable> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Unreadable)?;
        if !rest.is_empty() {
            return Err(Unreadable);
        }
        let broken = |e: &ParsedExtension<'_>| e.error().is_some();
        if certificate
            .extensions()
            .iter()
            .any(|e| broken(e.parsed_extension()))
            || certificate.extensions_map().is_err()
        {
            return Err(Unreadable);
        }
        let serial = certificate.raw_serial();
        if serial.len() > CERTIFICATE_SERIAL_BYTES_MAX {
            return Err(Unreadable);
        }
        let dns_names = dns_names(&certificate)?;
        let (authority_key_id, subject_key_id) = key_ids(&certificate);
        Ok(Self {
            sha256: Sha256::digest(der).into(),
            key_sha256: Sha256::digest(certificate.public_key().raw).into(),
            serial: hex::encode(serial),
            not_before: moment(certificate.validity().not_before.timestamp()),
            not_after: moment(certificate.validity().not_after.timestamp()),
            name: proposed_name(&certificate, &dns_names),
            authority_key_id,
            key_id_is_derived: subject_key_id
                .as_deref()
                .is_some_and(|id| is_derived(&certificate, id)),
            subject_key_id,
            issuer_der: certificate.issuer().as_raw().to_vec(),
            subject_der: certificate.subject().as_raw().to_vec(),
            subject: certificate.subject().to_string(),
            usage: usage(&certificate)?,
            authority: authority(&certificate)?,
            has_wildcard: dns_names.iter().any(|name| name.contains('*')),
        })
    }

    /// The key id by which certificates of this authority may be looked up: only one that follows from its key,
    /// because any tenant can write any other into a certificate of its own.
    #[must_use]
    pub fn trusted_key_id(&self) -> Option<&[u8]> {
        self.subject_key_id
            .as_deref()
            .filter(|_| self.key_id_is_derived)
    }
}

/// Seconds since 1970 as a moment.
fn moment(seconds: i64) -> Timestamp {
    Timestamp(seconds.saturating_mul(1_000_000))
}

fn dns_names<'a>(certificate: &'a X509Certificate<'_>) -> Result<Vec<&'a str>, Unreadable> {
    let mut names = Vec::new();
    let Some(alternative) = certificate
        .subject_alternative_name()
        .map_err(|_| Unreadable)?
    else {
        return Ok(names);
    };
    for name in &alternative.value.general_names {
        if let GeneralName::DNSName(text) = name {
            names.push(*text);
        }
        if let GeneralName::Invalid(..) = name {
            return Err(Unreadable);
        }
    }
    Ok(names)
}

/// The common name as a slug: exactly one, in a plain string type, and not contradicted by DNS names.
fn proposed_name(certificate: &X509Certificate<'_>, dns_names: &[&str]) -> Result<Slug, NameFault> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next().ok_or(NameFault::Missing)?;
    if names.next().is_some() {
        return Err(NameFault::Several);
    }
    let value = name.attr_value();
    if ![Tag::Utf8String, Tag::PrintableString, Tag::Ia5String].contains(&value.tag()) {
        return Err(NameFault::StringType);
    }
    let text = std::str::from_utf8(value.data).map_err(|_| NameFault::NotASlug)?;
    let slug: Slug = text.parse().map_err(|_| NameFault::NotASlug)?;
    if slug.is_reserved() {
        return Err(NameFault::NotASlug);
    }
    if dns_names.iter().any(|other| *other != text) {
        return Err(NameFault::Contradicted);
    }
    Ok(slug)
}

fn key_ids(certificate: &X509Certificate<'_>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let (mut authority, mut subject) = (None, None);
    for extension in certificate.extensions() {
        if let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() {
            authority = id.key_identifier.as_ref().map(|id| id.0.to_vec());
        }
        if let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() {
            subject = Some(id.0.to_vec());
        }
    }
    // An empty id names nobody.
    (
        authority.filter(|id| !id.is_empty()),
        subject.filter(|id| !id.is_empty()),
    )
}

/// Is `id` a digest, whole or cut to 160 bits, of the key's bits or of its `SubjectPublicKeyInfo`? These are the
/// methods of RFC 5280 (SHA-1) and RFC 7093 (SHA-2), and what the common tools write.
fn is_derived(certificate: &X509Certificate<'_>, id: &[u8]) -> bool {
    let key = certificate.public_key();
    [key.subject_public_key.data.as_ref(), key.raw]
        .iter()
        .any(|bytes| {
            let long = [
                Sha256::digest(bytes).to_vec(),
                Sha384::digest(bytes).to_vec(),
                Sha512::digest(bytes).to_vec(),
            ];
            Sha1::digest(bytes).as_slice() == id
                || long
                    .iter()
                    .any(|digest| digest == id || digest[..20] == *id)
        })
}

fn usage(certificate: &X509Certificate<'_>) -> Result<Usage, Unreadable> {
    let usage = certificate.extended_key_usage().map_err(|_| Unreadable)?;
    Ok(match usage {
        None => Usage::Unrestricted,
        Some(usage) if usage.value.client_auth => Usage::ClientAuth,
        Some(_) => Usage::OtherOnly,
    })
}

fn authority(certificate: &X509Certificate<'_>) -> Result<Option<AuthorityFacts>, Unreadable> {
    let constraints = certificate.basic_constraints().map_err(|_| Unreadable)?;
    let key_usage = certificate.key_usage().map_err(|_| Unreadable)?;
    Ok(constraints.filter(|c| c.value.ca).map(|c| AuthorityFacts {
        path_length: c.value.path_len_constraint,
        signs_certificates: key_usage.is_some_and(|usage| usage.value.key_cert_sign()),
    }))
}

#[cfg(test)]
mod tests;
