//! How nodes tell each other that a channel moved.
//!
//! The delivery contract, for every implementation: at most once; hints of one publisher arrive in its order or not at
//! all; whoever missed some is not told. A hint has no authority: it can only cause a read, or be used when it continues
//! exactly what its receiver knows. Publishing happens after the commit, and its failure is counted, never retried.

pub mod local;
pub mod redis;

use async_trait::async_trait;
use hub_core::bus_health::BusState;
use hub_proto::cluster::{Hint, Notice};
use hub_proto::time::Timestamp;
use tokio::sync::{mpsc, watch};

/// A message could not be handed over. The poller will find the change.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Too many messages are waiting.
    #[error("the bus is full")]
    Full,
    /// The bus is shut down.
    #[error("the bus is closed")]
    Closed,
}

/// What reaches a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// A channel moved.
    Hint(Hint),
    /// Look at a socket of this node.
    Notice(Notice),
}

/// What reaches a node, and when it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// By the clock of the node that said it; `None` when it did not tell.
    pub sent_at: Option<Timestamp>,
    /// What.
    pub said: Inbound,
}

/// Fans hints out to every node, this one included.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Publishes a hint after the change it announces was committed.
    async fn publish(&self, hint: Hint) -> Result<(), BusError>;

    /// Tells one node to look at a socket of its own, after the join that makes it necessary was committed.
    fn notify(&self, node: &str, notice: Notice) -> Result<(), BusError>;

    /// What reaches this node, in a bounded queue. A bus has one subscriber per node.
    fn subscribe(&self) -> Option<mpsc::Receiver<Arrival>>;

    /// What it is called in traces.
    fn system(&self) -> &'static str;

    /// How well this node hears the others.
    fn state(&self) -> watch::Receiver<BusState>;
}
