//! Full jitter: a pause drawn evenly from `[0, min(cap, base * 2^n)]`.
//!
//! Owns the rule for every retry of the device (connect, join, report, download). The draw comes from a small
//! seeded generator, so that the machine stays deterministic; it spreads load and protects nothing, so it need not be secret.

use std::time::Duration;

use crate::limits::{RECONNECT_BASE, RECONNECT_CAP};

/// The window a pause is drawn from: `[0, min(cap, base * 2^n)]` after `n` failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Longest pause after the first failure.
    pub base: Duration,
    /// Longest pause after any number of failures.
    pub cap: Duration,
}

impl Window {
    /// Between two connections, unless a device is told otherwise: [`RECONNECT_BASE`] and [`RECONNECT_CAP`].
    pub const RECONNECT: Self = Self {
        base: RECONNECT_BASE,
        cap: RECONNECT_CAP,
    };
}

/// A seeded generator for pauses.
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    /// A generator that always gives the same pauses for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A pause in `[0, min(cap, base * 2^attempt)]`; `attempt` counts from 0 and cannot overflow.
    pub fn pause(&mut self, base: Duration, cap: Duration, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        self.within(base.saturating_mul(factor).min(cap))
    }

    /// A pause in `[0, limit]`, with microsecond steps.
    pub fn within(&mut self, limit: Duration) -> Duration {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.next() % (micros.saturating_add(1)))
    }

    /// SplitMix64: one addition and two multiplications give evenly spread words from any seed.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_inside_the_window_and_reach_both_halves() {
        let mut jitter = Jitter::new(7);
        let (base, cap) = (Duration::from_secs(1), Duration::from_secs(60));
        for attempt in 0..80 {
            let window = base
                .saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX))
                .min(cap);
            let pauses: Vec<_> = (0..64).map(|_| jitter.pause(base, cap, attempt)).collect();
            assert!(pauses.iter().all(|pause| *pause <= window));
            assert!(
                pauses.iter().any(|pause| *pause < window / 2)
                    && pauses.iter().any(|pause| *pause > window / 2)
            );
        }
    }

    #[test]
    fn zero_window_is_no_pause() {
        assert_eq!(Jitter::new(1).within(Duration::ZERO), Duration::ZERO);
    }
}
