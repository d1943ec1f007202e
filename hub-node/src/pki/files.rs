//! PEM files on disk: keys readable by their owner only, and nothing replaced by accident.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::PkiError;
use super::issue::Issued;

/// The folder a command writes to.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    force: bool,
}

impl Folder {
    pub(super) fn new(path: PathBuf, force: bool) -> Self {
        Self { path, force }
    }

    /// A file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes `STEM.pem` and `STEM-key.pem`; neither when one of them is there already.
    pub(super) fn write_pair(
        &self,
        stem: &str,
        issued: &Issued,
    ) -> Result<(PathBuf, PathBuf), PkiError> {
        let (certificate, key) = (format!("{stem}.pem"), format!("{stem}-key.pem"));
        self.refuse_existing(&[&certificate, &key])?;
        // The key goes first: a certificate without its key is of no use to anybody.
        let key = self.write(&key, &issued.key_pem, 0o600)?;
        let certificate = self.write(&certificate, &issued.certificate_pem, 0o644)?;
        Ok((certificate, key))
    }

    /// Writes a file everybody may read.
    pub(super) fn write_public(&self, name: &str, text: &str) -> Result<PathBuf, PkiError> {
        self.refuse_existing(&[name])?;
        self.write(name, text, 0o644)
    }

    /// Writes a file only its owner may read.
    pub(super) fn write_secret(&self, name: &str, text: &str) -> Result<PathBuf, PkiError> {
        self.refuse_existing(&[name])?;
        self.write(name, text, 0o600)
    }

    fn refuse_existing(&self, names: &[&str]) -> Result<(), PkiError> {
        let taken = names
            .iter()
            .map(|name| self.path(name))
            .find(|path| !self.force && path.exists());
        taken.map_or(Ok(()), |path| Err(PkiError::Exists { path }))
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<PathBuf, PkiError> {
        let path = self.path(name);
        let failed = |source: io::Error| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                return PkiError::Exists { path: path.clone() };
            }
            PkiError::File {
                path: path.clone(),
                action: "written",
                source,
            }
        };
        fs::create_dir_all(&self.path).map_err(failed)?;
        if self.force {
            // Removed rather than truncated, so that the new file gets the new mode.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                Ok(()) | Err(_) => {}
            }
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        #[cfg(not(unix))]
        let _ = mode;
        let mut file = options.open(&path).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        Ok(path)
    }
}

/// Reads a PEM file.
pub(super) fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::File {
        path: path.to_owned(),
        action: "read",
        source,
    })
}
