//! One node of a cluster: its process, its ports and its API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hub_cli::{Client, ClientOptions};
use hub_node::Config;
use serde_json::Value;

use super::Launcher;
use crate::process::{Launch, Program};
use crate::wait;

/// How many sockets ended for each reason, from what [`ClusterNode::metrics`] says.
///
/// # Errors
/// When a count is none.
pub fn disconnects(metrics: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut ended = BTreeMap::new();
    for line in metrics.lines() {
        let name = "hub_device_disconnects_total{hub_close_reason=\"";
        let Some(rest) = line.strip_prefix(name) else {
            continue;
        };
        let row = rest.split_once("\"} ").context("a reason and a count")?;
        ended.insert(row.0.to_owned(), row.1.parse()?);
    }
    Ok(ended)
}

/// A node that runs or does not.
pub struct ClusterNode {
    /// Its name, `node-1` and on.
    pub name: String,
    /// A client of its own API.
    pub api: Client,
    config: Config,
    env: Vec<(String, String)>,
    program: Option<Program>,
    runs: u32,
}

impl ClusterNode {
    pub(super) fn new(
        config: Config,
        token: &str,
        env: Vec<(String, String)>,
    ) -> anyhow::Result<Self> {
        let api = Client::new(&ClientOptions {
            url: format!("http://{}", config.api_listen),
            token: token.to_owned(),
            ca_pem: None,
        })?;
        Ok(Self {
            name: config.node_name.clone(),
            api,
            config,
            env,
            program: None,
            runs: 0,
        })
    }

    /// The process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn program(&mut self) -> anyhow::Result<&mut Program> {
        let name = &self.name;
        self.program
            .as_mut()
            .with_context(|| format!("{name} does not run"))
    }

    /// Whether its process was started and not killed.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.program.is_some()
    }

    /// Whether its process ended by itself.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        match &mut self.program {
            Some(program) => Ok(program.exited()?.is_some()),
            None => Ok(false),
        }
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

    /// Asks it to drain and stop, and waits for the end.
    ///
    /// # Errors
    /// When it does not end, or not well.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let mut program = self.program.take().context("it does not run")?;
        let status = program.stop(wait::PATIENCE * 2).await?;
        anyhow::ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    /// Where its API is.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}", self.config.api_listen)
    }

    /// What it was started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What it counts, as text of Prometheus.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let url = format!("http://{}/metrics", self.config.admin_listen);
        Ok(reqwest::get(url).await?.error_for_status()?.text().await?)
    }

    /// What its probe `/readyz` answers: the status and the body.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ready(&self) -> anyhow::Result<(u16, Value)> {
        let url = format!("http://{}/readyz", self.config.admin_listen);
        let answer = reqwest::Client::new()
            .get(url)
            .timeout(std::time::Duration::from_secs(5))
            .send()
            .await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await?))
    }

    pub(super) fn launch(&mut self, launcher: &Launcher, dir: &Path) -> anyhow::Result<()> {
        self.runs += 1;
        let config = &self.config;
        let log = dir.join(format!("{}-{}.log", self.name, self.runs));
        let path = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
        let mut launch = Launch::new(&launcher.program)
            .args(&launcher.args)
            .args(["run", "--node-name", &self.name, "--state-dir"])
            .arg(&config.state_dir)
            .args(["--device-listen", &config.device_listen.to_string()])
            .args(["--api-listen", &config.api_listen.to_string()])
            .args(["--admin-listen", &config.admin_listen.to_string()])
            .args(["--device-url", &config.device_url, "--device-certificate"])
            .arg(&config.device_certificate)
            .arg("--device-key")
            .arg(&config.device_key)
            .arg("--cluster-key")
            .arg(path(&config.cluster_key))
            .arg("--firmware-dir")
            .arg(path(&config.firmware_dir))
            .arg("--peer-certificate")
            .arg(path(&config.peer_certificate))
            .arg("--peer-key")
            .arg(path(&config.peer_key))
            .arg("--peer-ca")
            .arg(path(&config.peer_ca))
            .arg("--api-plain")
            .args(["--lb-grace-s", &config.lb_grace_s.to_string()])
            .args(["--drain-window-s", &config.drain_window_s.to_string()])
            // as secrets are given: not on the command line
            .env("HUB_DATABASE_URL", &config.database_url)
            .env("HUB_REDIS_URL", &config.redis_url)
            .env("NO_COLOR", "1");
        for (key, value) in &self.env {
            launch = launch.env(key, value);
        }
        if let Some(peer) = config.peer_listen {
            launch = launch.args(["--peer-listen", &peer.to_string()]);
        }
        if let Some(proxy) = config.proxy_listen {
            launch = launch.args(["--proxy-listen", &proxy.to_string()]).args([
                "--proxy-source",
                "127.0.0.0/8",
                "--proxy-source",
                "10.77.0.0/24",
            ]);
        }
        self.program = Some(launch.start(log)?);
        Ok(())
    }
}
