//! Nodes of the cluster, and levelling them.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It takes devices.
    Ready,
    /// It sends its devices away.
    Draining,
}

/// A node of the cluster, as of its last sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: NodeState,
    /// Device sockets that it holds.
    pub sockets: u64,
    /// When it started.
    pub started_at: Timestamp,
    /// It is taken to be gone when it gives no further sign of life until then.
    pub lease_until: Timestamp,
}

/// Levels the nodes: those that hold more devices than their share send some away, which connect where there are fewer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct NodesRebalance {
    /// A node that holds no more devices than this is left alone; 1,000 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absolute: Option<u32>,
    /// A node that holds no more than this many percent of the mean is left alone; 100 to 1,000, 110 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_percent: Option<u32>,
    /// Devices that one node sends away a second; 1 to 1,000, 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u32>,
    /// Seconds for which nodes are kept level, at most a day; 600 when absent. 0 ends an earlier order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u32>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What levelling the nodes means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RebalancePlan {
    /// Devices that a node may hold.
    pub threshold: u64,
    /// Until when nodes are kept level; absent for a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What each node is to do, by name.
    pub nodes: Vec<NodePlan>,
}

/// What one node is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodePlan {
    /// Its name.
    pub name: String,
    /// Device sockets that it holds.
    pub sockets: u64,
    /// Of these, how many it sends away.
    pub sends_away: u64,
}
