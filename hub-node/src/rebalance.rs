//! Sends devices of this node elsewhere while it holds more than its share. Who holds too much is
//! [`hub_core::rebalance`]'s to decide.
//!
//! Nodes know of each other what stands in the database, as of their last renewals. A node whose own renewal fails does not know what the
//! others hold, and sends nobody away.

use std::sync::Arc;
use std::time::Duration;

use hub_core::limits::{REBALANCE_TICK, RECONNECT_SPREAD};
use hub_core::rebalance::Rules;
use rand::seq::IteratorRandom as _;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use crate::actors::device_socket::Message;
use crate::admin::Phase;
use crate::config::Config;
use crate::membership::Census;
use crate::routing::{SocketHandle, Sockets};

/// What the task looks at.
pub(crate) struct Rebalance {
    /// By which rules nodes are levelled without being told to; `None`: not at all.
    pub(crate) continuous: Option<Rules>,
    pub(crate) census: watch::Receiver<Census>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) isolated: watch::Receiver<bool>,
    pub(crate) sockets: Arc<Sockets>,
}

/// The rules that a configuration names.
pub(crate) fn rules(config: &Config) -> Rules {
    Rules {
        absolute: config.rebalance_absolute,
        relative_percent: config.rebalance_relative_percent,
        per_second: config.rebalance_per_second,
    }
}

impl Rebalance {
    /// Looks every second until the task is dropped.
    pub(crate) async fn go_on(mut self) {
        let mut known = Instant::now();
        let mut shedding = false;
        loop {
            tokio::time::sleep(REBALANCE_TICK).await;
            if self.census.has_changed().unwrap_or(false) {
                self.census.mark_unchanged();
                known = Instant::now();
            }
            let shed = self.due(known.elapsed());
            if shed > 0 {
                self.send_away(shed);
            }
            if shedding != (shed > 0) {
                shedding = shed > 0;
                info!(
                    sockets = self.sockets.len(),
                    shedding, "this node levels the nodes"
                );
            }
        }
    }

    /// Devices that are to leave now, by what is known of the others since so long ago.
    fn due(&self, age: Duration) -> u64 {
        let census = self.census.borrow();
        let serves = *self.phase.borrow() == Phase::Ready && !*self.isolated.borrow();
        let rules = census.ordered.or(self.continuous);
        let Some(rules) = rules.filter(|_| serves && age < hub_core::limits::LEASE_TTL) else {
            return 0;
        };
        let others = census.others.iter().filter(|load| load.ready);
        let others: Vec<u64> = others.map(|load| load.sockets).collect();
        rules.shed(self.sockets.len(), &others)
    }

    fn send_away(&self, many: u64) {
        let mut all: Vec<Arc<SocketHandle>> = Vec::new();
        self.sockets.for_each(|socket| all.push(socket.clone()));
        let many = usize::try_from(many).unwrap_or(usize::MAX);
        for socket in all.into_iter().sample(&mut rand::rng(), many) {
            let after = RECONNECT_SPREAD.mul_f64(rand::random());
            socket.tell(Message::Move { after });
        }
    }
}
