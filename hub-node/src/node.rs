//! The composition root: the one place that knows every part of a node, in the order they start and stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use hub_core::limits::{RECONNECT_SPREAD, STOP_MAX, SWEEP_EVERY};
use hub_proto::id::Epoch;
use ractor::{Actor, ActorRef};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::actors::device_socket;
use crate::actors::groups::{self, Groups};
use crate::actors::sockets::SocketSupervisors;
use crate::api::{self, ApiLimits, ApiState};
use crate::blobs::Blobs;
use crate::bus::Bus;
use crate::bus::local::LocalBus;
use crate::bus::redis::{RedisBus, RedisSettings};
use crate::config::Config;
use crate::context::{Context, wall_clock};
use crate::database::Database;
use crate::edge::download::{DownloadService, StoredFirmware};
use crate::edge::head::HeadPolicy;
use crate::edge::listener::Edge;
use crate::edge::signed_url::{LinkSigner, SigningSecret};
use crate::edge::tls::{DeviceTls, ServerFiles};
use crate::hints::Dispatch;
use crate::identity::verdicts::Verdicts;
use crate::identity::verifier::DeviceVerifier;
use crate::membership::{Membership, follow_notices};
use crate::routing::{Sockets, sweep_forever};
use crate::store::bounded::Bounded;
use crate::store::cluster::{ClusterStore as _, NodeRun};
use crate::store::{self, Store};
use crate::writes::Writes;

/// How often group channels look at their deadlines.
const GROUP_TICK: Duration = Duration::from_secs(1);
/// How often a stopping node tells its sockets.
const GOODBYE_EVERY: Duration = Duration::from_millis(500);
/// How often a stopping node looks whether its sockets are gone.
const STOP_LOOK: Duration = Duration::from_millis(20);

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
        let run = this_run(config);
        let database = Database::default();
        let store = open_store(config, &run, &database).await?;
        let blobs =
            Blobs::open_dir(&config.state_dir).context("cannot open the firmware directory")?;
        let device_listener = bind(config.device_listen, "device_listen").await?;
        let api_listener = bind(config.api_listen, "api_listen").await?;
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
        let bus = start_bus(config, &run, store.epoch(), membership.others())?;
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
            links(config, device_addr)?,
        );
        let edge = edge(
            config,
            context,
            &blobs,
            tls.config(),
            verdicts,
            &supervisors,
        );
        let stop = CancellationToken::new();
        let mut listeners = JoinSet::new();
        listeners.spawn(edge.run(device_listener, stop.clone()));
        let router = operators_api(config, store.clone(), bus, blobs);
        let api_tls = config.api_certificate.clone().zip(config.api_key.clone());
        api::serve::start(&mut listeners, api_listener, router, api_tls, stop.clone())?;
        info!(node = config.node_name, device = %device_addr, api = %api_addr, "ready");
        Ok(Self {
            device_addr,
            api_addr,
            sockets,
            supervisors,
            groups,
            stop,
            listeners,
            background,
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

    /// Device sockets held right now.
    pub fn sockets(&self) -> u64 {
        self.sockets.len()
    }

    /// Waits until another run takes this node's name, which is the end of this one. Never, usually.
    pub async fn replaced(&self) {
        self.replaced.cancelled().await;
    }

    /// Stops gracefully: accepts nothing more, tells every device when to come back, closes their sockets, and
    /// returns when what they wrote is committed. Takes little more than `STOP_MAX`.
    pub async fn stop(mut self) {
        self.stop.cancel();
        info!(sockets = self.sockets.len(), "stopping");
        let deadline = Instant::now() + STOP_MAX;
        while self.sockets.len() > 0 && Instant::now() < deadline {
            // Said again, for a socket may have come while the others were told; who knows already ignores it.
            self.say_goodbye();
            let again = Instant::now() + GOODBYE_EVERY;
            while self.sockets.len() > 0 && Instant::now() < again {
                tokio::time::sleep(STOP_LOOK).await;
            }
        }
        if self.sockets.len() > 0 {
            warn!(
                sockets = self.sockets.len(),
                "some devices did not take their goodbye"
            );
        }
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

    fn say_goodbye(&self) {
        self.sockets.for_each(|socket| {
            let after = RECONNECT_SPREAD.mul_f64(rand::random());
            socket.tell(device_socket::Message::Drain { after });
        });
    }
}

/// This start of the node.
fn this_run(config: &Config) -> NodeRun {
    NodeRun {
        name: config.node_name.as_str().into(),
        run: rand::random(),
        peer_address: None,
    }
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

async fn bind(addr: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr)
        .await
        .with_context(|| format!("{key}: cannot listen on {addr}; is another hub running?"))
}

fn links(config: &Config, device_addr: SocketAddr) -> anyhow::Result<LinkSigner> {
    let secret = SigningSecret::load_or_create(&config.state_dir.join("links.key"))
        .context("cannot load the key of download links")?;
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
