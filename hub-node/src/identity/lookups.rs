//! Who holds a certificate, asked of the store for many handshakes at a time: while one read is under way, the next ones gather.

use std::collections::HashMap;
use std::sync::Arc;

use hub_core::limits::{LOOKUPS_MAX, LOOKUPS_QUEUED_MAX};
use tokio::sync::{mpsc, oneshot};

use crate::store::records::Identity;
use crate::store::{Store, StoreError, StoreResult};

/// A certificate's digest, and who waits for its holder.
type Asked = ([u8; 32], oneshot::Sender<StoreResult<Option<Identity>>>);

/// The queue in front of the store.
#[derive(Debug)]
pub(super) struct Lookups(mpsc::Sender<Asked>);

impl Lookups {
    /// Starts the task that reads; it ends with the queue.
    pub(super) fn start(store: Arc<dyn Store>) -> Self {
        let (queue, asked) = mpsc::channel(LOOKUPS_QUEUED_MAX);
        tokio::spawn(run(store, asked));
        Self(queue)
    }

    /// The device that a certificate is pinned to, if there is one.
    pub(super) async fn identity(&self, certificate: [u8; 32]) -> StoreResult<Option<Identity>> {
        let (answer, heard) = oneshot::channel();
        let gone = |()| StoreError::Unavailable("nobody looks certificates up any more".into());
        let asked = self.0.send((certificate, answer)).await;
        asked.map_err(|_| gone(()))?;
        heard.await.unwrap_or_else(|_| Err(gone(())))
    }
}

async fn run(store: Arc<dyn Store>, mut queue: mpsc::Receiver<Asked>) {
    let mut asked = Vec::new();
    while queue.recv_many(&mut asked, LOOKUPS_MAX).await > 0 {
        // Who has given up meanwhile is not worth a row.
        asked.retain(|(_, answer)| !answer.is_closed());
        let certificates = asked.iter().map(|(certificate, _)| *certificate).collect();
        let found = store.identities(certificates).await;
        let found = found.map(|identities| {
            let by_certificate = |identity: Identity| (identity.certificate, identity);
            identities
                .into_iter()
                .map(by_certificate)
                .collect::<HashMap<_, _>>()
        });
        for (certificate, answer) in asked.drain(..) {
            let told = match &found {
                Ok(found) => Ok(found.get(&certificate).cloned()),
                Err(error) => Err(StoreError::Unavailable(error.to_string().into())),
            };
            // Nobody waits any more: nobody is told.
            let _ = answer.send(told);
        }
    }
}
