//! A Prometheus of a test's own.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::process::{Launch, Program};
use crate::{find, ports, wait};

/// A running Prometheus, which scrapes each second. It ends with this.
#[derive(Debug)]
pub struct Prometheus {
    _dir: TempDir,
    _program: Program,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts it on these targets of the job `hub-node`, with rules that are evaluated each second.
    ///
    /// # Errors
    /// When the program is missing (the message says what to install), or does not start.
    pub async fn start(targets: &[SocketAddr], rules: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("hub-prometheus")
            .tempdir()?;
        let rules = std::fs::read_to_string(rules)?.replace("interval: 30s", "interval: 1s");
        std::fs::write(dir.path().join("rules.yml"), rules)?;
        let targets: Vec<String> = targets.iter().map(|one| format!("\"{one}\"")).collect();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [rules.yml]\n\
             scrape_configs:\n  - job_name: hub-node\n    static_configs:\n      - targets: [{}]\n",
            targets.join(", ")
        );
        std::fs::write(dir.path().join("prometheus.yml"), config)?;
        let [port] = ports::free()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut program = Launch::new(find::program("prometheus", &[], "prometheus")?)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .args(["--enable-feature=exemplar-storage"])
            .arg(format!("--web.listen-address={address}"))
            .dir(dir.path())
            .start(dir.path().join("log"))?;
        program
            .said("Server is ready to receive web requests", wait::PATIENCE)
            .await
            .context("prometheus does not start")?;
        Ok(Self {
            _dir: dir,
            _program: program,
            address,
        })
    }

    /// Where its API is, `http://…`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
