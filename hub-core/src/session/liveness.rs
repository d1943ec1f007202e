//! Is anybody there?
//!
//! Rule owned here: any inbound frame, control frames included, counts as life; after `PING_AFTER` without one the
//! hub pings, after `SILENCE_MAX` the socket is dead.

use std::time::Instant;

use crate::limits::{PING_AFTER, SILENCE_MAX};

/// When the peer was last heard, and whether it was asked since.
#[derive(Clone, Debug)]
pub(super) struct Liveness {
    heard_at: Instant,
    pinged: bool,
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
        }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.pinged = false;
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
}
