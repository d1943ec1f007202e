//! Whether a configuration makes sense, before anything is started: all problems, each with what to do about it.

use std::path::Path;

use hub_core::limits::{REBALANCE_PER_SECOND_MAX, REBALANCE_RELATIVE_PERCENT_MAX};
use hub_firmware::Limits;

use super::{Config, ConfigError};
use crate::edge::proxy::ProxySources;
use crate::identity::revocations::Revocations;
use crate::secret::ClusterSecret;
use crate::server_certificate::ServerFiles;

impl Config {
    /// Checks what can be checked without starting anything.
    ///
    /// # Errors
    /// Every problem that was found.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !(1..=63).contains(&self.node_name.len()) || !self.node_name.chars().all(plain) {
            problems.push(
                "node_name: must have 1 to 63 letters, digits, dots, dashes or underscores".into(),
            );
        }
        if !self.state_dir.is_dir() {
            problems.push(format!(
                "state_dir: {} is no directory; create it",
                self.state_dir.display()
            ));
        }
        let (certificate, key) = (&self.device_certificate, &self.device_key);
        check_pair("device", certificate, key, &mut problems);
        if let Err(error) = Revocations::load(self.device_crls.clone()) {
            problems.push(format!("{error:#}"));
        }
        if self.device_url.is_empty() && self.device_listen.ip().is_unspecified() {
            problems.push(format!(
                "device_url: set it, as https://host:port; download links cannot name {}",
                self.device_listen
            ));
        } else if !self.device_url.is_empty() && !self.device_url.starts_with("https://") {
            problems.push("device_url: must start with https://".into());
        }
        match (&self.api_certificate, &self.api_key) {
            (Some(certificate), Some(key)) => {
                check_pair("api", certificate, key, &mut problems);
            }
            (None, None) if !self.api_listen.ip().is_loopback() && !self.api_plain => problems.push(format!(
                "api_listen: {} is not loopback; set api_certificate and api_key, or api_plain = true behind a proxy that ends TLS",
                self.api_listen
            )),
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => problems.push("api_certificate and api_key: set both or neither".into()),
        }
        let largest = Limits::default().container_bytes_max;
        if !(1..=largest).contains(&self.firmware_bytes_max) {
            problems.push(format!("firmware_bytes_max: must be 1 to {largest}"));
        }
        self.check_cluster(&mut problems);
        self.check_front(&mut problems);
        if self.log.parse::<tracing_subscriber::EnvFilter>().is_err() {
            problems.push(format!("log: {:?} is no log filter; try info", self.log));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError(problems))
        }
    }

    /// Database, bus and what nodes share.
    fn check_cluster(&self, problems: &mut Vec<String>) {
        let scheme =
            |url: &str, schemes: &[&str]| schemes.iter().any(|scheme| url.starts_with(scheme));
        if !self.database_url.is_empty()
            && !scheme(&self.database_url, &["postgres://", "postgresql://"])
        {
            problems
                .push("database_url: must start with postgres://, or be empty for SQLite".into());
        }
        if !self.redis_url.is_empty() && !scheme(&self.redis_url, &["redis://", "rediss://"]) {
            problems.push("redis_url: must start with redis:// or rediss://, or be empty".into());
        }
        if !self.redis_url.is_empty() && self.database_url.is_empty() {
            problems.push(
                "redis_url: nodes that share a bus must share a database; set database_url".into(),
            );
        }
        if self.redis_ca.is_some() && !self.redis_url.starts_with("rediss://") {
            problems.push("redis_ca: is used with a redis_url that starts with rediss://".into());
        }
        match &self.cluster_key {
            Some(path) => {
                if let Err(error) = ClusterSecret::load(path) {
                    problems.push(format!("cluster_key: {error}"));
                }
            }
            None if !self.database_url.is_empty() => problems.push(
                "cluster_key: nodes that share a database must share a secret; `hub-node pki cluster-key` makes one".into(),
            ),
            None => {}
        }
        if let Some(dir) = self.firmware_dir.as_ref().filter(|dir| !dir.is_dir()) {
            problems.push(format!(
                "firmware_dir: {} is no directory; create it",
                dir.display()
            ));
        }
        let peer = [&self.peer_certificate, &self.peer_key, &self.peer_ca];
        if self.peer_listen.is_some() && peer.iter().any(|file| file.is_none()) {
            problems.push("peer_listen: set peer_certificate, peer_key and peer_ca too".into());
        }
    }

    /// What is in front of the node.
    fn check_front(&self, problems: &mut Vec<String>) {
        if let Err(text) = ProxySources::parse(&self.proxy_sources) {
            problems.push(format!(
                "proxy_sources: {text:?} is no network; as 10.0.0.0/8"
            ));
        }
        if self.proxy_listen.is_some() && self.proxy_sources.is_empty() {
            problems.push("proxy_listen: name the load balancers in proxy_sources".into());
        }
        if !(1..=REBALANCE_PER_SECOND_MAX).contains(&self.rebalance_per_second) {
            problems.push(format!(
                "rebalance_per_second: must be 1 to {REBALANCE_PER_SECOND_MAX}"
            ));
        }
        if !(100..=REBALANCE_RELATIVE_PERCENT_MAX).contains(&self.rebalance_relative_percent) {
            problems.push(format!(
                "rebalance_relative_percent: must be 100 to {REBALANCE_RELATIVE_PERCENT_MAX}"
            ));
        }
        if self.handshakes_per_second == 0 {
            problems.push("handshakes_per_second: must be 1 at least".into());
        }
    }
}

/// Both files must be there, and hold a certificate and its key.
fn check_pair(of: &str, certificate: &Path, key: &Path, problems: &mut Vec<String>) {
    let before = problems.len();
    check_file(&format!("{of}_certificate"), certificate, problems);
    check_file(&format!("{of}_key"), key, problems);
    let files = ServerFiles {
        chain: certificate.to_owned(),
        key: key.to_owned(),
    };
    if problems.len() == before
        && let Err(error) = files.check()
    {
        let cause = std::error::Error::source(&error).map_or(String::new(), |e| format!(": {e}"));
        problems.push(format!("{of}_certificate, {of}_key: {error}{cause}"));
    }
}

fn check_file(key: &str, path: &Path, problems: &mut Vec<String>) {
    if let Err(error) = std::fs::File::open(path) {
        problems.push(format!(
            "{key}: {}: {error}; `hub-node pki server` makes one",
            path.display()
        ));
    }
}
