//! The verdict on a certificate, with the store's help: pinned certificates first, then the authorities that
//! could have signed it, nearest first. One place for the handshake and for every check after it.

use std::sync::Arc;
use std::time::Instant;

use hub_core::level::Refusal;
use hub_core::limits::{
    ANCHOR_READS_MAX, ANCHORS_MAX, TRUST_MAX, VERDICT_LOOKUPS_MAX, VERDICT_MAX,
};
use hub_proto::id::{CaId, DeviceId, OrgId};
use hub_proto::time::Timestamp;
use rustls::pki_types::CertificateDer;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

use super::fault::CertificateFault;
use super::path::{Presented, admit_known, more_telling};
use super::recent::Recent;
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

/// Gives verdicts. Shared by the TLS verifier and the admission after the handshake.
pub struct Verdicts {
    store: Arc<dyn Store>,
    database: Database,
    recent: Recent,
    trusted: Trusted,
    /// One permit per handshake that waits for the store.
    lookups: Semaphore,
    runtime: Handle,
}

impl Verdicts {
    /// Verdicts from this store. `runtime` must be the multi-threaded one the node runs on.
    #[must_use]
    pub(crate) fn new(store: Arc<dyn Store>, database: Database, runtime: Handle) -> Arc<Self> {
        let lookups = Semaphore::new(VERDICT_LOOKUPS_MAX);
        Arc::new(Self {
            store,
            database,
            recent: Recent::default(),
            trusted: Trusted::default(),
            lookups,
            runtime,
        })
    }

    /// Voids every verdict not yet used, and what is known of a device: something about it changed.
    pub fn forget_device(&self, device: DeviceId) {
        self.recent.forget_all();
        self.trusted.forget_device(device);
    }

    /// Voids every verdict not yet used, and what is known of an org's devices: an authority of it changed.
    pub fn forget_org(&self, org: OrgId) {
        self.recent.forget_all();
        self.trusted.forget_org(org);
    }

    /// Remembers whose socket ended in good standing, in case the database is away when it connects again.
    pub(crate) fn trust(&self, identity: Arc<Identity>) {
        self.trusted.remember(identity, Instant::now());
    }

    /// The verdict for a handshake, from the synchronous code of the TLS library: waits on this thread, while
    /// the runtime moves its other tasks elsewhere. The verdict is kept for the check right after.
    ///
    /// # Errors
    /// Why the certificate is not accepted; `Busy` when too many others wait already.
    pub fn give_blocking(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), CertificateFault> {
        let presented = Presented::read(leaf, intermediates)?;
        let _permit = self
            .lookups
            .try_acquire()
            .map_err(|_| CertificateFault::Busy)?;
        // `block_in_place` panics on a single-threaded runtime; no caller of ours is on one.
        let here = Handle::try_current().ok();
        if here
            .is_some_and(|handle| matches!(handle.runtime_flavor(), RuntimeFlavor::CurrentThread))
        {
            return Err(CertificateFault::Busy);
        }
        let since = self.recent.since();
        let verdict =
            tokio::task::block_in_place(|| self.runtime.block_on(self.give(&presented, now)))?;
        self.recent
            .remember(since, presented.facts.sha256, verdict, Instant::now());
        Ok(())
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
        let verdict = tokio::time::timeout(VERDICT_MAX, judge(self.store.as_ref(), presented, now));
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

    /// The verdict given during the handshake of a moment ago, or a new one.
    pub(super) async fn give_again(
        &self,
        presented: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Verdict, CertificateFault> {
        match self.recent.take(&presented.facts.sha256, Instant::now()) {
            Some(verdict) => Ok(verdict),
            None => self.give(presented, now).await,
        }
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

/// Judges what a client presented.
async fn judge(
    store: &dyn Store,
    presented: &Presented<'_>,
    now: Timestamp,
) -> Result<Verdict, CertificateFault> {
    let known = store
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
            let anchors = anchors(store, key_id, issuer)
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
