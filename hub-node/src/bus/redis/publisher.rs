//! What this node says: a bounded queue, and one connection that publishes what is in it, many messages in one round trip.
//!
//! Rule owned here: what cannot be published is dropped. Nobody waits for it, and the poller finds what it announced.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hub_core::limits::{
    BUS_BATCH_MAX, BUS_CALL_MAX, BUS_OUTGOING_MAX, BUS_RETRY_MAX, BUS_RETRY_MIN,
};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};
use tokio::sync::mpsc::{self, error::TrySendError};
use tracing::{debug, warn};

use crate::bus::BusError;
use crate::telemetry::metrics::{Direction, Metrics, OnBus};

/// The way into the queue. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    queue: mpsc::Sender<(String, Bytes)>,
    metrics: Arc<Metrics>,
}

impl Outgoing {
    /// Queues a message for a channel.
    pub(super) fn send(
        &self,
        channel: String,
        kind: OnBus,
        message: Bytes,
    ) -> Result<(), BusError> {
        self.queue
            .try_send((channel, message))
            .map_err(|error| match error {
                TrySendError::Full(_) => BusError::Full,
                TrySendError::Closed(_) => BusError::Closed,
            })?;
        self.metrics.on_bus(Direction::Out, kind);
        Ok(())
    }
}

/// The other end of the queue.
pub(super) struct Publisher {
    client: Client,
    queue: mpsc::Receiver<(String, Bytes)>,
}

impl Publisher {
    pub(super) fn new(client: Client, metrics: Arc<Metrics>) -> (Outgoing, Self) {
        let (sender, queue) = mpsc::channel(BUS_OUTGOING_MAX);
        let outgoing = Outgoing {
            queue: sender,
            metrics,
        };
        (outgoing, Self { client, queue })
    }

    /// Publishes until the bus is dropped.
    pub(super) async fn run(mut self) {
        let mut connection = None;
        let mut pause = BUS_RETRY_MIN;
        let mut batch = Vec::new();
        while self.queue.recv_many(&mut batch, BUS_BATCH_MAX).await > 0 {
            match publish(&self.client, &mut connection, &batch).await {
                Ok(()) => pause = BUS_RETRY_MIN,
                Err(error) => {
                    warn!(%error, messages = batch.len(), "could not publish; what was announced is found by polling");
                    connection = None;
                    tokio::time::sleep(spread(pause)).await;
                    pause = (pause * 2).min(BUS_RETRY_MAX);
                    // What has waited all the while is old news.
                    let mut old = 0;
                    while self.queue.try_recv().is_ok() {
                        old += 1;
                    }
                    debug!(old, "dropped what waited");
                }
            }
            batch.clear();
        }
    }
}

/// A pause that two nodes do not share.
pub(super) fn spread(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..1.0))
}

async fn publish(
    client: &Client,
    connection: &mut Option<MultiplexedConnection>,
    batch: &[(String, Bytes)],
) -> redis::RedisResult<()> {
    let connection = match connection {
        Some(connection) => connection,
        None => {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(BUS_CALL_MAX))
                .set_response_timeout(Some(BUS_CALL_MAX));
            let fresh = client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            connection.insert(fresh)
        }
    };
    let mut pipe = redis::pipe();
    for (channel, message) in batch {
        pipe.publish(channel, &message[..]).ignore();
    }
    pipe.query_async(connection).await
}
