//! What stands behind the ports: store, bus, verdicts, sockets and groups, and the tasks that keep them going.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hub_core::limits::SWEEP_EVERY;
use hub_proto::id::Epoch;
use ractor::{Actor, ActorRef};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::ports::Ports;
use crate::actors::groups::{self, Groups};
use crate::admin::{Phase, Probes, ReloadAsked};
use crate::bus::Bus;
use crate::bus::local::LocalBus;
use crate::bus::redis::{RedisBus, RedisSettings};
use crate::config::Config;
use crate::database::Database;
use crate::drain::{self, Pace};
use crate::edge::listener::Edge;
use crate::edge::tls::DeviceTls;
use crate::hints::Dispatch;
use crate::identity::revocations::Revocations;
use crate::identity::verdicts::Verdicts;
use crate::identity::verifier::DeviceVerifier;
use crate::membership::{Membership, follow_notices};
use crate::peers::{self, Peers};
use crate::rebalance::{self, Rebalance};
use crate::reload::Live;
use crate::renewal::Renewal;
use crate::routing::{Sockets, sweep_forever};
use crate::secret::ClusterSecret;
use crate::server_certificate::ServerFiles;
use crate::store::bounded::Bounded;
use crate::store::cluster::{ClusterStore as _, NodeRun};
use crate::store::{self, Store};
use crate::telemetry::NodeTelemetry;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::observed::Shown;
use crate::writes::Writes;

/// How often group channels look at their deadlines.
const GROUP_TICK: Duration = Duration::from_secs(1);

/// The inner parts of a node.
pub(super) struct Parts {
    pub(super) run: NodeRun,
    pub(super) telemetry: NodeTelemetry,
    pub(super) database: Database,
    pub(super) store: Arc<dyn Store>,
    pub(super) secret: Option<ClusterSecret>,
    pub(super) verdicts: Arc<Verdicts>,
    pub(super) tls: Arc<DeviceTls>,
    pub(super) renewal: Arc<Renewal>,
    pub(super) revocations: Arc<Revocations>,
    pub(super) sockets: Arc<Sockets>,
    pub(super) groups: ActorRef<groups::Message>,
    pub(super) writes: Writes,
    pub(super) writes_task: JoinHandle<()>,
    pub(super) bus: Arc<dyn Bus>,
    /// Cancelled when another run takes this node's name.
    pub(super) replaced: CancellationToken,
    /// The other nodes that hold a lease.
    others: watch::Receiver<Arc<[NodeRun]>>,
    /// What the node is doing.
    pub(super) phase: watch::Sender<Phase>,
    /// Not running yet.
    membership: Membership,
}

impl Parts {
    /// Opens the store, enters the node in it, and makes everything else around it.
    pub(super) async fn start(
        config: &Config,
        ports: &Ports,
        telemetry: NodeTelemetry,
    ) -> anyhow::Result<Self> {
        let run = this_run(config, ports.peers.as_ref())?;
        let database = Database::default();
        let metrics = telemetry.metrics.clone();
        let store = open_store(config, &run, &database, metrics.clone()).await?;
        let secret = config.cluster_key.as_deref().map(ClusterSecret::load);
        let secret = secret.transpose()?;
        let revocations = Arc::new(Revocations::load(config.device_crls.clone())?);
        let verdicts = Verdicts::new(store.clone(), database.clone(), revocations.clone());
        let files = ServerFiles {
            chain: config.device_certificate.clone(),
            key: config.device_key.clone(),
        };
        let tls = Arc::new(DeviceTls::build(
            files,
            Arc::new(DeviceVerifier),
            secret.clone().unwrap_or_else(ClusterSecret::random),
        )?);
        let renewal = Arc::new(Renewal::new(telemetry.clone()));
        renewal.watch(Shown::Device, tls.certificate());
        let sockets = Arc::new(Sockets::new(Instant::now()));
        let (groups, _) = Actor::spawn(None, Groups, (store.clone(), sockets.clone())).await?;
        let (writes, writes_task) = Writes::start(store.clone(), database.clone(), metrics);
        let replaced = CancellationToken::new();
        let phase = watch::Sender::new(Phase::Ready);
        let membership = Membership::new(
            run.clone(),
            store.clone(),
            sockets.clone(),
            writes.clone(),
            replaced.clone(),
            phase.subscribe(),
        );
        let others = membership.others();
        Ok(Self {
            bus: start_bus(config, &run, store.epoch(), others.clone(), &telemetry)?,
            run,
            telemetry,
            database,
            store,
            secret,
            verdicts,
            renewal,
            revocations,
            tls,
            sockets,
            groups,
            writes,
            writes_task,
            replaced,
            others,
            phase,
            membership,
        })
    }

    /// Starts what hands hints to actors, what wakes them on time, and what keeps this node among the others.
    pub(super) async fn background(&self) -> anyhow::Result<JoinSet<()>> {
        let mut tasks = JoinSet::new();
        let dispatch = Dispatch {
            epoch: self.store.epoch(),
            sockets: self.sockets.clone(),
            groups: self.groups.clone(),
            verdicts: self.verdicts.clone(),
            tls: self.tls.clone(),
            metrics: self.telemetry.metrics.clone(),
            traces: self.telemetry.traces.clone(),
        };
        let store = || self.store.clone();
        let mark = store().mark().await.context("cannot read the change log")?;
        if let Some(inbound) = self.bus.subscribe() {
            tasks.spawn(dispatch.clone().follow(inbound));
        }
        tasks.spawn(sweep_forever(self.sockets.clone(), SWEEP_EVERY));
        tasks.spawn(self.renewal.clone().look_on());
        let (sockets, metrics) = (self.sockets.clone(), self.telemetry.metrics.clone());
        tasks.spawn(self.revocations.clone().look_on(sockets, metrics));
        tasks.spawn(tick_groups(self.groups.clone()));
        tasks.spawn(dispatch.poll(store(), mark, self.bus.state(), self.database.clone()));
        tasks.spawn(self.database.clone().probe(store()));
        tasks.spawn(self.membership.clone().keep(self.writes.leaked()));
        tasks.spawn(follow_notices(
            self.run.clone(),
            store(),
            self.sockets.clone(),
        ));
        Ok(tasks)
    }

    /// Tells other nodes whether this one has the database.
    pub(super) fn answer_peers(
        &self,
        config: &Config,
        listener: TcpListener,
        tasks: &mut JoinSet<()>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let database = self.database.clone();
        peers::answer(tasks, listener, config, database, &self.renewal, stop)
    }

    /// Asks the other nodes while the database is away; whether this one is cut off.
    pub(super) fn ask_peers(
        &self,
        config: &Config,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<watch::Receiver<bool>> {
        let peers = Peers::new(config, self.others.clone(), self.database.clone())?;
        let isolated = peers.isolated();
        tasks.spawn(peers.ask_on());
        let window = Pace::of(config).window;
        tasks.spawn(drain::while_isolated(
            self.sockets.clone(),
            isolated.clone(),
            window,
        ));
        Ok(isolated)
    }

    /// What listens to changes while the node runs.
    pub(super) fn live(&self, config: &Config, edge: Arc<Edge>) -> Live {
        Live {
            config: Mutex::new(config.clone()),
            edge,
            renewal: self.renewal.clone(),
            revocations: self.revocations.clone(),
            sockets: self.sockets.clone(),
            metrics: self.telemetry.metrics.clone(),
        }
    }

    /// What sends devices elsewhere while this node holds more than its share.
    pub(super) fn rebalance(&self, config: &Config, isolated: watch::Receiver<bool>) -> Rebalance {
        Rebalance {
            continuous: config.rebalance.then(|| rebalance::rules(config)),
            census: self.membership.census(),
            phase: self.phase.subscribe(),
            isolated,
            sockets: self.sockets.clone(),
        }
    }

    /// What the probes look at.
    pub(super) fn probes(
        &self,
        isolated: watch::Receiver<bool>,
        drain: Arc<Notify>,
        reload: mpsc::Sender<ReloadAsked>,
    ) -> Probes {
        Probes {
            node: self.run.name.clone(),
            phase: self.phase.subscribe(),
            isolated,
            database: self.database.clone(),
            bus: self.bus.state(),
            sockets: self.sockets.clone(),
            others: self.others.clone(),
            drain,
            reload,
        }
    }
}

/// This start of the node.
fn this_run(config: &Config, peers: Option<&TcpListener>) -> anyhow::Result<NodeRun> {
    let peer_address = match peers {
        None => None,
        Some(_) if !config.peer_address.is_empty() => Some(config.peer_address.clone()),
        Some(listener) => Some(listener.local_addr()?.to_string()),
    };
    Ok(NodeRun {
        name: config.node_name.as_str().into(),
        run: rand::random(),
        peer_address: peer_address.map(Arc::from),
    })
}

async fn open_store(
    config: &Config,
    run: &NodeRun,
    database: &Database,
    metrics: Arc<Metrics>,
) -> anyhow::Result<Arc<dyn Store>> {
    let store = store::open(config)
        .await
        .context("cannot open the database")?;
    let system = if config.database_url.is_empty() {
        "sqlite"
    } else {
        "postgresql"
    };
    let store = Bounded::new(store, database.clone(), metrics, system);
    store
        .start_node(run)
        .await
        .context("cannot enter the node in the database")?;
    Ok(Arc::new(store))
}

/// The bus that the configuration names: Redis, or none but the process itself.
fn start_bus(
    config: &Config,
    run: &NodeRun,
    epoch: Epoch,
    others: watch::Receiver<Arc<[NodeRun]>>,
    telemetry: &NodeTelemetry,
) -> anyhow::Result<Arc<dyn Bus>> {
    let metrics = telemetry.metrics.clone();
    if config.redis_url.is_empty() {
        return Ok(Arc::new(LocalBus::new(metrics)));
    }
    let settings = RedisSettings {
        url: config.redis_url.clone(),
        ca: config.redis_ca.clone(),
        run: run.clone(),
        epoch,
    };
    Ok(Arc::new(RedisBus::start(settings, others, metrics)?))
}

async fn tick_groups(groups: ActorRef<groups::Message>) {
    let mut ticks = tokio::time::interval(GROUP_TICK);
    loop {
        ticks.tick().await;
        if groups.cast(groups::Message::Tick).is_err() {
            return;
        }
    }
}
