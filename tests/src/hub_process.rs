//! `hub-node` as a real process on ports and a state directory that stay the same from run to run, so that it can be killed.
//!
//! It holds what a [`crate::sandbox::Sandbox`] holds; only the node lives elsewhere.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use hub_cli::{Client, ClientOptions};
use hub_firmware::SigningKey;
use hub_node::store::records::Role;
use hub_node::{Config, token};
use tempfile::TempDir;

use crate::pki::{Authority, Leaf};
use crate::process::{Launch, Program, built};
use crate::reference::Setup;
use crate::tenant::{self, ORG};
use crate::{ports, wait};

/// What the node says once both ports accept.
const READY: &str = "ready node=";

/// Name of the configuration's file.
const CONFIG: &str = "hub.toml";
/// Name of the directory of revocation lists.
const CRLS: &str = "crls";
/// First part of the names of the server's certificate and key.
const SERVER: &str = "server";

/// A node that runs or does not, and what a test needs around it.
pub struct HubProcess {
    /// State directory, certificates, logs and whatever a test puts there.
    pub dir: TempDir,
    /// A client with the token of an admin of [`ORG`].
    pub api: Client,
    /// The text of the admin's token.
    pub token: String,
    /// The authority whose certificates devices get; not registered with the hub.
    pub devices: Authority,
    /// The authority that vouches for the node's own certificate.
    pub server_root: Authority,
    /// Signs firmware; its public half is registered in [`ORG`].
    pub signing: SigningKey,
    config: Config,
    binary: PathBuf,
    program: Option<Program>,
    runs: u32,
}

impl HubProcess {
    /// A node that has started on an empty state.
    ///
    /// # Errors
    /// When the program was not built or anything of it cannot be made.
    pub async fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let server_root = Authority::root("server root")?;
        let (certificate, key) = server_root.server()?.write(dir.path(), SERVER)?;
        let state_dir = dir.path().join("state");
        std::fs::create_dir(&state_dir)?;
        let [device_port, api_port, admin_port] = ports::free()?;
        let config = Config {
            state_dir,
            device_listen: ([127, 0, 0, 1], device_port).into(),
            api_listen: ([127, 0, 0, 1], api_port).into(),
            device_certificate: certificate,
            device_key: key,
            admin_listen: ([127, 0, 0, 1], admin_port).into(),
            ..Config::default()
        };
        let name = "tests".parse()?;
        let token = token::mint(&config, Some(&ORG.parse()?), Role::Admin, &name, None).await?;
        let api = Client::new(&ClientOptions {
            url: format!("http://{}", config.api_listen),
            token: token.clone(),
            ca_pem: None,
        })?;
        std::fs::write(dir.path().join(CONFIG), "")?;
        std::fs::create_dir(dir.path().join(CRLS))?;
        let mut hub = Self {
            dir,
            api,
            token,
            devices: Authority::root("device root")?,
            server_root,
            signing: SigningKey::generate(),
            config,
            binary: built("hub-node")?,
            program: None,
            runs: 0,
        };
        hub.launch()?;
        hub.listening().await?;
        tenant::furnish(&hub.api, &hub.signing).await?;
        Ok(hub)
    }

    /// Starts the program; it does not listen yet when this returns. Each run has a log of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        self.runs += 1;
        let log = self.dir.path().join(format!("node-{}.log", self.runs));
        let program = Launch::new(&self.binary)
            .arg("run")
            .arg("--config")
            .arg(self.config_file())
            .arg("--device-crls")
            .arg(self.crls())
            .arg("--state-dir")
            .arg(&self.config.state_dir)
            .arg("--device-listen")
            .arg(self.config.device_listen.to_string())
            .arg("--device-certificate")
            .arg(&self.config.device_certificate)
            .arg("--device-key")
            .arg(&self.config.device_key)
            .arg("--api-listen")
            .arg(self.config.api_listen.to_string())
            .arg("--admin-listen")
            .arg(self.config.admin_listen.to_string())
            .args(["--lb-grace-s", "0", "--drain-window-s", "0"])
            .env("NO_COLOR", "1")
            .start(log)?;
        self.program = Some(program);
        Ok(())
    }

    /// Waits until both ports accept.
    ///
    /// # Errors
    /// When it ends or stays silent; the message holds its last words.
    pub async fn listening(&mut self) -> anyhow::Result<()> {
        if let Some(program) = &mut self.program {
            program.said(READY, wait::PATIENCE).await?;
        }
        Ok(())
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut program) = self.program.take() {
            program.kill()?;
        }
        Ok(())
    }

    /// The file of its configuration, which is empty unless a test writes in it; what a flag says stands above it.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join(CONFIG)
    }

    /// The directory of its revocation lists, which is empty at first.
    #[must_use]
    pub fn crls(&self) -> PathBuf {
        self.dir.path().join(CRLS)
    }

    /// Its process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn program(&mut self) -> anyhow::Result<&mut Program> {
        self.program.as_mut().context("it does not run")
    }

    /// Where the probes are, `http://…`.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.config.admin_listen)
    }

    /// Gives the node a new certificate, in the files of the old one.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn renew_certificate(&self) -> anyhow::Result<()> {
        self.server_root.server()?.write(self.dir.path(), SERVER)?;
        Ok(())
    }

    /// Where devices connect.
    #[must_use]
    pub fn device_addr(&self) -> SocketAddr {
        self.config.device_listen
    }

    /// The most memory that the process of this run has had at a time: its resident set, as the kernel counts it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn peak_memory_bytes(&self) -> anyhow::Result<usize> {
        let pid = self.program.as_ref().context("it does not run")?.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        let kib: usize = kib.context("the kernel does not tell")?.trim().parse()?;
        Ok(kib * 1_024)
    }

    /// Where the API is, `http://…`.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}", self.config.api_listen)
    }

    /// Registers a device under a fresh certificate; what its reference device needs to start.
    ///
    /// # Errors
    /// The API's.
    pub async fn reference(&self, name: &str) -> anyhow::Result<Setup> {
        let leaf: Leaf = self.devices.device(name)?;
        tenant::pin(&self.api, name, &leaf).await?;
        Ok(Setup::new(
            format!("wss://{}", self.config.device_listen),
            &leaf,
            &self.server_root,
            self.signing.public_key(),
            self.dir.path().join(name),
        ))
    }
}
