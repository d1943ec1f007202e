//! The bus of a hub with one node: a bounded queue in the process.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hub_core::bus_health::BusState;
use hub_core::limits::BUS_HINTS_MAX;
use hub_proto::cluster::{Hint, Notice};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::watch;

use super::{Arrival, Bus, BusError, Inbound};
use crate::context::wall_clock;
use crate::telemetry::metrics::{Direction, Metrics, OnBus};

/// Messages from this process to this process.
#[derive(Debug)]
pub struct LocalBus {
    sender: mpsc::Sender<Arrival>,
    receiver: Mutex<Option<mpsc::Receiver<Arrival>>>,
    state: watch::Sender<BusState>,
    metrics: Arc<Metrics>,
}

impl LocalBus {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        let (sender, receiver) = mpsc::channel(BUS_HINTS_MAX);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            state: watch::Sender::new(BusState::Up),
            metrics,
        }
    }

    fn send(&self, kind: OnBus, said: Inbound) -> Result<(), BusError> {
        let arrival = Arrival {
            sent_at: Some(wall_clock()),
            said,
        };
        let sent = self.sender.try_send(arrival);
        if sent.is_ok() {
            self.metrics.on_bus(Direction::Out, kind);
        }
        sent.map_err(|error| match error {
            TrySendError::Full(_) => BusError::Full,
            TrySendError::Closed(_) => BusError::Closed,
        })
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn publish(&self, hint: Hint) -> Result<(), BusError> {
        self.send(OnBus::Hint, Inbound::Hint(hint))
    }

    fn notify(&self, _node: &str, notice: Notice) -> Result<(), BusError> {
        self.send(OnBus::Notice, Inbound::Notice(notice))
    }

    fn system(&self) -> &'static str {
        "in_process"
    }

    fn subscribe(&self) -> Option<mpsc::Receiver<Arrival>> {
        self.receiver.lock().ok()?.take()
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.state.subscribe()
    }
}
