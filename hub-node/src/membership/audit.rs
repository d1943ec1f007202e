//! Compares what the database says is connected here with the sockets that are here. A write that gives a connection up may be
//! lost while the database is away; this finds what it left.

use std::sync::Arc;

use hub_core::limits::LEASE_DEVICES_MAX;
use hub_proto::id::DeviceId;
use tracing::debug;

use crate::context::wall_clock;
use crate::routing::Sockets;
use crate::store::Store;
use crate::store::cluster::NodeRun;
use crate::store::delivery::DeviceWrite;
use crate::writes::Writes;

/// The comparison, a page at a time.
#[derive(Clone)]
pub(super) struct Audit {
    run: NodeRun,
    store: Arc<dyn Store>,
    sockets: Arc<Sockets>,
    writes: Writes,
    /// Devices up to this one are compared.
    done: DeviceId,
    /// A whole round is owed: something may have been left.
    owed: bool,
}

impl Audit {
    pub(super) fn new(
        run: NodeRun,
        store: Arc<dyn Store>,
        sockets: Arc<Sockets>,
        writes: Writes,
    ) -> Self {
        Self {
            run,
            store,
            sockets,
            writes,
            done: DeviceId(0),
            owed: false,
        }
    }

    /// Compares everything; what the database does not tell now is compared with the next page.
    pub(super) async fn whole(&mut self) {
        self.done = DeviceId(0);
        self.owed = true;
        self.page().await;
    }

    /// Compares the next page, or all of them when a round is owed.
    pub(super) async fn page(&mut self) {
        loop {
            let held = match self.store.held(&self.run, self.done).await {
                Ok(held) => held,
                Err(error) => return debug!(%error, "could not read what is connected here"),
            };
            for &(device, generation) in &held {
                // A join on its way here has its socket already; one that ends before it hears gives itself up.
                if !self.sockets.knows(device) {
                    self.writes.submit_unanswered(DeviceWrite::Detach {
                        device,
                        generation,
                        at: wall_clock(),
                    });
                }
            }
            let last = held.last().map(|(device, _)| *device);
            let full = held.len() >= LEASE_DEVICES_MAX;
            self.done = last.filter(|_| full).unwrap_or(DeviceId(0));
            self.owed &= full;
            if !self.owed {
                return;
            }
        }
    }
}
