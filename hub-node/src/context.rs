//! What every actor of one node shares. Two nodes in one process share nothing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hub_core::limits::{READS_MAX, RETRY_MIN};
use hub_core::session::Unavailable;
use hub_proto::time::Timestamp;
use ractor::ActorRef;
use tokio::sync::Semaphore;

use crate::actors::groups;
use crate::edge::signed_url::LinkSigner;
use crate::routing::Sockets;
use crate::store::Store;
use crate::writes::Writes;

/// The shared parts of a node.
pub(crate) struct Context {
    /// The node's name in the cluster.
    pub(crate) node: Arc<str>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) writes: Writes,
    /// Bounds reads that run for sockets at the same time.
    pub(crate) reads: Semaphore,
    pub(crate) sockets: Arc<Sockets>,
    pub(crate) groups: ActorRef<groups::Message>,
    pub(crate) links: LinkSigner,
}

impl Context {
    pub(crate) fn new(
        node: Arc<str>,
        store: Arc<dyn Store>,
        writes: Writes,
        sockets: Arc<Sockets>,
        groups: ActorRef<groups::Message>,
        links: LinkSigner,
    ) -> Self {
        Self {
            node,
            store,
            writes,
            reads: Semaphore::new(READS_MAX),
            sockets,
            groups,
            links,
        }
    }
}

/// The wall clock, for what is stored; machines get monotonic time.
pub(crate) fn wall_clock() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// What a device is told when the store is away: come back in one to five times the shortest pause, spread.
pub(crate) fn unavailable() -> Unavailable {
    let spread = rand::random_range(1.0..5.0);
    Unavailable {
        retry_after: Duration::from_secs_f64(RETRY_MIN.as_secs_f64() * spread),
    }
}
