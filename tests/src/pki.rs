//! Certificates for tests, made at test time: authorities, honest device and server certificates.
//!
//! Nothing here is ever written into the repository. Dishonest certificates, one kind per question that a
//! verifier must answer, are in [`zoo`].

pub mod zoo;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hub_node::identity::certificate::CertificateFacts;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

/// The kinds of key that devices in the field hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256: secure elements speak it, so most devices do.
    P256,
    /// Ed25519: software keys of newer fleets. Not for TLS 1.2 clients of every age.
    Ed25519,
}

impl KeyKind {
    /// Makes a fresh key.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate(self) -> anyhow::Result<KeyPair> {
        let algorithm = match self {
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::Ed25519 => &PKCS_ED25519,
        };
        Ok(KeyPair::generate_for(algorithm)?)
    }
}

/// A certificate authority that a test owns, root or intermediate.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    /// What a leaf sends after itself so that a verifier reaches the root; empty for a root.
    path: Vec<CertificateDer<'static>>,
}

impl Authority {
    /// A self-signed root, valid for a year around now.
    ///
    /// # Errors
    /// When the name cannot be written into a certificate.
    pub fn root(common_name: &str) -> anyhow::Result<Self> {
        Self::root_with(common_name, |_| {})
    }

    /// A self-signed root with something changed before it is signed.
    ///
    /// # Errors
    /// When the certificate cannot be written.
    pub fn root_with(
        common_name: &str,
        shape: impl FnOnce(&mut CertificateParams),
    ) -> anyhow::Result<Self> {
        let key = KeyKind::P256.generate()?;
        let mut params = authority_params(common_name)?;
        shape(&mut params);
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
            path: Vec::new(),
        })
    }

    /// An intermediate authority under this one.
    ///
    /// # Errors
    /// When the name cannot be written into a certificate.
    pub fn intermediate(&self, common_name: &str) -> anyhow::Result<Self> {
        self.intermediate_with(common_name, |_| {})
    }

    /// An intermediate authority under this one with something changed before it is signed.
    ///
    /// # Errors
    /// When the certificate cannot be written.
    pub fn intermediate_with(
        &self,
        common_name: &str,
        shape: impl FnOnce(&mut CertificateParams),
    ) -> anyhow::Result<Self> {
        let key = KeyKind::P256.generate()?;
        let mut params = authority_params(common_name)?;
        params.use_authority_key_identifier_extension = true;
        shape(&mut params);
        let certificate = params.signed_by(&key, &self.issuer)?;
        let path = std::iter::once(certificate.der().clone())
            .chain(self.path.iter().cloned())
            .collect();
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
            path,
        })
    }

    /// A device certificate (P-256, client authentication, valid for a year around now).
    ///
    /// # Errors
    /// When the name cannot be written into a certificate.
    pub fn device(&self, common_name: &str) -> anyhow::Result<Leaf> {
        self.device_with(common_name, KeyKind::P256, |_| {})
    }

    /// A device certificate with something changed before it is signed.
    ///
    /// # Errors
    /// When the certificate cannot be written.
    pub fn device_with(
        &self,
        common_name: &str,
        key: KeyKind,
        shape: impl FnOnce(&mut CertificateParams),
    ) -> anyhow::Result<Leaf> {
        let mut params = leaf_params(common_name)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        shape(&mut params);
        self.sign(params, key.generate()?)
    }

    /// A server certificate for `localhost` and 127.0.0.1.
    ///
    /// # Errors
    /// When the certificate cannot be written.
    pub fn server(&self) -> anyhow::Result<Leaf> {
        let mut params =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        name(&mut params, "localhost");
        valid_around_now(&mut params);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params, KeyKind::P256.generate()?)
    }

    /// A certificate that nodes show each other, good at these addresses and on loopback.
    ///
    /// # Errors
    /// When the certificate cannot be written.
    pub fn node(&self, addresses: &[std::net::IpAddr]) -> anyhow::Result<Leaf> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        names.extend(addresses.iter().map(ToString::to_string));
        let mut params = CertificateParams::new(names)?;
        name(&mut params, "node");
        valid_around_now(&mut params);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.sign(params, KeyKind::P256.generate()?)
    }

    /// The certificate that proves possession of this authority's key: its common name is the code.
    ///
    /// # Errors
    /// When the code cannot be written into a certificate.
    pub fn proof(&self, code: &str) -> anyhow::Result<Leaf> {
        self.device(code)
    }

    /// Signs a leaf for an existing key: one key in two certificates, or in two organisations.
    ///
    /// # Errors
    /// When the certificate cannot be written.
    pub fn sign(&self, params: CertificateParams, key: KeyPair) -> anyhow::Result<Leaf> {
        let certificate = params.signed_by(&key, &self.issuer)?;
        let chain = std::iter::once(certificate.der().clone())
            .chain(self.path.iter().cloned())
            .collect();
        Ok(Leaf { chain, key })
    }

    /// Its own certificate, DER.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    /// Its own certificate, PEM: what an operator uploads.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Its key, PEM (PKCS #8).
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Its list of these leaves as revoked, PEM, good for a day.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn revocation_list(&self, revoked: &[&Leaf]) -> anyhow::Result<String> {
        let now = OffsetDateTime::now_utc();
        let entry = |leaf: &&Leaf| {
            let facts = CertificateFacts::read(leaf.der())?;
            let serial: Result<Vec<u8>, _> = (0..facts.serial.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&facts.serial[at..at + 2], 16))
                .collect();
            anyhow::Ok(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&serial?),
                revocation_time: now,
                reason_code: None,
                invalidity_date: None,
            })
        };
        let params = CertificateRevocationListParams {
            this_update: now - Duration::hours(1),
            next_update: now + Duration::days(1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect::<anyhow::Result<_>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }

    /// This authority presenting its own certificate as if it were a device.
    ///
    /// # Errors
    /// When its key cannot be read back.
    pub fn as_leaf(&self) -> anyhow::Result<Leaf> {
        let chain = if self.path.is_empty() {
            vec![self.der().clone()]
        } else {
            self.path.clone()
        };
        Ok(Leaf {
            chain,
            key: KeyPair::from_pem(&self.key_pem())?,
        })
    }
}

/// An end-entity certificate with its key and the intermediates it presents.
#[derive(Debug)]
pub struct Leaf {
    /// The leaf first, then what it sends after itself, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: KeyPair,
}

impl Leaf {
    /// The private key in the form rustls takes.
    #[must_use]
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }

    /// The leaf alone, DER.
    ///
    /// # Panics
    /// Never for what this module made: a chain has at least its leaf.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        self.chain.first().expect("a chain starts with its leaf")
    }

    /// The leaf alone, PEM: what an operator uploads to register a device.
    #[must_use]
    pub fn pem(&self) -> String {
        pem_block("CERTIFICATE", self.der())
    }

    /// The leaf and its intermediates, PEM: what a device holds in its certificate file.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain
            .iter()
            .map(|certificate| pem_block("CERTIFICATE", certificate))
            .collect()
    }

    /// The private key, PEM (PKCS #8).
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Writes `<stem>-cert.pem` (with intermediates) and `<stem>-key.pem` for programs that read files.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, dir: &Path, stem: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
        let certificate = dir.join(format!("{stem}-cert.pem"));
        let key = dir.join(format!("{stem}-key.pem"));
        fs::write(&certificate, self.chain_pem()).context("cannot write the certificate")?;
        fs::write(&key, self.key_pem()).context("cannot write the key")?;
        Ok((certificate, key))
    }
}

/// A PEM block, 64 characters a line.
fn pem_block(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut block = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        block.extend(line.iter().map(|byte| char::from(*byte)));
        block.push('\n');
    }
    block + "-----END " + label + "-----\n"
}

/// Makes `common_name` the whole subject.
fn name(params: &mut CertificateParams, common_name: &str) {
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
}

/// From yesterday for a year: tests must not depend on the hour or on a clock that is a little off.
fn valid_around_now(params: &mut CertificateParams) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(365);
}

/// What every honest authority certificate holds.
fn authority_params(common_name: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    name(&mut params, common_name);
    valid_around_now(&mut params);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// What every honest leaf holds; its purpose is added by the caller.
fn leaf_params(common_name: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    name(&mut params, common_name);
    valid_around_now(&mut params);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}
