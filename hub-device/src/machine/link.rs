//! When to connect, how long to wait before connecting again, and the heartbeat.
//!
//! Owns: full jitter in `[0, min(cap, base * 2^n)]` between attempts, reset after a connection that lasted; close codes'
//! reconnect class; `reconnect {after_ms}`; a heartbeat unanswered when the next is due means a dead socket.

use std::time::Duration;

use hub_proto::close::Reconnect;
use serde_json::{Value, json};

use super::{Effect, Machine, Outgoing, channels, hub_delay, note};
use crate::limits::{CONNECTION_STABLE_AFTER, HEARTBEAT_INTERVAL, RECONNECT_REFUSED_CAP};

/// The one socket.
#[derive(Debug, PartialEq)]
pub(super) enum Link {
    /// Not started.
    Idle,
    /// Waiting to connect.
    Waiting { until: Duration, attempts: u32 },
    /// Connecting.
    Dialing { attempts: u32 },
    /// Connected.
    Open(Open),
    /// The device restarts and has no socket.
    Rebooting,
}

/// An open socket.
#[derive(Debug, PartialEq)]
pub(super) struct Open {
    /// Failed or short connections before this one.
    attempts: u32,
    since: Duration,
    heartbeat_due: Duration,
    heartbeat_ref: Option<u64>,
    /// When the hub wants this device to connect anew.
    leave_at: Option<Duration>,
}

impl Link {
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    const fn attempts(&self) -> u32 {
        match self {
            Self::Waiting { attempts, .. } | Self::Dialing { attempts } => *attempts,
            Self::Open(open) => open.attempts,
            Self::Idle | Self::Rebooting => 0,
        }
    }
}

impl Machine {
    pub(super) fn dial(&mut self, effects: &mut Vec<Effect>) {
        self.link = Link::Dialing {
            attempts: self.link.attempts(),
        };
        effects.push(Effect::Connect);
    }

    pub(super) fn on_opened(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Link::Dialing { attempts } = self.link else {
            return note(effects, "socket", "opened while none was wanted");
        };
        // The first beat comes early by chance, so that devices that connected together do not beat together.
        let heartbeat_due = now + self.jitter.within(HEARTBEAT_INTERVAL);
        self.link = Link::Open(Open {
            attempts,
            since: now,
            heartbeat_due,
            heartbeat_ref: None,
            leave_at: None,
        });
        self.join_device(now, effects);
    }

    pub(super) fn on_open_failed(&mut self, retry_after: Option<Duration>, now: Duration) {
        if let Link::Dialing { attempts } = self.link {
            let floor = retry_after
                .unwrap_or_default()
                .min(crate::limits::HUB_DELAY_CAP);
            self.wait_to_dial(attempts, self.reconnect.cap, floor, now);
        }
    }

    pub(super) fn on_closed(&mut self, code: Option<u16>, now: Duration) {
        let Link::Open(open) = &self.link else { return };
        let lasted = now.saturating_sub(open.since) >= CONNECTION_STABLE_AFTER;
        let attempts = if lasted { 0 } else { open.attempts };
        // A drain closes the socket before the time it asked for: what is left of that time is still waited.
        let floor = open
            .leave_at
            .map_or(Duration::ZERO, |at| at.saturating_sub(now));
        self.forget_channels();
        match Reconnect::of_code(code) {
            Reconnect::Now if floor > Duration::ZERO => self.wait_exactly(floor, attempts, now),
            // Never answers a close of ours, and a device that still runs wants its hub: as any lost socket.
            Reconnect::Now | Reconnect::Backoff | Reconnect::Never => {
                self.wait_to_dial(attempts, self.reconnect.cap, floor, now);
            }
            Reconnect::Rarely => self.wait_to_dial(u32::MAX, RECONNECT_REFUSED_CAP, floor, now),
        }
    }

    pub(super) fn on_reconnect(&mut self, payload: &Value, now: Duration) {
        if let Link::Open(open) = &mut self.link {
            open.leave_at = Some(now + hub_delay(payload, "after_ms").unwrap_or_default());
        }
    }

    pub(super) fn on_heartbeat_reply(&mut self, reference: Option<u64>) {
        if let Link::Open(open) = &mut self.link
            && reference.is_some()
            && open.heartbeat_ref == reference
        {
            open.heartbeat_ref = None;
        }
    }

    pub(super) fn settle_link(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        match &self.link {
            Link::Waiting { until, .. } if *until <= now => self.dial(effects),
            Link::Open(open) if open.leave_at.is_some_and(|at| at <= now) => {
                effects.push(Effect::Disconnect);
                self.forget_channels();
                self.link = Link::Waiting {
                    until: now,
                    attempts: 0,
                };
                self.dial(effects);
            }
            Link::Open(open) if open.heartbeat_due <= now && open.heartbeat_ref.is_some() => {
                note(effects, "heartbeat", "no answer within one interval");
                self.give_up_socket(now, effects);
            }
            Link::Open(open) if open.heartbeat_due <= now => self.beat(now, effects),
            Link::Waiting { .. }
            | Link::Open(_)
            | Link::Idle
            | Link::Dialing { .. }
            | Link::Rebooting => {}
        }
    }

    /// Closes a socket that no longer works and plans the next one.
    pub(super) fn give_up_socket(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.link.is_open() {
            effects.push(Effect::Disconnect);
            self.on_closed(None, now);
        }
    }

    /// Closes the socket for a restart.
    pub(super) fn go_down(&mut self, effects: &mut Vec<Effect>) {
        if self.link.is_open() {
            effects.push(Effect::Disconnect);
        }
        self.forget_channels();
        self.link = Link::Rebooting;
    }

    pub(super) fn link_deadline(&self) -> Option<Duration> {
        match &self.link {
            Link::Waiting { until, .. } => Some(*until),
            Link::Open(open) => Some(
                open.leave_at
                    .map_or(open.heartbeat_due, |at| at.min(open.heartbeat_due)),
            ),
            Link::Idle | Link::Dialing { .. } | Link::Rebooting => None,
        }
    }

    fn wait_to_dial(&mut self, attempts: u32, cap: Duration, floor: Duration, now: Duration) {
        let pause = self
            .jitter
            .pause(self.reconnect.base, cap, attempts.min(31));
        self.wait_exactly(
            pause.max(floor),
            if attempts == u32::MAX {
                0
            } else {
                attempts.saturating_add(1)
            },
            now,
        );
    }

    fn wait_exactly(&mut self, pause: Duration, attempts: u32, now: Duration) {
        self.link = Link::Waiting {
            until: now + pause,
            attempts,
        };
    }

    fn beat(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let reference = self.fresh_ref();
        if let Link::Open(open) = &mut self.link {
            open.heartbeat_ref = Some(reference);
            open.heartbeat_due = now + HEARTBEAT_INTERVAL;
        }
        effects.push(Effect::Send(Outgoing {
            join_ref: None,
            reference,
            topic: channels::PHOENIX.to_owned(),
            event: "heartbeat".into(),
            payload: json!({}),
        }));
    }
}
