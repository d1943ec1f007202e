//! The bus of a hub with one node: a bounded queue in the process.

use std::sync::Mutex;

use async_trait::async_trait;
use hub_core::limits::BUS_HINTS_MAX;
use hub_proto::cluster::Hint;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{Bus, BusError};

/// Hints from this process to this process.
#[derive(Debug)]
pub struct LocalBus {
    sender: mpsc::Sender<Hint>,
    receiver: Mutex<Option<mpsc::Receiver<Hint>>>,
}

impl Default for LocalBus {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(BUS_HINTS_MAX);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
        }
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn publish(&self, hint: Hint) -> Result<(), BusError> {
        self.sender.try_send(hint).map_err(|error| match error {
            TrySendError::Full(_) => BusError::Full,
            TrySendError::Closed(_) => BusError::Closed,
        })
    }

    fn subscribe(&self) -> Option<mpsc::Receiver<Hint>> {
        self.receiver.lock().ok()?.take()
    }
}
