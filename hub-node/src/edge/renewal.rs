//! Takes a renewed certificate of the device port into use: looks at its files now and then, as whoever renews certificates replaces
//! files and tells nobody.
//!
//! Chain and key are two files, and for a moment only one of them may be new: what does not fit together is looked at again the next
//! time, and the old ones stay in use.

use std::sync::Arc;

use hub_core::limits::CERTIFICATE_LOOK_EVERY;
use tracing::{info, warn};

use super::tls::{DeviceTls, ServerFiles, TlsError};
use crate::telemetry::NodeTelemetry;
use crate::telemetry::observed::Shown;

/// The files in use, and what was in them.
pub(crate) struct Renewal {
    tls: Arc<DeviceTls>,
    files: ServerFiles,
    seen: Seen,
}

/// Contents of chain and key; nothing of a file that cannot be read.
type Seen = [Option<Vec<u8>>; 2];

impl Renewal {
    /// Of a port that was just set up with these files.
    pub(crate) fn new(tls: Arc<DeviceTls>, files: ServerFiles) -> Self {
        let seen = read(&files);
        Self { tls, files, seen }
    }

    /// Looks every [`CERTIFICATE_LOOK_EVERY`] until the task is dropped.
    pub(crate) async fn watch(mut self, telemetry: NodeTelemetry) {
        loop {
            tokio::time::sleep(CERTIFICATE_LOOK_EVERY).await;
            match self.look() {
                None => {}
                Some(Ok(())) => {
                    info!(file = %self.files.chain.display(), "a new certificate is in use");
                    telemetry.metrics.reloaded("ok");
                    telemetry
                        .certificates
                        .show(Shown::Device, &self.tls.chain());
                }
                Some(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    warn!(
                        error,
                        "the changed certificate cannot be used; the old one stays"
                    );
                    telemetry.metrics.reloaded("failed");
                }
            }
        }
    }

    /// Reads the files and uses what is new in them; nothing when nothing is.
    fn look(&mut self) -> Option<Result<(), TlsError>> {
        let now = read(&self.files);
        if now == self.seen {
            return None;
        }
        let outcome = self.tls.reload();
        if outcome.is_ok() {
            self.seen = now;
        }
        Some(outcome)
    }
}

fn read(files: &ServerFiles) -> Seen {
    [&files.chain, &files.key].map(|file| std::fs::read(file).ok())
}

#[cfg(test)]
mod tests {
    use rustls::server::WebPkiClientVerifier;
    use time::OffsetDateTime;

    use super::*;
    use crate::pki;
    use crate::secret::ClusterSecret;

    #[test]
    fn new_files_are_taken_into_use_once_both_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let files = ServerFiles {
            chain: folder.path().join("chain.pem"),
            key: folder.path().join("key.pem"),
        };
        let now = OffsetDateTime::now_utc();
        let authority = pki::Authority::generate("hub", now).unwrap();
        let issue = || {
            authority
                .server(&["hub.example".to_owned()], 1, now)
                .unwrap()
        };
        let (old, new) = (issue(), issue());
        std::fs::write(&files.chain, &old.certificate_pem).unwrap();
        std::fs::write(&files.key, &*old.key_pem).unwrap();
        let verifier = WebPkiClientVerifier::no_client_auth();
        let tls = DeviceTls::build(files.clone(), verifier, ClusterSecret::random()).unwrap();
        let tls = Arc::new(tls);
        let first = tls.chain();
        let mut renewal = Renewal::new(tls.clone(), files.clone());
        assert!(renewal.look().is_none());
        std::fs::write(&files.chain, &new.certificate_pem).unwrap();
        assert!(renewal.look().unwrap().is_err());
        assert!(renewal.look().unwrap().is_err());
        assert_eq!(tls.chain(), first);
        std::fs::write(&files.key, &*new.key_pem).unwrap();
        renewal.look().unwrap().unwrap();
        assert_ne!(tls.chain(), first);
        assert!(renewal.look().is_none());
    }
}
