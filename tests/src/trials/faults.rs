//! What can happen to a cluster, drawn from a seed.

use std::time::Duration;

use anyhow::Context as _;
use hub_servers::postgres::Stop;
use rand::rngs::StdRng;
use rand::{RngExt as _, seq::IndexedRandom as _};
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::netns::{Link, Namespaces, Way};
use crate::pki::Leaf;
use crate::raw_ws::RawWs;
use crate::tls::{TlsDialer, Version};
use crate::wait::PATIENCE;

/// Something that happens, and how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node is killed, and started again.
    KillNode(usize, Duration),
    /// A node is frozen.
    FreezeNode(usize, Duration),
    /// A node is asked to stop, and started again.
    StopNode(usize),
    /// Redis is killed.
    KillRedis(Duration),
    /// Redis is frozen.
    FreezeRedis(Duration),
    /// Redis forgets everything.
    FlushRedis,
    /// Nobody may listen on Redis.
    DenyRedis(Duration),
    /// Postgres is restarted; `true` as after a crash.
    RestartPostgres(bool),
    /// Postgres is frozen.
    FreezePostgres(Duration),
    /// The load balancer is killed: every device connects again at the same time.
    Storm,
    /// Packets of a node are lost on one of its links; nodes must be apart.
    Cut(usize, Kind, Way, Duration),
    /// Somebody with a copy of this device's key joins, takes what is sent to it, and says nothing.
    Clone(usize, Duration),
}

/// What is at the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The other nodes.
    Nodes,
    /// The bus.
    Redis,
    /// The database.
    Postgres,
    /// The load balancer, and with it all devices.
    Devices,
}

impl Fault {
    /// The next one.
    pub fn draw(random: &mut StdRng, nodes: usize, devices: usize) -> Self {
        let node = random.random_range(0..nodes);
        let mut lasts = |most_ms: u64| Duration::from_millis(random.random_range(200..=most_ms));
        let all = [
            Self::KillNode(node, lasts(3_000)),
            Self::FreezeNode(node, lasts(6_000)),
            Self::FreezeNode(node, lasts(18_000)),
            Self::StopNode(node),
            Self::KillRedis(lasts(4_000)),
            Self::FreezeRedis(lasts(5_000)),
            Self::FlushRedis,
            Self::DenyRedis(lasts(4_000)),
            Self::RestartPostgres(true),
            Self::RestartPostgres(false),
            Self::FreezePostgres(lasts(5_000)),
            Self::Storm,
            Self::Clone(0, lasts(3_000)),
        ];
        let device = random.random_range(0..devices);
        // Long freezes cost the most time: drawn as often as the rest, they would be most of a run.
        let drawn = all.choose(random).cloned().unwrap_or(Self::Storm);
        match drawn {
            Self::Clone(_, lasts) => Self::Clone(device, lasts),
            Self::FreezeNode(node, lasts) if lasts > Duration::from_secs(6) && random.random() => {
                Self::FreezeNode(node, Duration::from_secs(2))
            }
            other => other,
        }
    }

    /// The part of a cluster it happens to: two faults at a time never concern the same.
    #[must_use]
    pub fn part(&self) -> &'static str {
        match self {
            Self::KillNode(..) | Self::FreezeNode(..) | Self::StopNode(_) | Self::Cut(..) => "node",
            Self::KillRedis(_) | Self::FreezeRedis(_) | Self::FlushRedis | Self::DenyRedis(_) => {
                "redis"
            }
            Self::RestartPostgres(_) | Self::FreezePostgres(_) => "postgres",
            Self::Storm => "balancer",
            Self::Clone(..) => "device",
        }
    }

    /// A word for tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::KillNode(..) => "kill node",
            Self::FreezeNode(..) => "freeze node",
            Self::StopNode(_) => "stop node",
            Self::KillRedis(_) => "kill redis",
            Self::FreezeRedis(_) => "freeze redis",
            Self::FlushRedis => "flush redis",
            Self::DenyRedis(_) => "deny redis",
            Self::RestartPostgres(true) => "crash postgres",
            Self::RestartPostgres(false) => "restart postgres",
            Self::FreezePostgres(_) => "freeze postgres",
            Self::Storm => "reconnect storm",
            Self::Clone(..) => "clone",
            Self::Cut(_, Kind::Nodes, ..) => "cut from nodes",
            Self::Cut(_, Kind::Redis, ..) => "cut from redis",
            Self::Cut(_, Kind::Postgres, ..) => "cut from postgres",
            Self::Cut(_, Kind::Devices, ..) => "cut from devices",
        }
    }

    /// Makes it happen; returns what is left to be done once it has lasted.
    ///
    /// # Errors
    /// When a process does not do what it is told.
    pub async fn begin(&self, cluster: &mut Cluster, leaves: &[Leaf]) -> anyhow::Result<Heal> {
        let mut clone = None;
        match self {
            Self::KillNode(node, _) => cluster.nodes[*node].kill()?,
            Self::FreezeNode(node, _) => cluster.nodes[*node].program()?.freeze()?,
            Self::StopNode(node) => cluster.nodes[*node].stop().await?,
            Self::KillRedis(_) => cluster.redis.kill()?,
            Self::FreezeRedis(_) => cluster.redis.freeze()?,
            Self::FlushRedis => drop(cluster.redis.command(&["FLUSHALL"])?),
            Self::DenyRedis(_) => {
                cluster
                    .redis
                    .command(&["ACL", "SETUSER", "default", "-subscribe"])?;
                cluster
                    .redis
                    .command(&["CLIENT", "KILL", "TYPE", "pubsub"])?;
            }
            Self::RestartPostgres(crash) => {
                let how = if *crash { Stop::Immediate } else { Stop::Fast };
                cluster.postgres.stop(how).await?;
            }
            Self::FreezePostgres(_) => cluster.postgres.freeze()?,
            Self::Storm => cluster.balance_again().await?,
            Self::Cut(node, kind, way, _) => cut(cluster, *node, *kind, *way)?,
            Self::Clone(device, _) => {
                let leaf = leaves.get(*device).context("no such device")?;
                // it may not get in: a node in front of it may be the one that is down
                clone = self.clone_joins(cluster, leaf).await.ok();
            }
        }
        Ok(Heal {
            fault: self.clone(),
            _clone: clone,
        })
    }

    /// How long it lasts.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        match self {
            Self::KillNode(_, lasts)
            | Self::FreezeNode(_, lasts)
            | Self::KillRedis(lasts)
            | Self::FreezeRedis(lasts)
            | Self::DenyRedis(lasts)
            | Self::FreezePostgres(lasts)
            | Self::Cut(.., lasts)
            | Self::Clone(_, lasts) => *lasts,
            Self::StopNode(_) | Self::FlushRedis | Self::RestartPostgres(_) | Self::Storm => {
                Duration::from_millis(300)
            }
        }
    }

    async fn clone_joins(&self, cluster: &Cluster, leaf: &Leaf) -> anyhow::Result<RawWs> {
        let dialer = TlsDialer::new(cluster.server_root.der(), Some(leaf), Version::Tls13)?;
        let mut socket = RawWs::open(&dialer, cluster.front(0)).await?;
        let payload = serde_json::json!({ "capabilities": ["ack", "groups"] });
        socket.join("device", payload, PATIENCE).await?;
        Ok(socket)
    }
}

fn cut(cluster: &Cluster, node: usize, kind: Kind, way: Way) -> anyhow::Result<()> {
    let apart = cluster.apart.as_ref().context("nodes are not apart")?;
    let own = cluster.nodes[node].config();
    let links = match kind {
        Kind::Nodes => (0..cluster.nodes.len())
            .filter(|other| *other != node)
            .map(|other| Link::Node(Namespaces::address(other)))
            .collect(),
        Kind::Redis => vec![Link::Server(cluster.redis.port())],
        Kind::Postgres => vec![Link::Server(cluster.postgres.port())],
        Kind::Devices => {
            let proxy = own.proxy_listen.unwrap_or(own.device_listen);
            vec![Link::Own(proxy.port()), Link::Own(own.device_listen.port())]
        }
    };
    links
        .into_iter()
        .try_for_each(|link| apart.cut(node, link, way))
}

/// What is left to be done when a fault has lasted.
pub struct Heal {
    fault: Fault,
    _clone: Option<RawWs>,
}

impl Heal {
    /// Makes the part work again.
    ///
    /// # Errors
    /// When it does not.
    pub async fn heal(self, cluster: &mut Cluster) -> anyhow::Result<()> {
        match self.fault {
            Fault::KillNode(node, _) | Fault::StopNode(node) => cluster.launch(node)?,
            Fault::FreezeNode(node, _) => cluster.nodes[node].program()?.thaw()?,
            Fault::KillRedis(_) => cluster.redis.start_again().await?,
            Fault::FreezeRedis(_) => cluster.redis.thaw()?,
            Fault::DenyRedis(_) => {
                cluster
                    .redis
                    .command(&["ACL", "SETUSER", "default", "+subscribe"])?;
            }
            Fault::RestartPostgres(_) => cluster.postgres.start_again().await?,
            Fault::FreezePostgres(_) => cluster.postgres.thaw()?,
            Fault::Cut(node, ..) => {
                cluster
                    .apart
                    .as_ref()
                    .context("nodes are not apart")?
                    .heal(node)?;
            }
            Fault::FlushRedis | Fault::Storm | Fault::Clone(..) => {}
        }
        Ok(())
    }
}

/// Lets some faults happen at the same time, and heals each when it has lasted.
///
/// # Errors
/// When a process does not do what it is told.
pub async fn happen(
    faults: &[Fault],
    cluster: &mut Cluster,
    leaves: &[Leaf],
) -> anyhow::Result<()> {
    let mut heals = Vec::new();
    for fault in faults {
        let heal = fault.begin(cluster, leaves).await;
        heals.push((fault.lasts(), heal.with_context(|| format!("{fault:?}"))?));
    }
    heals.sort_by_key(|(lasts, _)| *lasts);
    let mut over = Duration::ZERO;
    for (lasts, heal) in heals {
        sleep(lasts.saturating_sub(over)).await;
        over = lasts;
        let what = format!("healing {:?}", heal.fault);
        heal.heal(cluster).await.context(what)?;
    }
    Ok(())
}
