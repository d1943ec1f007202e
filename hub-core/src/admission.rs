//! How many handshakes a node begins: a token bucket, so that a herd of devices that comes back is let in at a rate the machine
//! can keep up, and nobody who is inside is slowed down.

use std::time::{Duration, Instant};

/// A bucket that refills at a rate, and holds one second's worth.
#[derive(Clone, Debug)]
pub struct Admission {
    cost: Duration,
    /// The moment at which the bucket would be full again.
    full_at: Instant,
}

/// What the bucket holds, as time.
const BURST: Duration = Duration::from_secs(1);

impl Admission {
    /// A full bucket of so many tokens a second; 0 counts as 1.
    #[must_use]
    pub fn new(per_second: u32, now: Instant) -> Self {
        Self {
            cost: BURST / per_second.max(1),
            full_at: now,
        }
    }

    /// Refills at this rate from now on; 0 counts as 1. What was taken stays taken.
    pub fn pace(&mut self, per_second: u32) {
        self.cost = BURST / per_second.max(1);
    }

    /// Takes a token, which is there after this wait. The tokens of those who wait are taken.
    pub fn take(&mut self, now: Instant) -> Duration {
        self.full_at = self.full_at.max(now) + self.cost;
        self.full_at.saturating_duration_since(now + BURST)
    }

    /// How long the next one would have to wait.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Duration {
        (self.full_at.max(now) + self.cost).saturating_duration_since(now + BURST)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_is_free_and_then_the_rate_holds() {
        let now = Instant::now();
        let mut admission = Admission::new(10, now);
        for _ in 0..10 {
            assert_eq!(admission.take(now), Duration::ZERO);
        }
        assert_eq!(admission.wait(now), Duration::from_millis(100));
        assert_eq!(admission.take(now), Duration::from_millis(100));
        assert_eq!(admission.take(now), Duration::from_millis(200));
        let later = now + Duration::from_secs(5);
        assert_eq!(admission.take(later), Duration::ZERO);
    }

    #[test]
    fn a_new_rate_holds_at_once() {
        let now = Instant::now();
        let mut admission = Admission::new(1, now);
        admission.take(now);
        assert_eq!(admission.wait(now), Duration::from_secs(1));
        admission.pace(10);
        assert_eq!(admission.wait(now), Duration::from_millis(100));
    }

    proptest! {
        /// In any stretch of time no more begin than the rate allows and one burst.
        #[test]
        fn the_rate_is_kept(rate in 1..500_u32, pauses in prop::collection::vec(0..300_u64, 1..200)) {
            let start = Instant::now();
            let mut now = start;
            let mut admission = Admission::new(rate, now);
            let mut begun = Vec::new();
            for pause in pauses {
                now += Duration::from_millis(pause);
                begun.push(now + admission.take(now));
            }
            begun.sort_unstable();
            for (at, first) in begun.iter().enumerate() {
                for (after, last) in begun.iter().enumerate().skip(at) {
                    let allowed = f64::from(rate) * (last.duration_since(*first).as_secs_f64() + 1.0);
                    prop_assert!((after - at + 1) as f64 <= allowed + 1.0);
                }
            }
        }
    }
}
