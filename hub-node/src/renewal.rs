//! Takes renewed certificates into use: looks at their files now and then, as whoever renews certificates replaces files and tells nobody.
//!
//! Chain and key are two files, and for a moment only one of them may be new: what does not fit together is looked at again the next
//! time, and the old ones stay in use.

use std::sync::{Arc, Mutex, PoisonError};

use hub_core::limits::CERTIFICATE_LOOK_EVERY;
use tracing::{info, warn};

use crate::server_certificate::{ServerCertificate, ServerFiles, TlsError};
use crate::telemetry::NodeTelemetry;
use crate::telemetry::observed::Shown;

/// Contents of chain and key; nothing of a file that cannot be read.
type Seen = [Option<Vec<u8>>; 2];

/// A certificate in use, and what was in its files.
struct Watched {
    shown: Shown,
    certificate: Arc<ServerCertificate>,
    seen: Seen,
}

impl Watched {
    /// Reads the files and uses what is new in them; nothing when nothing is.
    fn look(&mut self) -> Option<Result<(), TlsError>> {
        let now = read(self.certificate.files());
        if now == self.seen {
            return None;
        }
        let outcome = self.certificate.reload();
        if outcome.is_ok() {
            self.seen = now;
        }
        Some(outcome)
    }
}

/// The certificates of a node.
pub(crate) struct Renewal {
    watched: Mutex<Vec<Watched>>,
    telemetry: NodeTelemetry,
}

impl Renewal {
    /// None yet.
    pub(crate) fn new(telemetry: NodeTelemetry) -> Self {
        Self {
            watched: Mutex::default(),
            telemetry,
        }
    }

    /// Watches a certificate that was just read.
    pub(crate) fn watch(&self, shown: Shown, certificate: Arc<ServerCertificate>) {
        self.telemetry
            .certificates
            .show(shown, &certificate.chain());
        let seen = read(certificate.files());
        self.lock().push(Watched {
            shown,
            certificate,
            seen,
        });
    }

    /// Looks every [`CERTIFICATE_LOOK_EVERY`] until the task is dropped.
    pub(crate) async fn look_on(self: Arc<Self>) {
        loop {
            tokio::time::sleep(CERTIFICATE_LOOK_EVERY).await;
            self.look();
        }
    }

    /// Looks at all files now: the certificates that are new, and those that cannot be used, each with why.
    pub(crate) fn look(&self) -> (Vec<&'static str>, Vec<String>) {
        let (mut renewed, mut problems) = (Vec::new(), Vec::new());
        for watched in self.lock().iter_mut() {
            let file = watched.certificate.files().chain.display().to_string();
            match watched.look() {
                None => {}
                Some(Ok(())) => {
                    info!(file, "a new certificate is in use");
                    let chain = watched.certificate.chain();
                    self.telemetry.certificates.show(watched.shown, &chain);
                    self.telemetry.metrics.reloaded("ok");
                    renewed.push(watched.shown.word());
                }
                Some(Err(error)) => {
                    let problem = format!("{:#}", anyhow::Error::new(error));
                    warn!(
                        file,
                        problem, "the changed certificate cannot be used; the old one stays"
                    );
                    self.telemetry.metrics.reloaded("failed");
                    problems.push(problem);
                }
            }
        }
        (renewed, problems)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Watched>> {
        // Nothing in here is ever half changed.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(files: &ServerFiles) -> Seen {
    [&files.chain, &files.key].map(|file| std::fs::read(file).ok())
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::pki;
    use crate::telemetry::Telemetry;

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
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificate = ServerCertificate::load(files.clone(), provider).unwrap();
        let certificate = Arc::new(certificate);
        let first = certificate.chain();
        let renewal = Renewal::new(Telemetry::kept("test").node());
        renewal.watch(Shown::Api, certificate.clone());
        let nothing = (Vec::new(), Vec::<String>::new());
        assert_eq!(renewal.look(), nothing);
        std::fs::write(&files.chain, &new.certificate_pem).unwrap();
        for _ in 0..2 {
            let (renewed, problems) = renewal.look();
            assert_eq!((renewed.len(), problems.len()), (0, 1));
        }
        assert_eq!(certificate.chain(), first);
        std::fs::write(&files.key, &*new.key_pem).unwrap();
        assert_eq!(renewal.look(), (vec!["api"], Vec::new()));
        assert_ne!(certificate.chain(), first);
        assert_eq!(renewal.look(), nothing);
    }
}
