//! The one secret that the nodes of a cluster share, and the keys that are made of it.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};

/// Random bytes a secret must have at least.
const SECRET_BYTES_MIN: usize = 32;
/// Characters that are read of a secret's file at most.
const SECRET_CHARS_MAX: u64 = 4_096;
/// Bytes of a derived key.
const KEY_BYTES: usize = 32;

/// The secret. Never shown.
#[derive(Clone)]
pub(crate) struct ClusterSecret(Vec<u8>);

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The file cannot be read.
    #[error("{}: {source}; `hub-node pki cluster-key` makes one", path.display())]
    File {
        /** Which. */
        path: PathBuf,
        /** Why. */
        #[source]
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("{} can be read by others; run chmod 600 on it", path.display())]
    Exposed {
        /** Which. */
        path: PathBuf,
    },
    /// It holds something else.
    #[error(
        "{} does not hold {SECRET_BYTES_MIN} random bytes or more as hex; `hub-node pki cluster-key` makes one", path.display()
    )]
    Damaged {
        /** Which. */
        path: PathBuf,
    },
}

impl ClusterSecret {
    /// A secret of this process alone.
    pub(crate) fn random() -> Self {
        Self(rand::random::<[u8; SECRET_BYTES_MIN]>().to_vec())
    }

    /// Reads a secret: hex, in a file that only its owner may read.
    pub(crate) fn load(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::File {
            path: path.to_owned(),
            source,
        };
        let about = fs::metadata(path).map_err(failed)?;
        // A mounted secret of Kubernetes belongs to a group of the pod; nobody else may look.
        if about.permissions().mode() & 0o007 != 0 {
            return Err(SecretError::Exposed {
                path: path.to_owned(),
            });
        }
        let damaged = || SecretError::Damaged {
            path: path.to_owned(),
        };
        if about.len() > SECRET_CHARS_MAX {
            return Err(damaged());
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        let bytes = from_hex(text.trim()).ok_or_else(damaged)?;
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(damaged());
        }
        Ok(Self(bytes))
    }

    /// The key for one purpose; it tells nothing about the secret or about the keys for others.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        let info = [purpose.as_bytes()];
        let source = Salt::new(HKDF_SHA256, b"hub cluster secret").extract(&self.0);
        let derived = source
            .expand(&info, Key)
            .and_then(|derived| derived.fill(&mut key));
        // fails only for keys of more than 8,160 bytes
        assert!(derived.is_ok(), "a key has {KEY_BYTES} bytes");
        key
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(..)")
    }
}

struct Key;

impl KeyType for Key {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

/// A fresh secret as its file holds it.
pub(crate) fn fresh_text() -> String {
    let bytes: [u8; SECRET_BYTES_MIN] = rand::random();
    format!("{}\n", hex::encode(bytes))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_fresh_secret_reads_back_and_derives_the_same_keys() {
        let (_dir, path) = file(&fresh_text(), 0o600);
        let (one, two) = (
            ClusterSecret::load(&path).unwrap(),
            ClusterSecret::load(&path).unwrap(),
        );
        assert_eq!(one.derive("a"), two.derive("a"));
        assert_ne!(one.derive("a"), one.derive("b"));
        assert_ne!(one.derive("a"), ClusterSecret::random().derive("a"));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for text in [
            "",
            "00",
            "zz",
            &"0".repeat(63),
            &"g".repeat(64),
            &"0".repeat(5_000),
        ] {
            let (_dir, path) = file(text, 0o600);
            assert!(
                matches!(ClusterSecret::load(&path), Err(SecretError::Damaged { .. })),
                "{text}"
            );
        }
        let (_dir, path) = file(&fresh_text(), 0o644);
        assert!(matches!(
            ClusterSecret::load(&path),
            Err(SecretError::Exposed { .. })
        ));
        let missing = ClusterSecret::load(Path::new("no/such/key")).unwrap_err();
        assert!(missing.to_string().contains("pki cluster-key"), "{missing}");
    }
}
