//! The bus of a hub with one node: a bounded queue in the process.

use std::sync::Mutex;

use async_trait::async_trait;
use hub_core::bus_health::BusState;
use hub_core::limits::BUS_HINTS_MAX;
use hub_proto::cluster::{Hint, Notice};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::watch;

use super::{Bus, BusError, Inbound};

/// Messages from this process to this process.
#[derive(Debug)]
pub struct LocalBus {
    sender: mpsc::Sender<Inbound>,
    receiver: Mutex<Option<mpsc::Receiver<Inbound>>>,
    state: watch::Sender<BusState>,
}

impl Default for LocalBus {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(BUS_HINTS_MAX);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            state: watch::Sender::new(BusState::Up),
        }
    }
}

impl LocalBus {
    fn send(&self, message: Inbound) -> Result<(), BusError> {
        self.sender.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => BusError::Full,
            TrySendError::Closed(_) => BusError::Closed,
        })
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn publish(&self, hint: Hint) -> Result<(), BusError> {
        self.send(Inbound::Hint(hint))
    }

    fn notify(&self, _node: &str, notice: Notice) -> Result<(), BusError> {
        self.send(Inbound::Notice(notice))
    }

    fn subscribe(&self) -> Option<mpsc::Receiver<Inbound>> {
        self.receiver.lock().ok()?.take()
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.state.subscribe()
    }
}
