//! How nodes tell each other that a channel moved: a hint, fast and allowed to lose.

use async_trait::async_trait;
use hub_proto::cluster::Hint;

/// Why a hint was not sent.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The bus cannot be reached or is too slow; pollers find the change.
    #[error("the bus cannot take hints now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Carries hints to all nodes, this one included.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends one hint. An error loses nothing: the change it announces is committed and found by polling.
    async fn publish(&self, hint: Hint) -> Result<(), BusError>;
}
