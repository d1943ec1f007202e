//! How much a device may say: a token bucket for messages, a per-second count for pings.
//!
//! Rules owned here: a device that talks too fast is read more slowly, then closed; malformed frames and pings
//! are forgiven up to a rate.

use std::time::{Duration, Instant};

use crate::limits::{
    FLOOD_MAX, MALFORMED_MAX, MALFORMED_WINDOW, MESSAGES_BURST, MESSAGES_PER_SECOND,
    PING_FLOOD_SECONDS, PINGS_PER_SECOND_MAX,
};

/// What the rate allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Pass,
    /// Read nothing more before this moment.
    PauseUntil(Instant),
    /// It never stopped: close.
    Flood,
}

/// A token bucket that holds [`MESSAGES_BURST`] and refills at [`MESSAGES_PER_SECOND`].
#[derive(Clone, Debug)]
pub struct MessageRate {
    /// The moment at which the bucket would be full again.
    full_at: Instant,
    /// Since when the device has been at the limit without a break.
    throttled_since: Option<Instant>,
}

const COST: Duration = Duration::from_millis(1_000 / MESSAGES_PER_SECOND as u64);

impl MessageRate {
    /// A full bucket.
    pub fn new(now: Instant) -> Self {
        Self {
            full_at: now,
            throttled_since: None,
        }
    }

    /// Accounts one message.
    pub fn message(&mut self, now: Instant) -> Verdict {
        if self.full_at <= now {
            self.full_at = now;
            self.throttled_since = None;
        }
        self.full_at += COST;
        let debt = self.full_at - now;
        let burst = COST * MESSAGES_BURST;
        if debt <= burst {
            return Verdict::Pass;
        }
        let since = *self.throttled_since.get_or_insert(now);
        if now.saturating_duration_since(since) > FLOOD_MAX {
            return Verdict::Flood;
        }
        Verdict::PauseUntil(now + (debt - burst))
    }
}

/// Counts things in fixed windows.
#[derive(Clone, Debug)]
struct Window {
    from: Instant,
    count: u32,
}

impl Window {
    fn count(&mut self, now: Instant, length: Duration) -> u32 {
        if now.saturating_duration_since(self.from) >= length {
            self.from = now;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
}

/// Pings and malformed frames of one socket. Boxed away until the first one: a healthy device has none.
#[derive(Clone, Debug)]
pub struct Nuisance {
    pings: Window,
    flooded_seconds: u32,
    malformed: Window,
}

impl Nuisance {
    /// Nothing yet.
    pub fn new(now: Instant) -> Self {
        let window = Window {
            from: now,
            count: 0,
        };
        Self {
            pings: window.clone(),
            flooded_seconds: 0,
            malformed: window,
        }
    }

    /// Accounts one ping; true when the socket is flooded.
    pub fn ping(&mut self, now: Instant) -> bool {
        let before = self.pings.clone();
        let count = self.pings.count(now, Duration::from_secs(1));
        if count == 1 && before.count <= PINGS_PER_SECOND_MAX {
            self.flooded_seconds = 0;
        }
        if count == PINGS_PER_SECOND_MAX + 1 {
            self.flooded_seconds += 1;
        }
        self.flooded_seconds >= PING_FLOOD_SECONDS
    }

    /// Accounts one unreadable frame; true when there were too many.
    pub fn malformed(&mut self, now: Instant) -> bool {
        self.malformed.count(now, MALFORMED_WINDOW) >= MALFORMED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_passes_then_reading_pauses_then_the_socket_closes() {
        let start = Instant::now();
        let mut rate = MessageRate::new(start);
        for _ in 0..MESSAGES_BURST {
            assert_eq!(rate.message(start), Verdict::Pass);
        }
        let mut now = start;
        let mut pauses = 0;
        loop {
            match rate.message(now) {
                Verdict::Pass => panic!("the bucket is empty"),
                Verdict::PauseUntil(at) => {
                    assert_eq!(at - now, COST);
                    now = at;
                    pauses += 1;
                }
                Verdict::Flood => break,
            }
        }
        assert_eq!(pauses, 101, "ten a second for ten seconds");
    }

    #[test]
    fn a_device_within_its_rate_never_pauses() {
        let start = Instant::now();
        let mut rate = MessageRate::new(start);
        for n in 0..10_000 {
            assert_eq!(rate.message(start + COST * n), Verdict::Pass);
        }
    }

    #[test]
    fn five_flooded_seconds_in_a_row_are_a_ping_flood() {
        let start = Instant::now();
        let mut nuisance = Nuisance::new(start);
        let second = |s: u64, n: u64| start + Duration::from_millis(s * 1_000 + n);
        let mut closed_in = None;
        for s in 0..10 {
            for n in 0..200 {
                if nuisance.ping(second(s, n)) && closed_in.is_none() {
                    closed_in = Some(s);
                }
            }
        }
        assert_eq!(closed_in, Some(4));
    }

    #[test]
    fn a_quiet_second_forgives() {
        let start = Instant::now();
        let mut nuisance = Nuisance::new(start);
        for s in 0..40 {
            let pings = if s % 4 == 3 { 50 } else { 200 };
            for n in 0..pings {
                assert!(!nuisance.ping(start + Duration::from_millis(s * 1_000 + n)));
            }
        }
    }

    #[test]
    fn five_malformed_frames_in_a_minute_are_too_many() {
        let start = Instant::now();
        let mut nuisance = Nuisance::new(start);
        assert_eq!(
            (0..5)
                .map(|_| nuisance.malformed(start))
                .collect::<Vec<_>>(),
            [false, false, false, false, true]
        );
        assert!(!nuisance.malformed(start + MALFORMED_WINDOW));
    }
}
