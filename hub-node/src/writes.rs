//! Writes of sockets, many in one transaction.
//!
//! Rule owned here: a join, an acknowledgement or a report is answered after the commit of the batch it was in; a batch that
//! the store cannot take now is tried again a few times, then every writer in it hears `Unavailable`. While the database is
//! known to be away they hear it at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hub_core::limits::{DEVICE_WRITES_MAX, WRITES_QUEUED_MAX, WRITES_RETRIED_MAX};
use tokio::sync::{Notify, mpsc};
use tracing::warn;

use crate::database::Database;
use crate::store::Store;
use crate::store::delivery::{DeviceOutcome, DeviceWrite};
use crate::telemetry::metrics::Metrics;

/// What becomes of a write; `None` when the store could not take it.
type Answer = Box<dyn FnOnce(Option<DeviceOutcome>) + Send>;

/// Tries of one batch, and the pause between them.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// The queue in front of the store. Clones share it.
#[derive(Clone)]
pub(crate) struct Writes {
    queue: mpsc::Sender<(DeviceWrite, Answer)>,
    leaked: Arc<Notify>,
}

impl Writes {
    /// Starts the batching task; it ends, after what is queued, when all clones are gone.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        database: Database,
        metrics: Arc<Metrics>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, receiver) = mpsc::channel(WRITES_QUEUED_MAX);
        let writes = Self {
            queue,
            leaked: Arc::default(),
        };
        (
            writes,
            tokio::spawn(run(store, database, metrics, receiver)),
        )
    }

    /// Tells when a write was lost that nobody waited for, so that what it would have given up must be looked for.
    pub(crate) fn leaked(&self) -> Arc<Notify> {
        self.leaked.clone()
    }

    /// Queues a write. `answer` is called once: after the commit, or with `None` when the write was not taken.
    pub(crate) fn submit(
        &self,
        write: DeviceWrite,
        answer: impl FnOnce(Option<DeviceOutcome>) + Send + 'static,
    ) {
        if let Err(refused) = self.queue.try_send((write, Box::new(answer))) {
            let (_, answer) = refused.into_inner();
            answer(None);
        }
    }

    /// Queues a write whose outcome nobody waits for.
    pub(crate) fn submit_unanswered(&self, write: DeviceWrite) {
        let leaked = self.leaked.clone();
        self.submit(write, move |outcome| {
            if outcome.is_none() {
                leaked.notify_one();
            }
        });
    }
}

async fn run(
    store: Arc<dyn Store>,
    database: Database,
    metrics: Arc<Metrics>,
    mut receiver: mpsc::Receiver<(DeviceWrite, Answer)>,
) {
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, DEVICE_WRITES_MAX).await > 0 {
        metrics.batch(batch.len());
        let (writes, answers): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        match commit(&*store, &database, writes).await {
            Some(outcomes) => answers
                .into_iter()
                .zip(outcomes)
                .for_each(|(answer, outcome)| answer(Some(outcome))),
            None => answers.into_iter().for_each(|answer| answer(None)),
        }
    }
}

async fn commit(
    store: &dyn Store,
    database: &Database,
    writes: Vec<DeviceWrite>,
) -> Option<Vec<DeviceOutcome>> {
    if database.is_away() {
        return None;
    }
    let started = Instant::now();
    for attempt in 1..=TRIES {
        let outcomes = tokio::select! {
            outcomes = store.device_writes(writes.clone()) => outcomes,
            // Somebody else found that it is away: no use in waiting for an answer, and what was written is written.
            () = database.gone() => return None,
        };
        match outcomes {
            Ok(outcomes) => return Some(outcomes),
            Err(error) => {
                warn!(%error, attempt, writes = writes.len(), "a batch of writes failed");
                if attempt == TRIES || started.elapsed() >= WRITES_RETRIED_MAX {
                    return None;
                }
            }
        }
        tokio::time::sleep(PAUSE * attempt).await;
    }
    None
}
