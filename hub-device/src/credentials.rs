//! TLS identity of a device: certificate, key and the authorities it trusts, from PEM.
//!
//! Owns which TLS versions and which crypto provider the device uses: 1.3 and 1.2 through aws-lc, passed explicitly, so
//! that the process default never matters.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore,
    client::{Resumption, WantsClientCert},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};

use crate::limits::PEM_BYTES_MAX;

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The PEM text holds no such thing.
    #[error("no usable {what} in the PEM text")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// Why.
        source: pem::Error,
    },
    /// A CA bundle without a certificate.
    #[error("the CA bundle holds no certificate")]
    NoAuthority,
    /// TLS refuses the material.
    #[error("TLS refuses the {what}")]
    Tls {
        /// What was refused.
        what: &'static str,
        /// Why.
        source: rustls::Error,
    },
}

/// PEM text of a device's TLS identity.
#[derive(Clone)]
pub struct Credentials {
    /// Certificate chain, the device's own first.
    pub certificate_pem: Vec<u8>,
    /// Private key: PKCS#8, SEC1 or PKCS#1.
    pub key_pem: Vec<u8>,
    /// Authorities that may have signed the hub's certificate.
    pub ca_pem: Vec<u8>,
}

impl Credentials {
    /// Reads the three files.
    ///
    /// # Errors
    /// When one cannot be read or is larger than [`PEM_BYTES_MAX`].
    pub fn from_files(certificate: &Path, key: &Path, ca: &Path) -> Result<Self, CredentialError> {
        Ok(Self {
            certificate_pem: read(certificate)?,
            key_pem: read(key)?,
            ca_pem: read(ca)?,
        })
    }

    /// The TLS configuration for the device's socket. It may be shared by as many devices as have this identity.
    ///
    /// # Errors
    /// When the PEM text holds no usable certificate, key or authority, or the key does not fit the certificate.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, CredentialError> {
        let chain = certificates(&self.certificate_pem, "certificate")?;
        let key = PrivateKeyDer::from_pem_slice(&self.key_pem).map_err(|source| {
            CredentialError::Pem {
                what: "private key",
                source,
            }
        })?;
        let mut config = builder(&authorities(&self.ca_pem)?)?
            .with_client_auth_cert(chain, key)
            .map_err(|source| CredentialError::Tls {
                what: "certificate and key",
                source,
            })?;
        // One session is all a device resumes; the default keeps room for hundreds.
        config.resumption = Resumption::in_memory_sessions(1);
        Ok(Arc::new(config))
    }

    /// The authorities of the CA bundle.
    ///
    /// # Errors
    /// When it holds none.
    pub fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
        authorities(&self.ca_pem)
    }
}

/// A configuration that presents no certificate, for downloads by signed URL.
///
/// # Errors
/// When an authority cannot be used.
pub fn client_config_without_certificate(
    authorities: &[CertificateDer<'static>],
) -> Result<Arc<ClientConfig>, CredentialError> {
    let mut config = builder(authorities)?.with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(1);
    Ok(Arc::new(config))
}

fn builder(
    authorities: &[CertificateDer<'static>],
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, CredentialError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots
            .add(authority.clone())
            .map_err(|source| CredentialError::Tls {
                what: "CA certificate",
                source,
            })?;
    }
    let versions = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|source| CredentialError::Tls {
            what: "protocol versions",
            source,
        })?;
    Ok(versions.with_root_certificates(roots))
}

fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    let found = certificates(pem, "CA certificate")?;
    if found.is_empty() {
        Err(CredentialError::NoAuthority)
    } else {
        Ok(found)
    }
}

fn certificates(
    pem: &[u8],
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|source| CredentialError::Pem { what, source })
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialError> {
    let fail = |source| CredentialError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(fail)?
        .take(PEM_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    if bytes.len() as u64 > PEM_BYTES_MAX {
        return Err(fail(io::Error::from(io::ErrorKind::FileTooLarge)));
    }
    Ok(bytes)
}
