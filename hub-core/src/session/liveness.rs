//! Is anybody there, and does it read?
//!
//! Rules owned here: any inbound frame, control frames included, counts as life; after `PING_AFTER` without one the
//! hub pings, after `SILENCE_MAX` the socket is dead. Who goes on talking and leaves a ping unanswered does not read: a
//! pong is sent by whoever reads, whatever becomes of the message behind it.

use std::time::Instant;

use crate::limits::{ACK_MAX, PING_AFTER, SENDS_MAX, SILENCE_MAX};

/// When the peer was last heard, and what it was asked since.
#[derive(Clone, Debug)]
pub(super) struct Liveness {
    heard_at: Instant,
    pinged: bool,
    /// The ping that asks whether it reads, until it is answered.
    asked: Option<u32>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Fine,
    Ping,
    Dead,
}

impl Liveness {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            heard_at: now,
            pinged: false,
            asked: None,
        }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.pinged = false;
    }

    /// Commands are not acknowledged: true when this ping is to ask whether it reads, false when another one does already.
    pub(super) fn ask(&mut self, ping: u32) -> bool {
        let asks = self.asked.is_none();
        self.asked.get_or_insert(ping);
        asks
    }

    /// The pong with this number arrived.
    pub(super) fn answered(&mut self, pong: u32) {
        self.asked = self.asked.filter(|asked| *asked > pong);
    }

    /// Whether it lives and does not read, of a peer that has acknowledged nothing for as long as commands are sent again. One that
    /// was not heard in all that time is as likely gone.
    pub(super) fn is_deaf(&self, now: Instant) -> bool {
        let silent = now.saturating_duration_since(self.heard_at);
        self.asked.is_some() && silent <= ACK_MAX * u32::from(SENDS_MAX)
    }

    pub(super) fn deadline(&self) -> Instant {
        self.heard_at + if self.pinged { SILENCE_MAX } else { PING_AFTER }
    }

    pub(super) fn check(&mut self, now: Instant) -> Check {
        let silent = now.saturating_duration_since(self.heard_at);
        if silent >= SILENCE_MAX {
            Check::Dead
        } else if silent >= PING_AFTER && !self.pinged {
            self.pinged = true;
            Check::Ping
        } else {
            Check::Fine
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_healthy_heartbeat_is_never_pinged_and_silence_ends() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        assert_eq!(liveness.check(start + Duration::from_secs(30)), Check::Fine);
        liveness.heard(start + Duration::from_secs(30));
        assert_eq!(liveness.check(start + Duration::from_secs(60)), Check::Fine);
        assert_eq!(liveness.check(start + Duration::from_secs(62)), Check::Ping);
        assert_eq!(liveness.check(start + Duration::from_secs(63)), Check::Fine);
        assert_eq!(liveness.deadline(), start + Duration::from_secs(70));
        assert_eq!(liveness.check(start + Duration::from_secs(70)), Check::Dead);
    }

    #[test]
    fn who_talks_and_answers_no_ping_does_not_read() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut liveness = Liveness::new(start);
        assert!(!liveness.is_deaf(at(1)), "nobody asked");
        assert!(liveness.ask(5));
        assert!(!liveness.ask(6), "one question is enough");
        liveness.heard(at(20));
        assert!(liveness.is_deaf(at(30)));
        assert!(!liveness.is_deaf(at(51)), "it may be gone");
        liveness.answered(4);
        assert!(liveness.is_deaf(at(30)), "that answers something else");
        liveness.answered(5);
        assert!(!liveness.is_deaf(at(30)));
        assert!(liveness.ask(7), "asked anew");
    }
}
