//! What every actor of one node shares. Two nodes in one process share nothing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hub_core::limits::{JOINS_PER_SECOND, RETRY_MIN, UNAVAILABLE_RETRY_MAX};
use hub_core::session::Unavailable;
use hub_proto::cluster::Notice;
use hub_proto::id::{ConnGen, DeviceId};
use hub_proto::time::Timestamp;
use ractor::ActorRef;
use tokio::sync::Semaphore;

use crate::actors::groups;
use crate::bus::Bus;
use crate::edge::signed_url::LinkSigner;
use crate::identity::verdicts::Verdicts;
use crate::routing::Sockets;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Traces;
use crate::writes::Writes;

/// The shared parts of a node.
pub(crate) struct Context {
    /// The node's name in the cluster.
    pub(crate) node: Arc<str>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) verdicts: Arc<Verdicts>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) writes: Writes,
    /// Bounds reads that run for sockets at the same time.
    pub(crate) reads: Semaphore,
    pub(crate) sockets: Arc<Sockets>,
    pub(crate) groups: ActorRef<groups::Message>,
    pub(crate) links: LinkSigner,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) traces: Arc<Traces>,
}

impl Context {
    /// Tells the node that holds a device to look at its socket: see [`Sockets::notice`]. The store has the same in writing, for
    /// when this does not arrive.
    pub(crate) fn tell_holder(&self, node: &str, device: DeviceId, generation: ConnGen) {
        if *node == *self.node {
            return self.sockets.notice(device, generation);
        }
        // one that is lost is found in the store
        let _ = self.bus.notify(node, Notice { device, generation });
    }

    /// What a device is told when the store is away: come back in a second at the soonest, spread so that the devices of this
    /// node are not more than a database takes that was just away.
    pub(crate) fn unavailable(&self) -> Unavailable {
        let herd = Duration::from_secs(self.sockets.len() / JOINS_PER_SECOND);
        let longest = herd.clamp(RETRY_MIN * 4, UNAVAILABLE_RETRY_MAX);
        Unavailable {
            retry_after: rand::random_range(RETRY_MIN..longest),
        }
    }
}

/// The wall clock, for what is stored; machines get monotonic time.
pub(crate) fn wall_clock() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
