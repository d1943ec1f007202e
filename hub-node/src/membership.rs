//! This node among the others: keeps its lease, claims its sockets again after it was away, marks devices of nodes that are
//! gone, and acts on what other nodes left word of. What to do when is [`hub_core::lease`]'s to decide.

mod audit;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use hub_core::lease::{Effect, Event, Lease};
use hub_core::limits::{LEASE_DEVICES_MAX, NOTICES_EVERY};
use hub_core::rebalance::Rules;
use hub_proto::id::ConnGen;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::admin::Phase;
use crate::routing::Sockets;
use crate::store::cluster::{NodeLoad, NodeRun, Renewal};
use crate::store::{Store, StoreResult};
use crate::writes::Writes;
use audit::Audit;

/// What nodes held, as of a renewal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census {
    /// The others that hold a lease.
    pub(crate) others: Vec<NodeLoad>,
    /// What operators want nodes levelled by, for now.
    pub(crate) ordered: Option<Rules>,
}

/// What the membership's task works with.
#[derive(Clone)]
pub(crate) struct Membership {
    run: NodeRun,
    store: Arc<dyn Store>,
    sockets: Arc<Sockets>,
    audit: Audit,
    others: Arc<watch::Sender<Arc<[NodeRun]>>>,
    census: Arc<watch::Sender<Census>>,
    phase: watch::Receiver<Phase>,
    replaced: CancellationToken,
    /// A claim that failed half-way is owed.
    reclaim_owed: bool,
}

impl Membership {
    /// The membership of a node that [`start_node`](crate::store::cluster::ClusterStore::start_node) has entered. `replaced`
    /// is cancelled when another run takes the name.
    pub(crate) fn new(
        run: NodeRun,
        store: Arc<dyn Store>,
        sockets: Arc<Sockets>,
        writes: Writes,
        replaced: CancellationToken,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self {
            audit: Audit::new(run.clone(), store.clone(), sockets.clone(), writes),
            run,
            store,
            sockets,
            others: Arc::new(watch::Sender::new(Arc::from([]))),
            census: Arc::default(),
            phase,
            replaced,
            reclaim_owed: false,
        }
    }

    /// The other nodes that held a lease when this one last renewed its own.
    pub(crate) fn others(&self) -> watch::Receiver<Arc<[NodeRun]>> {
        self.others.subscribe()
    }

    /// What all nodes held when this one last renewed its lease.
    pub(crate) fn census(&self) -> watch::Receiver<Census> {
        self.census.subscribe()
    }

    /// Keeps the lease until the task is dropped or the node is replaced. `leaked` says that a write was lost that would have given
    /// a connection up.
    pub(crate) async fn keep(mut self, leaked: Arc<Notify>) {
        let mut lease = Lease::new(Instant::now());
        let mut effects = Vec::new();
        let mut events = VecDeque::new();
        loop {
            while let Some(event) = events.pop_front() {
                lease.step(event, Instant::now(), &mut effects);
                for effect in effects.drain(..) {
                    events.extend(self.perform(effect).await);
                }
            }
            let Some(deadline) = lease.deadline() else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep_until(deadline.into()) => events.push_back(Event::Deadline),
                () = leaked.notified() => events.push_back(Event::Leaked),
            }
        }
    }

    async fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Renew => Some(self.renew().await),
            Effect::Enter => Some(match self.store.enter_node(&self.run).await {
                Ok(true) => Event::Entered,
                Ok(false) => Event::Replaced,
                Err(_) => Event::Failed,
            }),
            Effect::Reclaim => {
                self.reclaim_owed = self.reclaim().await.is_err();
                None
            }
            Effect::Audit => {
                self.audit.whole().await;
                None
            }
            Effect::Reap => {
                self.reap().await;
                None
            }
            Effect::Stop => {
                error!(node = %self.run.name, "another node runs under this name; stopping. Give each node a node_name of its own");
                self.replaced.cancel();
                None
            }
        }
    }

    async fn renew(&mut self) -> Event {
        let load = NodeLoad {
            sockets: self.sockets.len(),
            ready: *self.phase.borrow() == Phase::Ready,
        };
        match self.store.renew_lease(&self.run, load).await {
            Ok(Renewal::Held {
                lapsed,
                others,
                ordered,
            }) => {
                let (others, loads): (Vec<_>, Vec<_>) = others.into_iter().unzip();
                self.census.send_replace(Census {
                    others: loads,
                    ordered,
                });
                self.others.send_if_modified(|known| {
                    let changed = **known != *others;
                    if changed {
                        *known = others.into();
                    }
                    changed
                });
                self.audit.page().await;
                Event::Renewed {
                    lapsed: lapsed || self.reclaim_owed,
                }
            }
            Ok(Renewal::Gone) => Event::Buried,
            Ok(Renewal::Replaced) => Event::Replaced,
            Err(error) => {
                debug!(%error, "could not renew this node's lease");
                Event::Failed
            }
        }
    }

    async fn reclaim(&self) -> StoreResult<()> {
        let joined = self.sockets.joined();
        info!(
            sockets = joined.len(),
            "this node was away; claiming its sockets again"
        );
        for held in joined.chunks(LEASE_DEVICES_MAX) {
            let lost =
                self.store.reclaim(&self.run, held).await.inspect_err(
                    |error| warn!(%error, "could not claim this node's sockets again"),
                )?;
            let is_lost = |device| lost.binary_search(&device).is_ok();
            for &(device, generation) in held.iter().filter(|(device, _)| is_lost(*device)) {
                self.sockets
                    .notice(device, ConnGen(generation.0.saturating_add(1)));
            }
        }
        Ok(())
    }

    async fn reap(&self) {
        loop {
            match self.store.reap(&self.run).await {
                Ok(reaped) => {
                    if reaped.devices > 0 {
                        info!(
                            devices = reaped.devices,
                            "a node is gone; its devices are not connected"
                        );
                    }
                    if !reaped.more {
                        return;
                    }
                }
                Err(error) => return warn!(%error, "could not look for nodes that are gone"),
            }
        }
    }
}

/// Acts on notices of other nodes until the task is dropped. The bus says the same sooner, when it works.
pub(crate) async fn follow_notices(run: NodeRun, store: Arc<dyn Store>, sockets: Arc<Sockets>) {
    let mut ticks = tokio::time::interval(NOTICES_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(notices) = store.notices(&run).await else {
            continue;
        };
        if notices.is_empty() {
            continue;
        }
        for notice in &notices {
            sockets.notice(notice.device, notice.generation);
        }
        if let Err(error) = store.clear_notices(&run, &notices).await {
            warn!(%error, "could not clear notices; they are acted upon again");
        }
    }
}
