//! Makes the certificates themselves. Every leaf carries its authority's key id, so that a hub finds the one
//! authority that signed it among all tenants'.

use hub_proto::slug::Slug;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use super::{AUTHORITY_DAYS, PkiError, SERVER_DAYS_MAX};
use crate::identity::certificate::CertificateFacts;

/// Certificates start this long before now, for devices whose clocks are behind.
const BACKDATE: Duration = Duration::HOUR;
/// A registration proof is valid this long.
const PROOF_LIFETIME: Duration = Duration::DAY;

/// A certificate and its key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key, PKCS #8.
    pub key_pem: String,
    /// SHA-256 of the certificate: its pin.
    pub sha256: [u8; 32],
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

/// An authority with its key at hand.
#[derive(Debug)]
pub struct Authority {
    issued: Issued,
    issuer: Issuer<'static, KeyPair>,
    subject_der: Vec<u8>,
    not_after: OffsetDateTime,
}

impl Authority {
    /// Makes one, valid for ten years, that signs devices and servers directly.
    ///
    /// # Errors
    /// A name that fits no certificate.
    pub fn generate(name: &str, now: OffsetDateTime) -> Result<Self, PkiError> {
        let key = new_key()?;
        let mut params = params(name, now, now + Duration::days(i64::from(AUTHORITY_DAYS)));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(PkiError::Issue)?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// Reads one from its certificate and its key.
    ///
    /// # Errors
    /// `NotAnAuthority` when the two do not belong together or the certificate is no authority's.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key_pem).map_err(PkiError::NotAnAuthority)?;
        let unreadable = || PkiError::NotAnAuthority(rcgen::Error::CouldNotParseCertificate);
        let der =
            CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|_| unreadable())?;
        let facts = CertificateFacts::read(&der).map_err(|_| unreadable())?;
        let key_sha256: [u8; 32] =
            Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key)).into();
        if facts.authority.is_none() || facts.key_sha256 != key_sha256 {
            return Err(unreadable());
        }
        let issuer =
            Issuer::from_ca_cert_pem(certificate_pem, key).map_err(PkiError::NotAnAuthority)?;
        let not_after = OffsetDateTime::from_unix_timestamp(facts.not_after.0 / 1_000_000)
            .map_err(|_| unreadable())?;
        let issued = Issued {
            certificate_pem: certificate_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            sha256: facts.sha256,
        };
        Ok(Self {
            issued,
            issuer,
            subject_der: facts.subject_der,
            not_after,
        })
    }

    /// Its own certificate and key.
    #[must_use]
    pub fn certificate(&self) -> &Issued {
        &self.issued
    }

    /// A listener's certificate for DNS names and IP addresses.
    ///
    /// # Errors
    /// Names that fit no certificate; an authority past its dates.
    pub fn server(
        &self,
        names: &[String],
        days: u32,
        now: OffsetDateTime,
    ) -> Result<Issued, PkiError> {
        let params = self.host(names, days, now)?;
        self.sign(params)
    }

    /// The certificate that a node shows the others, as a server and as a client.
    ///
    /// # Errors
    /// Names that fit no certificate; an authority past its dates.
    pub fn node(
        &self,
        names: &[String],
        days: u32,
        now: OffsetDateTime,
    ) -> Result<Issued, PkiError> {
        let mut params = self.host(names, days, now)?;
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ClientAuth);
        self.sign(params)
    }

    fn host(
        &self,
        names: &[String],
        days: u32,
        now: OffsetDateTime,
    ) -> Result<CertificateParams, PkiError> {
        // rcgen would take any text for a DNS name, and no client would ever match it. One star may stand in front.
        for name in names {
            let host = name.strip_prefix("*.").unwrap_or(name);
            if ServerName::try_from(host).is_err() {
                return Err(PkiError::Host { name: name.clone() });
            }
        }
        let common_name = names.first().map_or("hub", String::as_str);
        let mut params = params(common_name, now, self.end(days.min(SERVER_DAYS_MAX), now)?);
        params.subject_alt_names = CertificateParams::new(names.to_vec())
            .map_err(PkiError::Issue)?
            .subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok(params)
    }

    /// A device's certificate; the device's name is its common name.
    ///
    /// # Errors
    /// An authority past its dates.
    pub fn device(&self, name: &Slug, days: u32, now: OffsetDateTime) -> Result<Issued, PkiError> {
        let mut params = params(name, now, self.end(days, now)?);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Issued, PkiError> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = new_key()?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(PkiError::Issue)?;
        // The issuer's name was written anew; a verifier compares it byte by byte.
        let facts = CertificateFacts::read(certificate.der());
        match facts {
            Ok(facts) if facts.issuer_der == self.subject_der => Ok(Issued {
                certificate_pem: certificate.pem(),
                key_pem: key.serialize_pem(),
                sha256: facts.sha256,
            }),
            Ok(_) | Err(_) => Err(PkiError::AuthorityName),
        }
    }

    /// Not after this: `days` from now, or the authority's own end when that is sooner.
    fn end(&self, days: u32, now: OffsetDateTime) -> Result<OffsetDateTime, PkiError> {
        if self.not_after <= now {
            return Err(PkiError::AuthorityExpired);
        }
        Ok(self
            .not_after
            .min(now.saturating_add(Duration::days(i64::from(days)))))
    }
}

/// The certificate, PEM, that proves possession of the authority's key to a hub that issued `code`. Its own key
/// is thrown away.
///
/// # Errors
/// A code that fits no certificate; an authority past its dates.
pub fn registration_proof(
    authority: &Authority,
    code: &str,
    now: OffsetDateTime,
) -> Result<String, PkiError> {
    let end = authority.end(1, now)?.min(now + PROOF_LIFETIME);
    Ok(authority.sign(params(code, now, end))?.certificate_pem)
}

fn new_key() -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(PkiError::Issue)
}

fn params(common_name: &str, now: OffsetDateTime, end: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params.not_before = now - BACKDATE;
    params.not_after = end;
    // 127 random bits: positive, and never the same twice.
    let mut serial: [u8; 16] = rand::random();
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params
}
