//! The composition root: the one place that knows every part of a node, in the order they start and stop.

mod parts;
mod ports;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use axum::Router;
use hub_core::limits::{HANDSHAKES_MAX, READS_MAX, STOP_MAX};
use ractor::ActorRef;
use rustls::ServerConfig;
use tokio::sync::{Mutex, Notify, Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::actors::groups;
use crate::actors::sockets::SocketSupervisors;
use crate::admin::{self, Phase, ReloadAsked};
use crate::api::{self, ApiLimits, ApiState};
use crate::blobs::Blobs;
use crate::config::Config;
use crate::context::{Context, wall_clock};
use crate::drain;
use crate::edge::download::{DownloadService, StoredFirmware};
use crate::edge::head::HeadPolicy;
use crate::edge::listener::{Edge, Front, Gate};
use crate::edge::proxy::ProxySources;
use crate::edge::signed_url::{LinkSigner, SigningSecret};
use crate::reload::{Live, Reloaded, SetFilter};
use crate::renewal::Renewal;
use crate::routing::Sockets;
use crate::secret::ClusterSecret;
use crate::server_certificate::ServerFiles;
use crate::store::Store;
use crate::store::cluster::NodeRun;
use crate::telemetry::observed::Shown;
use crate::telemetry::{Telemetry, observed};
use parts::Parts;
use ports::{Addresses, Ports};

/// A running node.
pub struct Node {
    addresses: Addresses,
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
    /// Ends the acceptance of devices.
    accepting: CancellationToken,
    phase: watch::Sender<Phase>,
    drain_asked: Arc<Notify>,
    live: Live,
    reload_asked: Mutex<mpsc::Receiver<ReloadAsked>>,
    /// Cancelled when another run took this node's name.
    replaced: CancellationToken,
    store: Arc<dyn Store>,
    run: NodeRun,
}

impl Node {
    /// Starts a node, alone or among others. When this returns, all its ports accept.
    ///
    /// # Errors
    /// What could not be opened, read or bound.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        Self::start_with(config, &Telemetry::kept(&config.node_name)).await
    }

    /// The same, telling about itself with what the process has.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_with(config: &Config, telemetry: &Telemetry) -> anyhow::Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ports = Ports::bind(config).await?;
        let parts = Parts::start(config, &ports, telemetry.node()).await?;
        let mut background = parts.background().await?;
        let blobs = open_blobs(config)?;
        let supervisors = SocketSupervisors::start().await?;
        let edge = edge(
            config,
            &parts,
            &blobs,
            &supervisors,
            ports.device.local_addr()?,
        )?;
        let (accepting, stop) = (CancellationToken::new(), CancellationToken::new());
        let mut listeners = JoinSet::new();
        let addresses = ports.addresses()?;
        let accept = |listener, front| {
            let (edge, accepting, stop) = (edge.clone(), accepting.clone(), stop.clone());
            edge.run(listener, front, accepting, stop)
        };
        listeners.spawn(accept(ports.device, Front::Direct));
        if let Some(listener) = ports.proxy {
            let sources = Arc::new(proxy_sources(config)?);
            listeners.spawn(accept(listener, Front::Proxy(sources)));
        }
        let isolated = match ports.peers {
            Some(listener) => {
                parts.answer_peers(config, listener, &mut listeners, stop.clone())?;
                parts.ask_peers(config, &mut background)?
            }
            None => watch::channel(false).1,
        };
        let drain_asked = Arc::new(Notify::new());
        let (reload, reload_asked) = mpsc::channel(1);
        let probes = parts.probes(isolated.clone(), drain_asked.clone(), reload);
        background.spawn(parts.rebalance(config, isolated).go_on());
        observed::node(&parts.telemetry.meter, &probes);
        let scrape = parts.telemetry.scrape.clone();
        background.spawn(admin::serve(ports.admin, probes, scrape, stop.clone()));
        let router = operators_api(config, &parts, blobs);
        let api_tls = api_tls(config, &parts.renewal)?;
        api::serve::start(&mut listeners, ports.api, router, api_tls, stop.clone())?;
        let Addresses {
            device, api, admin, ..
        } = addresses;
        info!(node = config.node_name, %device, %api, %admin, "ready");
        let live = parts.live(config, edge);
        Ok(Self {
            addresses,
            sockets: parts.sockets,
            supervisors,
            groups: parts.groups,
            stop,
            listeners,
            background,
            accepting,
            phase: parts.phase,
            drain_asked,
            live,
            reload_asked: Mutex::new(reload_asked),
            writes: parts.writes_task,
            replaced: parts.replaced,
            store: parts.store,
            run: parts.run,
        })
    }

    /// Where devices connect, with the port that was bound.
    pub fn device_addr(&self) -> SocketAddr {
        self.addresses.device
    }

    /// Where the API listens, with the port that was bound.
    pub fn api_addr(&self) -> SocketAddr {
        self.addresses.api
    }

    /// Where the probes are answered, with the port that was bound.
    pub fn admin_addr(&self) -> SocketAddr {
        self.addresses.admin
    }

    /// Where load balancers connect, with the port that was bound.
    pub fn proxy_addr(&self) -> Option<SocketAddr> {
        self.addresses.proxy
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
        drain::paced(&self.sockets, self.live.pace(), &self.accepting).await;
    }

    /// Waits until somebody asks for a reload on the port of the probes, and wants to hear what became of it.
    pub(crate) async fn reload_asked(&self) -> ReloadAsked {
        match self.reload_asked.lock().await.recv().await {
            Some(asked) => asked,
            // the port of the probes is closed
            None => std::future::pending().await,
        }
    }

    /// Takes what can be taken of a configuration that was checked, and certificates whose files are new. No socket notices.
    pub(crate) fn reload(&self, config: Config, set_filter: &SetFilter) -> Reloaded {
        self.live.take(config, set_filter)
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
        drop(self.live);
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

fn open_blobs(config: &Config) -> anyhow::Result<Blobs> {
    let dir = config.firmware_dir.as_ref().unwrap_or(&config.state_dir);
    Blobs::open_dir(dir).context("cannot open the firmware directory")
}

fn edge(
    config: &Config,
    parts: &Parts,
    blobs: &Blobs,
    supervisors: &Arc<SocketSupervisors>,
    device_addr: SocketAddr,
) -> anyhow::Result<Arc<Edge>> {
    let context = Context {
        node: parts.run.name.clone(),
        store: parts.store.clone(),
        verdicts: parts.verdicts.clone(),
        bus: parts.bus.clone(),
        writes: parts.writes.clone(),
        reads: Semaphore::new(READS_MAX),
        sockets: parts.sockets.clone(),
        groups: parts.groups.clone(),
        links: links(config, device_addr, parts.secret.as_ref())?,
        metrics: parts.telemetry.metrics.clone(),
        traces: parts.telemetry.traces.clone(),
    };
    let index = Arc::new(StoredFirmware(parts.store.clone()));
    let downloads = DownloadService::new(context.links.clone(), index, blobs.clone());
    Ok(Arc::new(Edge {
        tls: parts.tls.config(),
        policy: HeadPolicy {
            origins: config.device_origins.clone(),
            ..HeadPolicy::default()
        },
        verdicts: parts.verdicts.clone(),
        supervisors: supervisors.clone(),
        downloads: Arc::new(downloads),
        context: Arc::new(context),
        handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
        admission: Gate::new(config.handshakes_per_second),
    }))
}

fn operators_api(config: &Config, parts: &Parts, blobs: Blobs) -> Router {
    let limits = ApiLimits {
        firmware_bytes_max: config.firmware_bytes_max,
        ..ApiLimits::default()
    };
    api::router(ApiState::new(
        parts.store.clone(),
        parts.bus.clone(),
        blobs,
        Arc::new(wall_clock),
        limits,
        parts.telemetry.metrics.clone(),
    ))
}

/// TLS of the API, if it has a certificate.
fn api_tls(config: &Config, renewal: &Renewal) -> anyhow::Result<Option<ServerConfig>> {
    let Some((chain, key)) = config.api_certificate.clone().zip(config.api_key.clone()) else {
        return Ok(None);
    };
    let (certificate, config) = api::serve::tls(ServerFiles { chain, key })?;
    renewal.watch(Shown::Api, certificate);
    Ok(Some(config))
}

fn proxy_sources(config: &Config) -> anyhow::Result<ProxySources> {
    ProxySources::parse(&config.proxy_sources)
        .map_err(|text| anyhow::anyhow!("proxy_sources: {text:?} is no network"))
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
