//! A certificate that this node shows, to devices, operators or other nodes, and how a renewed one comes into use while it runs.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Where the server's certificate chain and key are.
#[derive(Clone, Debug)]
pub struct ServerFiles {
    /// PEM, the server's own certificate first.
    pub chain: PathBuf,
    /// PEM, the key of the first certificate.
    pub key: PathBuf,
}

impl ServerFiles {
    /// Whether the files hold a certificate and the key that belongs to it.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub fn check(&self) -> Result<(), TlsError> {
        load(self, &rustls::crypto::aws_lc_rs::default_provider()).map(drop)
    }
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds no certificate, or no key.
    #[error("{} holds no usable PEM {what}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// Certificate and key do not belong together, or use something unsupported.
    #[error("the server's certificate cannot be used")]
    Unusable(#[source] rustls::Error),
}

/// The server's certificate; the same for every client.
#[derive(Debug)]
pub struct ServerCertificate {
    files: ServerFiles,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<CertifiedKey>,
}

impl ServerCertificate {
    /// Reads the files.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub(crate) fn load(
        files: ServerFiles,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let current = ArcSwap::from_pointee(load(&files, &provider)?);
        Ok(Self {
            files,
            provider,
            current,
        })
    }

    /// Where it is read from.
    pub(crate) fn files(&self) -> &ServerFiles {
        &self.files
    }

    /// The certificate in use and what follows it.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.current.load().cert.clone()
    }

    /// Reads the files again; handshakes from now on use them. On error the old ones stay.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = load(&self.files, &self.provider)?;
        self.current.store(Arc::new(new));
        Ok(())
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn load(files: &ServerFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| TlsError::File {
            path: path.clone(),
            source,
        })
    };
    let pem = |path: &PathBuf, what| {
        let path = path.clone();
        move |source| TlsError::Pem { path, what, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(&files.chain)?)
        .collect::<Result<_, _>>()
        .map_err(pem(&files.chain, "certificate"))?;
    if chain.is_empty() {
        return Err(pem(&files.chain, "certificate")(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
        .map_err(pem(&files.key, "private key"))?;
    CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Unusable)
}
