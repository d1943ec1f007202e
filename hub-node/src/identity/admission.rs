//! Who comes in, decided for every connection, resumed or not: dates, revocation, the authority. A newcomer is provisioned when it
//! asks for a socket.

use hub_core::level::Refusal;
use hub_proto::time::Timestamp;
use rustls::pki_types::CertificateDer;

use super::certificate::CertificateFacts;
use super::fault::{CertificateFault, reason};
use super::path::Presented;
use super::verdicts::{Since, Verdict, Verdicts};
use crate::store::StoreError;
use crate::store::records::{Identity, NewCertificate, Provision};

/// Why nobody comes in.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// This certificate (or its absence) does not let anyone in.
    #[error("refused: {}", reason(*.0))]
    Refused(Refusal),
    /// Nobody can be judged now; the same device may come in later.
    #[error("identities cannot be checked now")]
    Unavailable(#[source] CertificateFault),
}

impl From<CertificateFault> for Denied {
    fn from(fault: CertificateFault) -> Self {
        match fault.refusal() {
            Some(refusal) => Self::Refused(refusal),
            None => Self::Unavailable(fault),
        }
    }
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(CertificateFault::Unavailable(error))
    }
}

/// The holder of a certificate that was judged, and for whom nothing was done yet.
#[derive(Debug)]
pub struct Caller {
    verdict: Verdict,
    facts: CertificateFacts,
    since: Since,
}

impl Verdicts {
    /// Judges who holds the other end of a TLS session; `peer` is the chain the client presented, `now` the wall clock.
    ///
    /// # Errors
    /// Why the certificate is not accepted.
    pub async fn identify(
        &self,
        peer: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Caller, CertificateFault> {
        let (leaf, intermediates) = peer.split_first().ok_or(CertificateFault::Malformed)?;
        let presented = Presented::read(leaf, intermediates)?;
        self.revocations.judge(&presented.facts, now)?;
        let since = self.since();
        let verdict = self.give(&presented, now).await?;
        let facts = presented.facts;
        Ok(Caller {
            verdict,
            facts,
            since,
        })
    }

    /// Lets a caller in: judged again if anything was revoked since, and provisioned when it is new.
    ///
    /// # Errors
    /// [`Denied::Refused`] with the reason, [`Denied::Unavailable`] when the store cannot say.
    pub async fn admit(
        &self,
        caller: Caller,
        peer: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Identity, Denied> {
        let caller = if caller.since == self.since() {
            caller
        } else {
            self.identify(peer, now).await?
        };
        let authority = match caller.verdict {
            Verdict::Known(identity) => return Ok(*identity),
            Verdict::Newcomer { authority } => authority,
        };
        let certificate = pin(&caller.facts, now);
        let name = caller.facts.name.map_err(|fault| {
            tracing::info!(%fault, "a newcomer's certificate proposes no usable name");
            Denied::Refused(Refusal::BadIdentifier)
        })?;
        let provision = Provision {
            authority,
            name,
            certificate,
        };
        self.store()
            .provision(provision)
            .await?
            .map_err(Denied::Refused)
    }
}

/// A certificate's facts as the store pins them.
#[must_use]
pub fn pin(facts: &CertificateFacts, now: Timestamp) -> NewCertificate {
    NewCertificate {
        sha256: facts.sha256,
        key_sha256: facts.key_sha256,
        serial: facts.serial.clone(),
        not_before: facts.not_before,
        not_after: facts.not_after,
        now,
    }
}
