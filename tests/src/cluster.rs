//! A cluster of real processes: Postgres, Redis, `hub-node`s and, when asked for, HAProxy with the reference configuration.
//!
//! It holds one org (`acme`), one product (`sensor`), and a device authority that is not registered. Ports stay the same from
//! run to run, so that any part can be killed and started again.

mod node;
mod shared;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use hub_firmware::SigningKey;
use hub_node::store::postgres::PostgresStore;
use hub_node::store::records::Role;
use hub_node::token;
use hub_servers::{Haproxy, Postgres, Redis};
use tempfile::TempDir;

pub use node::{ClusterNode, disconnects};
use shared::Shared;

use crate::cut_proxy::CutProxy;
use crate::netns::Namespaces;
use crate::pki::{Authority, Leaf};
use crate::process::built;
use crate::reference::Setup;
use crate::tenant::{self, ORG};
use crate::{ports, wait};

/// What a node says once all its ports accept.
const READY: &str = "ready node=";
/// Nodes of one cluster.
const NODES_MAX: usize = 3;
/// Connections the load balancer of a test takes.
const LB_CONNECTIONS: &str = "4000";

/// How a cluster is made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Nodes; three at most behind the load balancer.
    pub nodes: usize,
    /// With HAProxy in front.
    pub balanced: bool,
    /// Seconds over which a draining node sends its devices away.
    pub drain_window_s: u32,
    /// Seconds a draining node goes on accepting.
    pub lb_grace_s: u32,
    /// Nodes reach Postgres through proxies that lose answers when they are told to.
    pub cut_commits: bool,
    /// Each node in a network namespace of its own, and the rest in their middle, where the caller is.
    pub apart: Option<Arc<Namespaces>>,
    /// What else is in the environment of every node.
    pub env: Vec<(String, String)>,
    /// The program of a node; the one that was built beside the test when there is none.
    pub program: Option<Launcher>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            nodes: 3,
            balanced: false,
            drain_window_s: 1,
            lb_grace_s: 0,
            cut_commits: false,
            apart: None,
            env: Vec::new(),
            program: None,
        }
    }
}

/// How to start a node: a program, and what comes before the node's own arguments.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments.
    pub args: Vec<String>,
}

/// A whole cluster. All of it ends with this.
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<ClusterNode>,
    /// The load balancer, when there is one.
    pub balancer: Option<(Haproxy, SocketAddr)>,
    /// The database, which has one database `hub`.
    pub postgres: Postgres,
    /// What loses answers of Postgres, when there is one.
    pub cutter: Option<CutProxy>,
    /// The namespaces of the nodes, when they have some.
    pub apart: Option<Arc<Namespaces>>,
    /// The bus.
    pub redis: Redis,
    /// The authority whose certificates devices get; not registered with the hub.
    pub devices: Authority,
    /// The authority that vouches for the nodes' own certificate.
    pub server_root: Authority,
    /// Signs firmware; its public half is registered in [`ORG`].
    pub signing: SigningKey,
    /// The text of the admin's token.
    pub token: String,
    launcher: Launcher,
    /// State directories, certificates, logs and whatever a test puts there.
    pub dir: TempDir,
}

impl Cluster {
    /// A cluster whose nodes all serve.
    ///
    /// # Errors
    /// When a program is missing (the message says which) or anything does not start.
    pub async fn start(plan: Plan) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("hub-cluster").tempdir()?;
        let host = match &plan.apart {
            Some(_) => Namespaces::middle_address(),
            None => Ipv4Addr::LOCALHOST.into(),
        };
        let (postgres, redis) = tokio::try_join!(Postgres::start_on(host), Redis::start_on(host))?;
        postgres.create_database("hub")?;
        let database_url = postgres.url("hub");
        PostgresStore::migrate(&database_url).await?;
        let server_root = Authority::root("server root")?;
        let cutter = match plan.cut_commits {
            true => Some(CutProxy::start(([127, 0, 0, 1], postgres.port()).into()).await?),
            false => None,
        };
        let reached = cutter.as_ref().map(|cutter| {
            database_url.replace(
                &format!(":{}/", postgres.port()),
                &format!(":{}/", cutter.address().port()),
            )
        });
        let reached = reached.as_deref().unwrap_or(&database_url);
        let shared = Shared::make(dir.path(), &server_root, reached, &redis)?;
        let mut configs = Vec::new();
        for number in 1..=plan.nodes {
            configs.push(shared.node(number, &plan)?);
        }
        let first = configs.first().context("a cluster has a node")?;
        let name = "tests".parse()?;
        let token = token::mint(first, Some(&ORG.parse()?), Role::Admin, &name, None).await?;
        let launcher = match plan.program {
            Some(launcher) => launcher,
            None => Launcher {
                program: built("hub-node")?,
                args: Vec::new(),
            },
        };
        let nodes = configs
            .into_iter()
            .map(|config| ClusterNode::new(config, &token, plan.env.clone()))
            .collect::<anyhow::Result<_>>()?;
        let mut cluster = Self {
            nodes,
            balancer: None,
            cutter,
            apart: plan.apart.clone(),
            postgres,
            redis,
            devices: Authority::root("device root")?,
            server_root,
            signing: SigningKey::generate(),
            token,
            launcher,
            dir,
        };
        for number in 0..cluster.nodes.len() {
            cluster.launch(number)?;
        }
        for number in 0..cluster.nodes.len() {
            cluster.listening(number).await?;
        }
        if plan.balanced {
            let [port] = ports::free()?;
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            cluster.balancer = Some(cluster.balance(address).await?);
        }
        tenant::furnish(&cluster.nodes[0].api, &cluster.signing).await?;
        Ok(cluster)
    }

    /// Starts a node's process; it does not listen yet when this returns. Each run has a log of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&mut self, number: usize) -> anyhow::Result<()> {
        let dir = self.dir.path().to_owned();
        let node = self.nodes.get_mut(number).context("no such node")?;
        let mut launcher = self.launcher.clone();
        if let Some(apart) = &self.apart {
            let program = launcher.program.to_string_lossy().into_owned();
            let first = ["netns", "exec", &apart.name(number), &program].map(str::to_owned);
            launcher.args.splice(0..0, first);
            launcher.program = "ip".into();
        }
        node.launch(&launcher, &dir)
    }

    /// Waits until a node's ports accept.
    ///
    /// # Errors
    /// When it ends or stays silent; the message holds its last words.
    pub async fn listening(&mut self, number: usize) -> anyhow::Result<()> {
        let node = self.nodes.get_mut(number).context("no such node")?;
        node.program()?.said(READY, wait::PATIENCE).await?;
        Ok(())
    }

    /// Starts nodes again that ended by themselves, as whoever runs nodes does: one that starts while its database is away
    /// says so and ends.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn revive(&mut self) -> anyhow::Result<()> {
        for number in 0..self.nodes.len() {
            let node = self.nodes.get_mut(number).context("no such node")?;
            if node.has_ended()? {
                self.launch(number)?;
            }
        }
        Ok(())
    }

    /// Starts a node again and waits until it serves.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start_again(&mut self, number: usize) -> anyhow::Result<()> {
        self.launch(number)?;
        self.listening(number).await
    }

    /// Registers a device under a fresh certificate; what its reference device needs to start. It connects through the load
    /// balancer, or to the node of this number when there is none.
    ///
    /// # Errors
    /// The API's.
    pub async fn reference(&self, name: &str, node: usize) -> anyhow::Result<Setup> {
        let leaf = self.device(name).await?;
        Ok(self.setup(name, &leaf, node))
    }

    /// What the reference device of this certificate needs to start.
    #[must_use]
    pub fn setup(&self, dir: &str, leaf: &Leaf, node: usize) -> Setup {
        Setup::new(
            format!("wss://{}", self.front(node)),
            leaf,
            &self.server_root,
            self.signing.public_key(),
            self.dir.path().join(dir),
        )
    }

    /// Registers a device under a fresh certificate.
    ///
    /// # Errors
    /// The API's.
    pub async fn device(&self, name: &str) -> anyhow::Result<Leaf> {
        let leaf = self.devices.device(name)?;
        let node = self.nodes.first().context("a cluster has a node")?;
        tenant::pin(&node.api, name, &leaf).await?;
        Ok(leaf)
    }

    /// Where devices connect.
    #[must_use]
    pub fn front(&self, node: usize) -> SocketAddr {
        match &self.balancer {
            Some((_, address)) => *address,
            None => self.nodes[node].config().device_listen,
        }
    }

    /// Ends the load balancer, and every connection through it, and starts it again on the same address.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn balance_again(&mut self) -> anyhow::Result<()> {
        let Some((old, address)) = self.balancer.take() else {
            return Ok(());
        };
        drop(old);
        self.balancer = Some(self.balance(address).await?);
        Ok(())
    }

    /// HAProxy with the reference configuration in front of all nodes.
    async fn balance(&self, address: SocketAddr) -> anyhow::Result<(Haproxy, SocketAddr)> {
        let [nobody] = ports::free()?;
        let mut env = vec![
            ("HUB_LB_BIND".to_owned(), address.to_string()),
            ("HUB_LB_MAXCONN".to_owned(), LB_CONNECTIONS.to_owned()),
        ];
        for number in 1..=3 {
            let node = self.nodes.get(number - 1).map(ClusterNode::config);
            let proxy = node.and_then(|config| config.proxy_listen);
            let proxy = proxy.unwrap_or(SocketAddr::from(([127, 0, 0, 1], nobody)));
            let admin = node.map_or(nobody, |config| config.admin_listen.port());
            env.push((format!("HUB_NODE_{number}"), proxy.to_string()));
            env.push((format!("HUB_ADMIN_{number}"), admin.to_string()));
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/haproxy/haproxy.cfg");
        let env: Vec<_> = env
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone()))
            .collect();
        Ok((Haproxy::start(&file, &env).await?, address))
    }
}
