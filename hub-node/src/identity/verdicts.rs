//! The verdict on a certificate, with the store's help: pinned certificates first, then the authorities that
//! could have signed it, nearest first. One place for every connection, whatever its handshake was.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hub_core::level::Refusal;
use hub_core::limits::{ANCHOR_READS_MAX, ANCHORS_MAX, TRUST_MAX, VERDICT_MAX};
use hub_proto::id::{CaId, DeviceId, OrgId};
use hub_proto::time::Timestamp;
use rustls::pki_types::CertificateDer;

use super::fault::CertificateFault;
use super::lookups::Lookups;
use super::path::{Presented, admit_known, more_telling};
use super::revocations::{Issued, Revocations};
use super::trusted::Trusted;
use crate::database::Database;
use crate::store::records::{Anchor, Identity};
use crate::store::{Store, StoreError};

/// What an accepted certificate makes of its holder.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// A device the store knows, in good standing.
    Known(Box<Identity>),
    /// Unknown, but signed by an authority that provisions devices.
    Newcomer {
        /// The authority; its org is the device's.
        authority: CaId,
    },
}

/// Marks a moment before a verdict: it may be used as long as none was voided since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since(u64);

/// Gives verdicts.
pub struct Verdicts {
    store: Arc<dyn Store>,
    database: Database,
    lookups: Lookups,
    trusted: Trusted,
    voided: AtomicU64,
    pub(super) revocations: Arc<Revocations>,
}

impl Verdicts {
    /// Verdicts from this store. Must be called inside a runtime.
    #[must_use]
    pub(crate) fn new(
        store: Arc<dyn Store>,
        database: Database,
        revocations: Arc<Revocations>,
    ) -> Arc<Self> {
        Arc::new(Self {
            lookups: Lookups::start(store.clone()),
            store,
            database,
            trusted: Trusted::default(),
            voided: AtomicU64::new(0),
            revocations,
        })
    }

    /// Voids every verdict not yet used, and what is known of a device: something about it changed.
    pub fn forget_device(&self, device: DeviceId) {
        self.voided.fetch_add(1, Ordering::AcqRel);
        self.trusted.forget_device(device);
    }

    /// Voids every verdict not yet used, and what is known of an org's devices: an authority of it changed.
    pub fn forget_org(&self, org: OrgId) {
        self.voided.fetch_add(1, Ordering::AcqRel);
        self.trusted.forget_org(org);
    }

    /// To be taken before a verdict is asked for.
    pub(super) fn since(&self) -> Since {
        Since(self.voided.load(Ordering::Acquire))
    }

    /// What a socket must remember of its certificate, so that a later revocation list can end it.
    pub(crate) fn issued(&self, peer: Option<&[CertificateDer<'_>]>) -> Option<Arc<Issued>> {
        self.revocations.issued(peer)
    }

    /// Remembers whose socket ended in good standing, in case the database is away when it connects again.
    pub(crate) fn trust(&self, identity: Arc<Identity>) {
        self.trusted.remember(identity, Instant::now());
    }

    /// The verdict, from the store, within [`VERDICT_MAX`].
    ///
    /// # Errors
    /// Why the certificate is not accepted.
    pub async fn give(
        &self,
        presented: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Verdict, CertificateFault> {
        if self.database.is_away()
            && let Some(identity) = self.trusted(presented, now)
        {
            return Ok(Verdict::Known(Box::new(identity)));
        }
        let verdict = tokio::time::timeout(VERDICT_MAX, self.judge(presented, now));
        match verdict.await.unwrap_or(Err(CertificateFault::TimedOut)) {
            Err(fault @ (CertificateFault::TimedOut | CertificateFault::Unavailable(_))) => self
                .trusted(presented, now)
                .map(|identity| Verdict::Known(Box::new(identity)))
                .ok_or(fault),
            verdict => verdict,
        }
    }

    /// Who this was when it was last here, unless the database has been away for too long to trust that.
    fn trusted(&self, presented: &Presented<'_>, now: Timestamp) -> Option<Identity> {
        let clock = Instant::now();
        if self.database.away_for(clock) >= TRUST_MAX {
            return None;
        }
        let identity = self.trusted.of(&presented.facts.sha256, clock)?;
        admit_known(presented, &identity, now).ok()?;
        Some(Identity::clone(&identity))
    }

    /// Judges what a client presented.
    async fn judge(
        &self,
        presented: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Verdict, CertificateFault> {
        let known = self
            .lookups
            .identity(presented.facts.sha256)
            .await
            .map_err(CertificateFault::Unavailable)?;
        if let Some(identity) = known {
            admit_known(presented, &identity, now)?;
            return Ok(Verdict::Known(Box::new(identity)));
        }
        let mut fault = CertificateFault::Refused(Refusal::Unknown);
        let mut reads = 0;
        for (child, below) in presented.levels() {
            // By key id alone first, so that no number of authorities of the same name can crowd the right one out;
            // by name for those whose key id proves nothing, and for certificates that name none.
            let by_key = child
                .authority_key_id
                .as_deref()
                .map(|id| (Some(id), &[][..]));
            let by_name = (
                child.authority_key_id.as_deref(),
                child.issuer_der.as_slice(),
            );
            for (key_id, issuer) in by_key.into_iter().chain([by_name]) {
                if reads == ANCHOR_READS_MAX {
                    return Err(fault);
                }
                reads += 1;
                let anchors = anchors(self.store.as_ref(), key_id, issuer)
                    .await
                    .map_err(CertificateFault::Unavailable)?;
                match presented.verify(below, &anchors, now) {
                    Ok(anchor) if anchor.provisions => {
                        return Ok(Verdict::Newcomer {
                            authority: anchor.authority,
                        });
                    }
                    // The nearest registered authority speaks for its org; one above it must not overrule it.
                    Ok(_) => return Err(CertificateFault::Refused(Refusal::Unknown)),
                    Err(CertificateFault::Refused(Refusal::AuthorityRevoked)) => {
                        return Err(CertificateFault::Refused(Refusal::AuthorityRevoked));
                    }
                    Err(found) => fault = more_telling(fault, found),
                }
            }
        }
        Err(fault)
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }
}

impl std::fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verdicts").finish_non_exhaustive()
    }
}

async fn anchors(
    store: &dyn Store,
    key_id: Option<&[u8]>,
    issuer: &[u8],
) -> Result<Vec<Anchor>, StoreError> {
    let mut anchors = store.anchors(key_id, issuer, ANCHORS_MAX).await?;
    anchors.truncate(ANCHORS_MAX);
    Ok(anchors)
}

#[cfg(test)]
mod tests;
