//! Revocation lists (CRL) of device authorities, from files, beside what operators revoke through the API.
//!
//! Rules owned here: a list is for the issuer that it names, and whoever may write the file is trusted as whoever writes the configuration is. A list past its
//! `nextUpdate` is warned of at once and still used; a day later no certificate of that issuer comes in, because nobody knows any more which are good.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use hub_core::level::Refusal;
use hub_core::limits::{CERTIFICATE_LOOK_EVERY, CRL_BYTES_MAX, CRL_FILES_MAX, CRL_GRACE};
use hub_proto::time::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use tracing::{info, warn};
use x509_parser::extensions::ParsedExtension;

use super::certificate::CertificateFacts;
use super::fault::CertificateFault;
use crate::actors::device_socket::Message;
use crate::context::wall_clock;
use crate::routing::Sockets;
use crate::telemetry::metrics::Metrics;

/// Who issued a certificate, and which one of theirs it is.
#[derive(Debug)]
pub(crate) struct Issued {
    issuer: Vec<u8>,
    key_id: Option<Vec<u8>>,
    serial: String,
}

/// What one authority says.
#[derive(Debug)]
struct List {
    issuer: Vec<u8>,
    key_id: Option<Vec<u8>>,
    serials: HashSet<String>,
    next_update: Option<Timestamp>,
}

/// The lists in use.
#[derive(Debug)]
pub(crate) struct Revocations {
    path: Option<PathBuf>,
    lists: ArcSwap<Vec<List>>,
    seen: Mutex<Vec<Vec<u8>>>,
}

impl Revocations {
    /// Reads a file, or all files of a directory; no lists without a path.
    ///
    /// # Errors
    /// What cannot be read or is no list.
    pub(crate) fn load(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let files = path.as_deref().map_or(Ok(Vec::new()), files)?;
        let lists = parse(&files)?;
        warn_of_old(&lists);
        Ok(Self {
            path,
            lists: ArcSwap::from_pointee(lists),
            seen: Mutex::new(files),
        })
    }

    /// Whether a certificate is good as far as lists say.
    ///
    /// # Errors
    /// `Refused` with `CertificateRevoked`.
    pub(super) fn judge(
        &self,
        facts: &CertificateFacts,
        now: Timestamp,
    ) -> Result<(), CertificateFault> {
        let lists = self.lists.load();
        let (key_id, serial) = (facts.authority_key_id.as_deref(), facts.serial.as_str());
        let revoked = |list: &List| list.revokes(&facts.issuer_der, key_id, serial, now);
        if lists.iter().any(revoked) {
            return Err(CertificateFault::Refused(Refusal::CertificateRevoked));
        }
        Ok(())
    }

    /// What a socket must remember of its certificate, so that a later list can end it; nothing where there are no lists.
    pub(crate) fn issued(&self, peer: Option<&[CertificateDer<'_>]>) -> Option<Arc<Issued>> {
        self.path.as_ref()?;
        let facts = CertificateFacts::read(peer?.first()?).ok()?;
        Some(Arc::new(Issued {
            issuer: facts.issuer_der,
            key_id: facts.authority_key_id,
            serial: facts.serial,
        }))
    }

    /// Looks at the files every [`CERTIFICATE_LOOK_EVERY`] until the task is dropped.
    pub(crate) async fn look_on(self: Arc<Self>, sockets: Arc<Sockets>, metrics: Arc<Metrics>) {
        loop {
            tokio::time::sleep(CERTIFICATE_LOOK_EVERY).await;
            let _ = self.look(&sockets, &metrics);
        }
    }

    /// Takes new lists into use and ends the sockets that they revoke; whether there were some.
    ///
    /// # Errors
    /// What cannot be read or is no list: then the old ones stay.
    pub(crate) fn look(&self, sockets: &Sockets, metrics: &Metrics) -> anyhow::Result<bool> {
        let Some(path) = &self.path else {
            return Ok(false);
        };
        let looked = self.take(path).inspect_err(|error| {
            let error = format!("{error:#}");
            warn!(
                error,
                "the changed revocation lists cannot be used; the old ones stay"
            );
            metrics.reloaded("failed");
        })?;
        if looked {
            metrics.reloaded("ok");
            info!(file = %path.display(), "new revocation lists are in use");
        }
        // also when nothing is new: a list may have become too old
        let (lists, now) = (self.lists.load(), wall_clock());
        sockets.for_each(|socket| {
            if let Some(issued) = &socket.issued
                && lists.iter().any(|list| issued.is_revoked_by(list, now))
            {
                socket.tell(Message::Revoked);
            }
        });
        Ok(looked)
    }

    fn take(&self, path: &Path) -> anyhow::Result<bool> {
        let files = files(path)?;
        // Nothing in here is ever half changed.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == files {
            return Ok(false);
        }
        let lists = parse(&files)?;
        warn_of_old(&lists);
        self.lists.store(Arc::new(lists));
        *seen = files;
        Ok(true)
    }
}

impl Issued {
    fn is_revoked_by(&self, list: &List, now: Timestamp) -> bool {
        list.revokes(&self.issuer, self.key_id.as_deref(), &self.serial, now)
    }
}

impl List {
    fn revokes(&self, issuer: &[u8], key_id: Option<&[u8]>, serial: &str, now: Timestamp) -> bool {
        let keys_agree = match (key_id, self.key_id.as_deref()) {
            (Some(one), Some(other)) => one == other,
            (Some(_) | None, Some(_) | None) => true,
        };
        let too_old = self
            .next_update
            .is_some_and(|at| at.saturating_add(CRL_GRACE) < now);
        keys_agree && issuer == self.issuer && (too_old || self.serials.contains(serial))
    }
}

fn warn_of_old(lists: &[List]) {
    let now = wall_clock();
    let old = lists
        .iter()
        .filter(|list| list.next_update.is_some_and(|at| at < now));
    for list in old {
        let serials = list.serials.len();
        warn!(
            serials,
            "a revocation list is past its nextUpdate; a day after that its authority's devices are refused"
        );
    }
}

/// Contents of a file, or of all files of a directory, in the order of their names.
fn files(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let at = || format!("device_crls: {}", path.display());
    let mut all = if path.is_dir() {
        let entries = std::fs::read_dir(path).with_context(at)?;
        let paths: Result<Vec<_>, _> = entries.map(|entry| Ok(entry?.path())).collect();
        let paths: Vec<PathBuf> = paths
            .map_err(|error: std::io::Error| error)
            .with_context(at)?;
        // what a mounted volume keeps for itself begins with dots
        let hidden = |path: &PathBuf| {
            path.file_name()
                .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
        };
        paths
            .into_iter()
            .filter(|path| !hidden(path) && path.is_file())
            .collect()
    } else {
        vec![path.to_owned()]
    };
    if all.len() > CRL_FILES_MAX {
        bail!("{}: more than {CRL_FILES_MAX} files", at());
    }
    all.sort();
    let read = |file: &PathBuf| {
        let size = std::fs::metadata(file).with_context(at)?.len();
        if size > CRL_BYTES_MAX {
            bail!("{}: longer than {CRL_BYTES_MAX} bytes", file.display());
        }
        std::fs::read(file).with_context(at)
    };
    all.iter().map(read).collect()
}

fn parse(files: &[Vec<u8>]) -> anyhow::Result<Vec<List>> {
    let mut lists = Vec::new();
    for file in files {
        let pem: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(file).collect();
        let ders = pem.context("device_crls: no PEM")?;
        if ders.is_empty() {
            lists.push(one(file)?);
        }
        for der in ders {
            lists.push(one(&der)?);
        }
    }
    Ok(lists)
}

fn one(der: &[u8]) -> anyhow::Result<List> {
    let (_, list) = x509_parser::parse_x509_crl(der)
        .map_err(|_| anyhow::anyhow!("device_crls: a file holds no revocation list, PEM or DER"))?;
    let key_id = list.extensions().iter().find_map(|extension| {
        let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() else {
            return None;
        };
        Some(id.key_identifier.as_ref()?.0.to_vec())
    });
    let next_update = list
        .next_update()
        .map(|at| Timestamp::from_unix_micros(at.timestamp().saturating_mul(1_000_000)));
    let serials = list
        .iter_revoked_certificates()
        .map(|one| hex::encode(one.raw_serial()));
    Ok(List {
        issuer: list.issuer().as_raw().to_vec(),
        key_id,
        serials: serials.collect(),
        next_update,
    })
}

#[cfg(test)]
mod tests;
