//! Verdicts given a moment ago, so that the check right after a handshake costs no second read. Each is good
//! for one use and a short time, and a revocation voids them all at once, those still being looked up included.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hub_core::limits::{RECENT_VERDICT_TTL, RECENT_VERDICTS_MAX};

use super::verdicts::Verdict;

/// Marks a moment before a look-up; a verdict is only kept when nothing was voided since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since(u64);

/// The recent verdicts, by certificate.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    voided: u64,
    verdicts: HashMap<[u8; 32], (Instant, Verdict)>,
}

impl Recent {
    /// To be taken before a look-up starts.
    pub(super) fn since(&self) -> Since {
        Since(self.lock().voided)
    }

    /// Keeps a verdict, unless [`Recent::forget_all`] ran since its look-up started.
    pub(super) fn remember(&self, since: Since, sha256: [u8; 32], verdict: Verdict, now: Instant) {
        let mut inner = self.lock();
        if inner.voided != since.0 {
            return;
        }
        if inner.verdicts.len() >= RECENT_VERDICTS_MAX {
            inner
                .verdicts
                .retain(|_, (at, _)| now.saturating_duration_since(*at) < RECENT_VERDICT_TTL);
        }
        if inner.verdicts.len() < RECENT_VERDICTS_MAX {
            inner.verdicts.insert(sha256, (now, verdict));
        }
    }

    /// Takes a verdict out, when there is one young enough.
    pub(super) fn take(&self, sha256: &[u8; 32], now: Instant) -> Option<Verdict> {
        let (at, verdict) = self.lock().verdicts.remove(sha256)?;
        (now.saturating_duration_since(at) < RECENT_VERDICT_TTL).then_some(verdict)
    }

    /// Voids everything, what is being looked up included.
    pub(super) fn forget_all(&self) {
        let mut inner = self.lock();
        inner.voided = inner.voided.wrapping_add(1);
        inner.verdicts.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A panic elsewhere cannot leave the map half changed: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use hub_proto::id::CaId;

    use super::*;

    fn verdict() -> Verdict {
        Verdict::Newcomer { authority: CaId(7) }
    }

    #[test]
    fn a_verdict_is_good_once() {
        let (recent, now) = (Recent::default(), Instant::now());
        recent.remember(recent.since(), [1; 32], verdict(), now);
        assert!(recent.take(&[1; 32], now).is_some());
        assert!(recent.take(&[1; 32], now).is_none());
    }

    #[test]
    fn a_verdict_ages() {
        let (recent, now) = (Recent::default(), Instant::now());
        recent.remember(recent.since(), [1; 32], verdict(), now);
        assert!(recent.take(&[1; 32], now + RECENT_VERDICT_TTL).is_none());
    }

    #[test]
    fn a_look_up_that_overlaps_a_revocation_leaves_nothing() {
        let (recent, now) = (Recent::default(), Instant::now());
        let since = recent.since();
        recent.forget_all();
        recent.remember(since, [1; 32], verdict(), now);
        assert!(recent.take(&[1; 32], now).is_none());
    }

    #[test]
    fn it_never_grows_past_its_bound() {
        let (recent, now) = (Recent::default(), Instant::now());
        for i in 0..RECENT_VERDICTS_MAX + 10 {
            let mut sha256 = [0; 32];
            sha256[..8].copy_from_slice(&i.to_be_bytes());
            recent.remember(recent.since(), sha256, verdict(), now);
        }
        assert_eq!(recent.lock().verdicts.len(), RECENT_VERDICTS_MAX);
    }
}
