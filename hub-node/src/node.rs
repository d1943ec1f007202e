//! The composition root: the one place that knows every part of a node, in the order they start and stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use hub_core::limits::{HANDSHAKES_MAX, STOP_MAX, SWEEP_EVERY};
use hub_proto::id::Epoch;
use ractor::{Actor, ActorRef};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::actors::groups::{self, Groups};
use crate::actors::sockets::SocketSupervisors;
use crate::admin::{self, Phase, Probes};
use crate::api::{self, ApiLimits, ApiState};
use crate::blobs::Blobs;
use crate::bus::Bus;
use crate::bus::local::LocalBus;
use crate::bus::redis::{RedisBus, RedisSettings};
use crate::config::Config;
use crate::context::{Context, wall_clock};
use crate::database::Database;
use crate::drain::{self, Pace};
use crate::edge::download::{DownloadService, StoredFirmware};
use crate::edge::head::HeadPolicy;
use crate::edge::listener::{Edge, Front, Gate};
use crate::edge::proxy::ProxySources;
use crate::edge::signed_url::{LinkSigner, SigningSecret};
use crate::edge::tls::{DeviceTls, ServerFiles};
use crate::hints::Dispatch;
use crate::identity::verdicts::Verdicts;
use crate::identity::verifier::DeviceVerifier;
use crate::membership::{Membership, follow_notices};
use crate::peers::{self, Peers};
use crate::routing::{Sockets, sweep_forever};
use crate::secret::ClusterSecret;
use crate::store::bounded::Bounded;
use crate::store::cluster::{ClusterStore as _, NodeRun};
use crate::store::{self, Store};
use crate::writes::Writes;

/// How often group channels look at their deadlines.
const GROUP_TICK: Duration = Duration::from_secs(1);

/// A running node.
pub struct Node {
    device_addr: SocketAddr,
    api_addr: SocketAddr,
    sockets: Arc<Sockets>,
    supervisors: Arc<SocketSupervisors>,
    groups: ActorRef<groups::Message>,
    /// Ends listeners.
    stop: CancellationToken,
    /// Tasks that end by themselves once `stop` is cancelled.
    listeners: JoinSet<()>,
    /// Tasks that run until the very end.
    background: JoinSet<()>,
    writes: JoinHandle<()>,
    admin_addr: SocketAddr,
    proxy_addr: Option<SocketAddr>,
    /// Ends the acceptance of devices.
    accepting: CancellationToken,
    phase: watch::Sender<Phase>,
    drain_asked: Arc<Notify>,
    pace: Pace,
    /// Cancelled when another run took this node's name.
    replaced: CancellationToken,
    store: Arc<dyn Store>,
    run: NodeRun,
}

impl Node {
    /// Starts a node with one database and no peers. When this returns, both ports accept.
    ///
    /// # Errors
    /// What could not be opened, read or bound.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let peer_listener = match config.peer_listen {
            Some(addr) => Some(bind(addr, "peer_listen").await?),
            None => None,
        };
        let run = this_run(config, peer_listener.as_ref())?;
        let database = Database::default();
        let store = open_store(config, &run, &database).await?;
        let firmware_dir = config.firmware_dir.as_ref().unwrap_or(&config.state_dir);
        let blobs = Blobs::open_dir(firmware_dir).context("cannot open the firmware directory")?;
        let secret = config
            .cluster_key
            .as_deref()
            .map(ClusterSecret::load)
            .transpose()?;
        let front = proxy_sources(config)?;
        let device_listener = bind(config.device_listen, "device_listen").await?;
        let api_listener = bind(config.api_listen, "api_listen").await?;
        let proxy_listener = match config.proxy_listen {
            Some(addr) => Some(bind(addr, "proxy_listen").await?),
            None => None,
        };
        let admin_listener = bind(config.admin_listen, "admin_listen").await?;
        let admin_addr = admin_listener.local_addr()?;
        let proxy_addr = proxy_listener
            .as_ref()
            .map(TcpListener::local_addr)
            .transpose()?;
        let (device_addr, api_addr) = (device_listener.local_addr()?, api_listener.local_addr()?);
        let runtime = tokio::runtime::Handle::current();
        let verdicts = Verdicts::new(store.clone(), database.clone(), runtime);
        let files = ServerFiles {
            chain: config.device_certificate.clone(),
            key: config.device_key.clone(),
        };
        let tls = Arc::new(DeviceTls::build(
            files,
            DeviceVerifier::new(verdicts.clone()),
            secret.clone().unwrap_or_else(ClusterSecret::random),
        )?);

        let sockets = Arc::new(Sockets::new(Instant::now()));
        let (groups, _) = Actor::spawn(None, Groups, (store.clone(), sockets.clone())).await?;
        let dispatch = Dispatch {
            epoch: store.epoch(),
            sockets: sockets.clone(),
            groups: groups.clone(),
            verdicts: verdicts.clone(),
            tls: tls.clone(),
        };
        let (writes, writes_task) = Writes::start(store.clone(), database.clone());
        let replaced = CancellationToken::new();
        let membership = Membership::new(
            run.clone(),
            store.clone(),
            sockets.clone(),
            writes.clone(),
            replaced.clone(),
        );
        let others = membership.others();
        let bus = start_bus(config, &run, store.epoch(), others.clone())?;
        let mut background = start_background(dispatch, &store, &*bus, &database).await?;
        background.spawn(database.clone().probe(store.clone()));
        background.spawn(membership.keep(writes.leaked()));
        background.spawn(follow_notices(run.clone(), store.clone(), sockets.clone()));
        let supervisors = SocketSupervisors::start().await?;
        let context = Context::new(
            config.node_name.as_str().into(),
            store.clone(),
            verdicts.clone(),
            bus.clone(),
            writes,
            sockets.clone(),
            groups.clone(),
            links(config, device_addr, secret.as_ref())?,
        );
        let edge = edge(
            config,
            context,
            &blobs,
            tls.config(),
            verdicts,
            &supervisors,
        );
        let pace = Pace {
            grace: Duration::from_secs(config.lb_grace_s.into()),
            window: Duration::from_secs(config.drain_window_s.into()),
        };
        let (accepting, stop) = (CancellationToken::new(), CancellationToken::new());
        let mut listeners = JoinSet::new();
        let accept = |listener, front| {
            edge.clone()
                .run(listener, front, accepting.clone(), stop.clone())
        };
        listeners.spawn(accept(device_listener, Front::Direct));
        if let Some(listener) = proxy_listener {
            listeners.spawn(accept(listener, Front::Proxy(Arc::new(front))));
        }
        let mut isolated = watch::channel(false).1;
        if let Some(listener) = peer_listener {
            peers::answer(
                &mut listeners,
                listener,
                config,
                database.clone(),
                stop.clone(),
            )?;
            let peers = Peers::new(config, others, database.clone())?;
            isolated = peers.isolated();
            background.spawn(peers.ask_on());
            background.spawn(drain::while_isolated(
                sockets.clone(),
                isolated.clone(),
                pace.window,
            ));
        }
        let phase = watch::Sender::new(Phase::Ready);
        let drain_asked = Arc::new(Notify::new());
        let probes = Probes {
            node: run.name.clone(),
            phase: phase.subscribe(),
            isolated,
            database: database.clone(),
            bus: bus.state(),
            sockets: sockets.clone(),
            drain: drain_asked.clone(),
        };
        background.spawn(admin::serve(admin_listener, probes, stop.clone()));
        let router = operators_api(config, store.clone(), bus, blobs);
        let api_tls = config.api_certificate.clone().zip(config.api_key.clone());
        api::serve::start(&mut listeners, api_listener, router, api_tls, stop.clone())?;
        info!(node = config.node_name, device = %device_addr, api = %api_addr, admin = %admin_addr, "ready");
        Ok(Self {
            device_addr,
            api_addr,
            sockets,
            supervisors,
            groups,
            stop,
            listeners,
            background,
            admin_addr,
            proxy_addr,
            accepting,
            phase,
            drain_asked,
            pace,
            writes: writes_task,
            replaced,
            store,
            run,
        })
    }

    /// Where devices connect, with the port that was bound.
    pub fn device_addr(&self) -> SocketAddr {
        self.device_addr
    }

    /// Where the API listens, with the port that was bound.
    pub fn api_addr(&self) -> SocketAddr {
        self.api_addr
    }

    /// Where the probes are answered, with the port that was bound.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Where load balancers connect, with the port that was bound.
    pub fn proxy_addr(&self) -> Option<SocketAddr> {
        self.proxy_addr
    }

    /// Device sockets held right now.
    pub fn sockets(&self) -> u64 {
        self.sockets.len()
    }

    /// Waits until another run takes this node's name, which is the end of this one. Never, usually.
    pub async fn replaced(&self) {
        self.replaced.cancelled().await;
    }

    /// Waits until somebody asks for a drain on the port of the probes.
    pub async fn drain_asked(&self) {
        self.drain_asked.notified().await;
    }

    /// Sends the devices away at the configured pace: not ready from now on, accepting for `lb_grace_s` more, then one device after
    /// the other over `drain_window_s`. Returns when they are gone; dropped before, it leaves the rest to
    /// [`Node::stop`]. Calls go on being served.
    pub async fn drain(&self) {
        self.phase.send_replace(Phase::Draining(Instant::now()));
        drain::paced(&self.sockets, self.pace, &self.accepting).await;
    }

    /// Stops gracefully: accepts nothing more, tells every device when to come back, closes their sockets, and
    /// returns when what they wrote is committed. Takes little more than `STOP_MAX`.
    pub async fn stop(mut self) {
        self.stop.cancel();
        info!(sockets = self.sockets.len(), "stopping");
        drain::at_once(&self.sockets).await;
        self.supervisors.stop();
        let _ = tokio::time::timeout(STOP_MAX, async {
            while self.listeners.join_next().await.is_some() {}
        })
        .await;
        self.listeners.shutdown().await;
        self.background.shutdown().await;
        let _ = self.groups.stop_and_wait(None, Some(STOP_MAX)).await;
        // Whoever could still write is gone; the queue ends after what is in it.
        if tokio::time::timeout(STOP_MAX, self.writes).await.is_err() {
            warn!("writes were still queued when the node ended");
        }
        if let Err(error) = self.store.release_lease(&self.run).await {
            warn!(%error, "could not give the lease up; the other nodes will notice");
        }
        info!("stopped");
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
) -> anyhow::Result<Arc<dyn Store>> {
    let store = store::open(config)
        .await
        .context("cannot open the database")?;
    let store = Bounded::new(store, database.clone());
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
) -> anyhow::Result<Arc<dyn Bus>> {
    if config.redis_url.is_empty() {
        return Ok(Arc::new(LocalBus::default()));
    }
    let settings = RedisSettings {
        url: config.redis_url.clone(),
        ca: config.redis_ca.clone(),
        run: run.clone(),
        epoch,
    };
    Ok(Arc::new(RedisBus::start(settings, others)?))
}

/// Starts what hands hints to actors and what wakes them on time.
async fn start_background(
    dispatch: Dispatch,
    store: &Arc<dyn Store>,
    bus: &dyn Bus,
    database: &Database,
) -> anyhow::Result<JoinSet<()>> {
    let mut tasks = JoinSet::new();
    let mark = store.mark().await.context("cannot read the change log")?;
    if let Some(hints) = bus.subscribe() {
        tasks.spawn(dispatch.clone().follow(hints));
    }
    tasks.spawn(sweep_forever(dispatch.sockets.clone(), SWEEP_EVERY));
    tasks.spawn(tick_groups(dispatch.groups.clone()));
    tasks.spawn(dispatch.poll(store.clone(), mark, bus.state(), database.clone()));
    Ok(tasks)
}

fn edge(
    config: &Config,
    context: Context,
    blobs: &Blobs,
    tls: Arc<ServerConfig>,
    verdicts: Arc<Verdicts>,
    supervisors: &Arc<SocketSupervisors>,
) -> Arc<Edge> {
    let index = Arc::new(StoredFirmware(context.store.clone()));
    let downloads = DownloadService::new(context.links.clone(), index, blobs.clone());
    Arc::new(Edge {
        tls,
        policy: HeadPolicy {
            origins: config.device_origins.clone(),
            ..HeadPolicy::default()
        },
        verdicts,
        supervisors: supervisors.clone(),
        downloads: Arc::new(downloads),
        context: Arc::new(context),
        handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
        admission: Gate::new(config.handshakes_per_second),
    })
}

fn operators_api(
    config: &Config,
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    blobs: Blobs,
) -> Router {
    let limits = ApiLimits {
        firmware_bytes_max: config.firmware_bytes_max,
        ..ApiLimits::default()
    };
    api::router(ApiState::new(
        store,
        bus,
        blobs,
        Arc::new(wall_clock),
        limits,
    ))
}

fn proxy_sources(config: &Config) -> anyhow::Result<ProxySources> {
    ProxySources::parse(&config.proxy_sources)
        .map_err(|text| anyhow::anyhow!("proxy_sources: {text:?} is no network"))
}

async fn bind(addr: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr)
        .await
        .with_context(|| format!("{key}: cannot listen on {addr}; is another hub running?"))
}

/// Download links are signed with a key of the cluster, so that any node serves them, or of this node alone.
fn links(
    config: &Config,
    device_addr: SocketAddr,
    secret: Option<&ClusterSecret>,
) -> anyhow::Result<LinkSigner> {
    let secret = match secret {
        Some(secret) => SigningSecret::from_bytes(secret.derive("hub download links 1")),
        None => SigningSecret::load_or_create(&config.state_dir.join("links.key"))
            .context("cannot load the key of download links")?,
    };
    let base = if config.device_url.is_empty() {
        format!("https://{device_addr}")
    } else {
        config.device_url.clone()
    };
    Ok(LinkSigner::new(secret, &base))
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
