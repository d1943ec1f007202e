//! How much a device may say: a token bucket for messages and pings, a count of what cannot be read.
//!
//! Rules owned here: a device that talks or pings too fast is read more slowly, so that it is answered no faster either, then
//! closed; what the hub asked for is not held against the device; malformed frames are forgiven up to a rate.

use std::time::{Duration, Instant};

use crate::limits::{
    FLOOD_MAX, MALFORMED_MAX, MALFORMED_WINDOW, MESSAGES_ASKED_MAX, MESSAGES_BURST,
    MESSAGES_PER_SECOND,
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
    /// Messages that the hub asked for and has not had.
    asked: u16,
}

const COST: Duration = Duration::from_millis(1_000 / MESSAGES_PER_SECOND as u64);

impl MessageRate {
    /// A full bucket.
    pub fn new(now: Instant) -> Self {
        Self {
            full_at: now,
            throttled_since: None,
            asked: 0,
        }
    }

    /// The hub asks for so many messages: they are free when they come, up to [`MESSAGES_ASKED_MAX`] at a time.
    pub fn ask(&mut self, messages: u16) {
        self.asked = self.asked.saturating_add(messages).min(MESSAGES_ASKED_MAX);
    }

    /// Accounts one message.
    pub fn message(&mut self, now: Instant) -> Verdict {
        if let Some(left) = self.asked.checked_sub(1) {
            self.asked = left;
            return Verdict::Pass;
        }
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

/// Unreadable frames of one socket in fixed windows. Boxed away until the first one: a healthy device sends none.
#[derive(Clone, Debug)]
pub struct MalformedRate {
    from: Instant,
    count: u32,
}

impl MalformedRate {
    /// None yet.
    pub fn new(now: Instant) -> Self {
        Self {
            from: now,
            count: 0,
        }
    }

    /// Accounts one unreadable frame; true when there were too many.
    pub fn malformed(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.from) >= MALFORMED_WINDOW {
            self.from = now;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.count >= MALFORMED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_free_up_to_a_bound() {
        let start = Instant::now();
        let mut rate = MessageRate::new(start);
        rate.ask(MESSAGES_ASKED_MAX);
        rate.ask(2);
        for _ in 0..u32::from(MESSAGES_ASKED_MAX) + MESSAGES_BURST {
            assert_eq!(rate.message(start), Verdict::Pass);
        }
        assert!(matches!(rate.message(start), Verdict::PauseUntil(_)));
    }

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
    fn five_malformed_frames_in_a_minute_are_too_many() {
        let start = Instant::now();
        let mut rate = MalformedRate::new(start);
        assert_eq!(
            (0..5).map(|_| rate.malformed(start)).collect::<Vec<_>>(),
            [false, false, false, false, true]
        );
        assert!(!rate.malformed(start + MALFORMED_WINDOW));
    }
}
