//! What nodes write about themselves and about each other's sockets.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hub_core::rebalance::Rules;
pub use hub_proto::cluster::Notice;
use hub_proto::id::{ConnGen, DeviceId};
use hub_proto::time::Timestamp;

use super::StoreResult;

/// One start of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRun {
    /// Its name in the cluster.
    pub name: Arc<str>,
    /// A random number that tells this start from any other under the same name.
    pub run: i64,
    /// Where other nodes may ask it whether it has the database, `host:port`.
    pub peer_address: Option<Arc<str>>,
}

/// What a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLoad {
    /// Device sockets.
    pub sockets: u64,
    /// It takes more: it does not drain.
    pub ready: bool,
}

/// A node as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name in the cluster.
    pub name: String,
    /// What it held when it last renewed its lease.
    pub load: NodeLoad,
    /// When it started.
    pub started_at: Timestamp,
    /// Until when it is taken to be there.
    pub lease_until: Timestamp,
}

/// What became of a renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease is held for another term.
    Held {
        /** It had run out before: others may have said that this node is gone. */
        lapsed: bool,
        /** The other nodes that hold a lease, by name; at most 256. */
        others: Vec<(NodeRun, NodeLoad)>,
        /** What operators want nodes levelled by, for now. */
        ordered: Option<Rules>,
    },
    /// There is no such lease.
    Gone,
    /// Another run holds the lease of this name.
    Replaced,
}

/// What one pass found of nodes without a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// Devices that are no longer said to be connected.
    pub devices: u64,
    /// There may be more: look again at once.
    pub more: bool,
}

/// Leases of nodes, and who holds which device. Time is the database's.
#[async_trait]
pub trait ClusterStore {
    /// Enters a node that has just started, in place of an earlier run of its name, and forgets the connections that one left
    /// behind. Called before it listens.
    async fn start_node(&self, node: &NodeRun) -> StoreResult<()>;
    /// Writes a lease that is gone anew; false when another run has taken the name meanwhile.
    async fn enter_node(&self, node: &NodeRun) -> StoreResult<bool>;
    /// Extends a lease by `LEASE_TTL`.
    async fn renew_lease(&self, node: &NodeRun, load: NodeLoad) -> StoreResult<Renewal>;
    /// The nodes that hold a lease, by name; at most `NODES_MAX`.
    async fn nodes(&self) -> StoreResult<Vec<NodeRow>>;
    /// Wants nodes levelled by these rules for so long, in place of earlier ones; until when that is.
    async fn order_rebalance(&self, rules: Rules, lasting: Duration) -> StoreResult<Timestamp>;
    /// Gives the lease and all connections up: the node stops.
    async fn release_lease(&self, node: &NodeRun) -> StoreResult<()>;
    /// Marks devices of nodes without a lease as not connected, at most `LEASE_DEVICES_MAX` of one node. Their generation stays, so
    /// that a node that was only frozen can claim them again.
    async fn reap(&self, by: &NodeRun) -> StoreResult<Reaped>;
    /// Says that these devices are connected here, where no newer join says otherwise; those that are somewhere else, by id. At
    /// most `LEASE_DEVICES_MAX`.
    async fn reclaim(
        &self,
        node: &NodeRun,
        held: &[(DeviceId, ConnGen)],
    ) -> StoreResult<Vec<DeviceId>>;
    /// What the database says is connected to a node, by device id above `after`, at most `LEASE_DEVICES_MAX`.
    async fn held(&self, node: &NodeRun, after: DeviceId) -> StoreResult<Vec<(DeviceId, ConnGen)>>;
    /// Notices for a node, at most `NOTICES_MAX`. They stay until they are cleared.
    async fn notices(&self, node: &NodeRun) -> StoreResult<Vec<Notice>>;
    /// Clears notices that were acted upon; newer ones for the same devices stay.
    async fn clear_notices(&self, node: &NodeRun, notices: &[Notice]) -> StoreResult<()>;
}
