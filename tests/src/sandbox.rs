//! A whole node for one test: real TLS, real sockets, a real database in a directory of its own, driven through the public API.
//!
//! It holds one org (`acme`), one product (`sensor`), a device authority that is not registered, and an API client with
//! the org's admin token. Everything else a test makes itself.

use std::path::PathBuf;

use hub_cli::{Client, ClientOptions};
use hub_firmware::SigningKey;
use hub_node::store::records::Role;
use hub_node::{Config, Node, token};
use hub_proto::slug::Slug;
use tempfile::TempDir;

use crate::pki::{Authority, Leaf};
use crate::raw_ws::RawWs;
use crate::reference::Setup;
use crate::tenant;
pub use crate::tenant::{ORG, PRODUCT};
use crate::tls::{TlsDialer, Version};

/// A node and what a test needs around it. The node ends with it.
pub struct Sandbox {
    /// State directory, certificates and whatever a test puts there.
    pub dir: TempDir,
    /// What the node was started with; ports are 0 in it.
    pub config: Config,
    /// The running node.
    pub node: Node,
    /// A client with the token of an admin of [`ORG`].
    pub api: Client,
    /// A client with the root token.
    pub root: Client,
    /// The text of the admin's token.
    pub token: String,
    /// The authority whose certificates devices get; not registered with the hub.
    pub devices: Authority,
    /// The authority that vouches for the node's own certificate.
    pub server_root: Authority,
    /// Signs firmware; its public half is registered in [`ORG`].
    pub signing: SigningKey,
}

impl Sandbox {
    /// A node with the defaults.
    ///
    /// # Errors
    /// When anything of it cannot be made.
    pub async fn start() -> anyhow::Result<Self> {
        Self::with(|_| {}).await
    }

    /// A node whose configuration the test changes first.
    ///
    /// # Errors
    /// When anything of it cannot be made.
    pub async fn with(change: impl FnOnce(&mut Config)) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let server_root = Authority::root("server root")?;
        let (certificate, key) = server_root.server()?.write(dir.path(), "server")?;
        let state_dir = dir.path().join("state");
        std::fs::create_dir(&state_dir)?;
        let mut config = Config {
            state_dir,
            device_listen: ([127, 0, 0, 1], 0).into(),
            api_listen: ([127, 0, 0, 1], 0).into(),
            device_certificate: certificate,
            device_key: key,
            admin_listen: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        };
        change(&mut config);
        let org: Slug = ORG.parse()?;
        let name: Slug = "tests".parse()?;
        let root_token = token::mint(&config, None, Role::Admin, &name, None).await?;
        let token = token::mint(&config, Some(&org), Role::Admin, &name, None).await?;
        let node = Node::start(&config).await?;
        let sandbox = Self {
            api: client(&node, &token)?,
            root: client(&node, &root_token)?,
            token,
            dir,
            config,
            node,
            devices: Authority::root("device root")?,
            server_root,
            signing: SigningKey::generate(),
        };
        tenant::furnish(&sandbox.api, &sandbox.signing).await?;
        Ok(sandbox)
    }

    /// Registers a device and pins a fresh certificate to it.
    ///
    /// # Errors
    /// The API's.
    pub async fn device(&self, name: &str) -> anyhow::Result<Leaf> {
        let leaf = self.devices.device(name)?;
        self.pin(name, &leaf).await?;
        Ok(leaf)
    }

    /// Registers a device with this certificate.
    ///
    /// # Errors
    /// The API's.
    pub async fn pin(&self, name: &str, leaf: &Leaf) -> anyhow::Result<()> {
        tenant::pin(&self.api, name, leaf).await
    }

    /// What the reference device of this certificate needs to start; its files are in a directory named `dir`.
    #[must_use]
    pub fn reference(&self, leaf: &Leaf, dir: &str) -> Setup {
        Setup::new(
            format!("wss://{}", self.node.device_addr()),
            leaf,
            &self.server_root,
            self.signing.public_key(),
            self.dir.path().join(dir),
        )
    }

    /// A dialer with this certificate over TLS 1.3.
    ///
    /// # Errors
    /// A certificate that cannot be used.
    pub fn dialer(&self, leaf: &Leaf) -> anyhow::Result<TlsDialer> {
        TlsDialer::new(self.server_root.der(), Some(leaf), Version::Tls13)
    }

    /// An upgraded socket of this device, which has not joined anything.
    ///
    /// # Errors
    /// A refused handshake or upgrade.
    pub async fn connect(&self, leaf: &Leaf) -> anyhow::Result<RawWs> {
        RawWs::open(&self.dialer(leaf)?, self.node.device_addr()).await
    }

    /// Makes a group of these devices.
    ///
    /// # Errors
    /// The API's.
    pub async fn group(&self, name: &str, priority: i32, members: &[&str]) -> anyhow::Result<()> {
        tenant::group(&self.api, name, priority, members).await
    }

    /// Builds, signs and uploads a firmware with a resource of `bytes` bytes; its file and uuid.
    ///
    /// # Errors
    /// The API's.
    pub async fn firmware(&self, version: &str, bytes: usize) -> anyhow::Result<(PathBuf, String)> {
        tenant::firmware(&self.api, &self.signing, self.dir.path(), version, bytes).await
    }

    /// Stops the node gracefully and starts another one on the same state.
    ///
    /// # Errors
    /// When it does not start again.
    pub async fn restart(self) -> anyhow::Result<Self> {
        let Self {
            dir,
            config,
            node,
            root: _,
            api: _,
            token,
            devices,
            server_root,
            signing,
        } = self;
        node.stop().await;
        let root_token = token::mint(&config, None, Role::Admin, &"again".parse()?, None).await?;
        let node = Node::start(&config).await?;
        let (api, root) = (client(&node, &token)?, client(&node, &root_token)?);
        Ok(Self {
            dir,
            config,
            node,
            api,
            root,
            token,
            devices,
            server_root,
            signing,
        })
    }
}

fn client(node: &Node, token: &str) -> anyhow::Result<Client> {
    let url = format!("http://{}", node.api_addr());
    Ok(Client::new(&ClientOptions {
        url,
        token: token.to_owned(),
        ca_pem: None,
    })?)
}
