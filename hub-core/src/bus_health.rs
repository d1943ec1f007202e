//! Whether a node hears what is said on the bus.
//!
//! A connection that looks alive proves nothing: a frozen server still acknowledges, a user may be allowed to connect and not to
//! listen, and two nodes may listen to two servers. So every node says on the bus once a second that it is there, and what
//! counts is what is heard:
//!
//! ```text
//!                  all subscriptions confirmed            own beacon heard           every peer heard
//!   Deaf{Connecting} ──────────────────────▶ Deaf{OwnBeacon} ───────────▶ Degraded{Peer} ───────────▶ Up
//!        ▲                                         ▲                        │  ▲                        │
//!        │ dropped, or nothing heard of oneself for BEACON_MISSING_MAX      │  └── a peer is silent ────┘
//!        └──────────────────────────────────────────────────────────────────┘
//! ```
//! Rules owned here: only a node that has heard itself and every peer with a lease is [`BusState::Up`]; a connection on which
//! nothing of oneself, or nothing of any peer, is heard is dropped and made anew; while one is not up, one asks the database
//! more often, and once when one becomes up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::limits::{BEACON_EVERY, BEACON_MISSING_MAX, BUS_RETRY_MAX, BUS_RETRY_MIN};

/// How well the bus is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusState {
    /// Everything is heard.
    Up,
    /// This node hears itself, and not every peer.
    Degraded {
        /** Why. */
        reason: Reason,
    },
    /// This node hears nothing.
    Deaf {
        /** Why. */
        reason: Reason,
    },
}

/// Why a bus is not heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No connection was made yet.
    Connecting,
    /// What the server or the network said.
    Failed(Arc<str>),
    /// This node's own beacon did not come back.
    OwnBeacon,
    /// Nothing was heard of this node, which has a lease.
    Peer(Arc<str>),
}

impl BusState {
    /// Whether everything is heard.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up)
    }

    /// A word for scripts.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded { .. } => "degraded",
            Self::Deaf { .. } => "deaf",
        }
    }

    /// Why it is not up, for people.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let (Self::Degraded { reason } | Self::Deaf { reason }) = self else {
            return None;
        };
        Some(match reason {
            Reason::Connecting => "connecting".to_owned(),
            Reason::Failed(what) => what.to_string(),
            Reason::OwnBeacon => "this node's own beacon does not come back".to_owned(),
            Reason::Peer(name) => format!("no beacon of node {name}"),
        })
    }
}

/// What the machine is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// Connected, and every subscription is confirmed.
    Connected,
    /// The connection could not be made, or broke, or a subscription was refused.
    Failed(Arc<str>),
    /// A beacon of this node.
    Heard(Arc<str>),
    /// The other nodes that hold a lease.
    Peers(Vec<Arc<str>>),
    /// The deadline has passed.
    Deadline,
}

/// What the machine asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Drop the connection if there is one, resolve the name again, connect and subscribe.
    Connect,
    /// Say that this node is there.
    Beacon,
    /// Ask the database for what was missed.
    Reconcile,
}

/// The machine of one node's bus.
#[derive(Clone, Debug)]
pub struct BusHealth {
    name: Arc<str>,
    state: BusState,
    /// When each peer with a lease was last heard, or began to count.
    peers: BTreeMap<Arc<str>, Heard>,
    own: Heard,
    connected: bool,
    connecting: bool,
    retry_at: Instant,
    retry_pause: Duration,
    beacon_at: Instant,
    judged_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Instant,
    /// On this connection.
    ever: bool,
}

impl BusHealth {
    /// A bus that is not connected yet.
    #[must_use]
    pub fn new(name: Arc<str>, now: Instant) -> Self {
        Self {
            name,
            state: BusState::Deaf {
                reason: Reason::Connecting,
            },
            peers: BTreeMap::new(),
            own: Heard::never(now),
            connected: false,
            connecting: false,
            retry_at: now,
            retry_pause: BUS_RETRY_MIN,
            beacon_at: now,
            judged_at: now,
        }
    }

    /// How well the bus is heard.
    #[must_use]
    pub fn state(&self) -> &BusState {
        &self.state
    }

    /// Steps the machine.
    pub fn step(&mut self, event: Event, now: Instant, out: &mut Vec<Effect>) {
        match event {
            Event::Connected => self.connected(now),
            Event::Failed(what) => self.failed(Reason::Failed(what), now),
            Event::Heard(name) => self.heard(&name, now),
            Event::Peers(names) => self.peers(names, now),
            Event::Deadline => {}
        }
        self.judge(now, out);
        self.judged_at = now;
        if !self.connected && !self.connecting && self.retry_at <= now {
            self.connecting = true;
            out.push(Effect::Connect);
        }
        if self.connected && self.beacon_at <= now {
            self.beacon_at = now + BEACON_EVERY;
            out.push(Effect::Beacon);
        }
    }

    /// When to be stepped with [`Event::Deadline`].
    #[must_use]
    pub fn deadline(&self) -> Instant {
        match (self.connected, self.connecting) {
            (true, _) => {
                let heard = self.peers.values().chain([&self.own]);
                let missing = heard.map(|heard| heard.at + BEACON_MISSING_MAX);
                // who is missing already has been judged
                let next = missing.filter(|at| *at > self.judged_at).min();
                next.map_or(self.beacon_at, |at| at.min(self.beacon_at))
            }
            (false, false) => self.retry_at,
            // whoever connects says how it went
            (false, true) => self.retry_at + BUS_RETRY_MAX,
        }
    }

    fn connected(&mut self, now: Instant) {
        self.connected = true;
        self.connecting = false;
        self.beacon_at = now;
        self.own = Heard::never(now);
        for heard in self.peers.values_mut() {
            *heard = Heard::never(now);
        }
    }

    fn failed(&mut self, reason: Reason, now: Instant) {
        self.connected = false;
        self.connecting = false;
        self.retry_at = now + self.retry_pause;
        self.retry_pause = (self.retry_pause * 2).min(BUS_RETRY_MAX);
        self.state = BusState::Deaf { reason };
    }

    fn heard(&mut self, name: &Arc<str>, now: Instant) {
        let heard = Heard {
            at: now,
            ever: true,
        };
        if *name == self.name {
            self.own = heard;
        } else if let Some(peer) = self.peers.get_mut(name) {
            *peer = heard;
        }
    }

    fn peers(&mut self, names: Vec<Arc<str>>, now: Instant) {
        self.peers.retain(|name, _| names.contains(name));
        for name in names {
            if name != self.name {
                self.peers.entry(name).or_insert(Heard::never(now));
            }
        }
    }

    fn judge(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if !self.connected {
            return;
        }
        let silent = self.peers.iter().find(|(_, heard)| heard.is_missing(now));
        let silent = silent.map(|(name, _)| name.clone());
        if self.own.is_missing(now) {
            return self.failed(Reason::OwnBeacon, now);
        }
        let all_silent = self.peers.values().all(|heard| heard.is_missing(now));
        if let Some(name) = silent.clone().filter(|_| all_silent) {
            // Perhaps this is another server than theirs: look the name up again. One that does not help is not tried often.
            return self.failed(Reason::Peer(name), now);
        }
        let unheard = self.peers.iter().find(|(_, heard)| !heard.ever);
        let unheard = unheard.map(|(name, _)| name.clone());
        let state = match (self.own.ever, silent.or(unheard)) {
            (false, _) => BusState::Deaf {
                reason: Reason::OwnBeacon,
            },
            // A peer that has just got its lease has not had its second yet.
            (true, Some(name)) if self.state.is_up() && !self.is_overdue(&name, now) => return,
            (true, Some(name)) => BusState::Degraded {
                reason: Reason::Peer(name),
            },
            (true, None) => BusState::Up,
        };
        if state.is_up() && !self.state.is_up() {
            self.retry_pause = BUS_RETRY_MIN;
            out.push(Effect::Reconcile);
        }
        self.state = state;
    }

    fn is_overdue(&self, name: &Arc<str>, now: Instant) -> bool {
        self.peers
            .get(name)
            .is_some_and(|heard| heard.is_missing(now))
    }
}

impl Heard {
    fn never(now: Instant) -> Self {
        Self {
            at: now,
            ever: false,
        }
    }

    fn is_missing(self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= BEACON_MISSING_MAX
    }
}

#[cfg(test)]
mod tests;
