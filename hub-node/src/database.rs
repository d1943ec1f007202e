//! Whether the database is there. One word on it for all of a node, so that nobody waits in vain: while it is away, who would
//! have asked it is answered at once, and one small read a second finds out when it is back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hub_core::limits::DATABASE_PROBE_EVERY;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::store::{Store, StoreError};

/// What a node knows of its database. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    /// Since when it has not answered.
    away: Arc<watch::Sender<Option<Instant>>>,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            away: Arc::new(watch::Sender::new(None)),
        }
    }
}

impl Database {
    /// Whether the last call that says anything about it failed.
    pub(crate) fn is_away(&self) -> bool {
        self.away.borrow().is_some()
    }

    /// For how long it has been away; zero while it is there.
    pub(crate) fn away_for(&self, now: Instant) -> Duration {
        let since = *self.away.borrow();
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Tells when it goes and when it comes back.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Instant>> {
        self.away.subscribe()
    }

    /// Waits until it is away.
    pub(crate) async fn gone(&self) {
        if self.watch().wait_for(Option::is_some).await.is_err() {
            std::future::pending().await
        }
    }

    /// Notes what a call says about it: one that could not be answered says that it is away, one that was answered that it is
    /// there, and one that found no free connection says nothing.
    pub(crate) fn note<T>(&self, outcome: &Result<T, StoreError>) {
        match outcome {
            Err(error @ StoreError::Unavailable(_)) => self.went(error),
            Err(StoreError::Busy(_)) => {}
            Ok(_)
            | Err(
                StoreError::NotFound { .. }
                | StoreError::Conflict { .. }
                | StoreError::Damaged { .. }
                | StoreError::Failed(_),
            ) => self.came_back(),
        }
    }

    fn went(&self, error: &StoreError) {
        let news = self.away.send_if_modified(|away| {
            let news = away.is_none();
            away.get_or_insert_with(Instant::now);
            news
        });
        if news {
            warn!(
                error = error as &dyn std::error::Error,
                "the database is away; devices stay connected"
            );
        }
    }

    fn came_back(&self) {
        if self.is_away() && self.away.send_replace(None).is_some() {
            info!("the database is back");
        }
    }

    /// While the database is away, asks it every [`DATABASE_PROBE_EVERY`], until the task is dropped.
    pub(crate) async fn probe(self, store: Arc<dyn Store>) {
        let mut away = self.watch();
        loop {
            if away.wait_for(Option::is_some).await.is_err() {
                return;
            }
            tokio::time::sleep(DATABASE_PROBE_EVERY).await;
            self.note(&store.mark().await);
        }
    }
}
