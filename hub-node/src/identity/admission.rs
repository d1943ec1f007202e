//! Who comes in, decided after every handshake. A resumed session never asks the verifier, so its certificate
//! is judged here again: dates, revocation, the authority. A newcomer is provisioned at its first use.

use hub_core::level::Refusal;
use hub_proto::time::Timestamp;
use rustls::pki_types::CertificateDer;

use super::certificate::CertificateFacts;
use super::fault::{CertificateFault, reason};
use super::path::Presented;
use super::verdicts::{Verdict, Verdicts};
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

impl Verdicts {
    /// Decides who holds the other end of a TLS session. `peer` is what the session says about its client
    /// certificates; `now` is the wall clock.
    ///
    /// # Errors
    /// [`Denied::Refused`] with the reason, [`Denied::Unavailable`] when the store cannot say.
    pub async fn admit(
        &self,
        peer: Option<&[CertificateDer<'_>]>,
        now: Timestamp,
    ) -> Result<Identity, Denied> {
        let Some((leaf, intermediates)) = peer.and_then(<[_]>::split_first) else {
            return Err(Denied::Refused(Refusal::NoCertificate));
        };
        let presented = Presented::read(leaf, intermediates)?;
        match self.give_again(&presented, now).await? {
            Verdict::Known(identity) => Ok(*identity),
            Verdict::Newcomer { authority } => {
                let name = presented.facts.name.clone().map_err(|fault| {
                    tracing::info!(%fault, "a newcomer's certificate proposes no usable name");
                    Denied::Refused(Refusal::BadIdentifier)
                })?;
                let certificate = pin(&presented.facts, now);
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
