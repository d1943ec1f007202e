//! How nodes tell each other that a channel moved.
//!
//! The delivery contract, for every implementation: at most once; hints of one publisher arrive in its order or not at
//! all; whoever missed some is not told. A hint has no authority: it can only cause a read, or be used when it continues
//! exactly what its receiver knows. Publishing happens after the commit, and its failure is counted, never retried.

pub mod local;

use async_trait::async_trait;
use hub_proto::cluster::Hint;
use tokio::sync::mpsc;

/// A hint could not be handed over. The poller will find the change.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Too many hints are waiting.
    #[error("the bus is full")]
    Full,
    /// The bus is shut down or cannot be reached.
    #[error("the bus is closed")]
    Closed,
}

/// Fans hints out to every node, this one included.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Publishes a hint after the change it announces was committed.
    async fn publish(&self, hint: Hint) -> Result<(), BusError>;

    /// The hints that reach this node, in a bounded queue. A bus has one subscriber per node.
    fn subscribe(&self) -> Option<mpsc::Receiver<Hint>>;
}
