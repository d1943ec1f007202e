//! What may change while a node runs, without a socket noticing: the log filter and the paces that [`RELOADABLE`] names, from the
//! configuration, and certificates, from their files.
//!
//! Rules owned here: a configuration that is wrong changes nothing; what it would change and cannot is named.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{info, warn};

use crate::config::Config;
use crate::drain::Pace;
use crate::edge::listener::Edge;
use crate::identity::revocations::Revocations;
use crate::renewal::Renewal;
use crate::routing::Sockets;
use crate::telemetry::metrics::Metrics;

/// Keys of the configuration that are taken while a node runs.
pub(crate) const RELOADABLE: [&str; 4] = [
    "drain_window_s",
    "handshakes_per_second",
    "lb_grace_s",
    "log",
];

/// What became of a reload.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Reloaded {
    /// Keys whose new values are in use.
    pub changed: Vec<String>,
    /// Keys that changed and are only read at the start.
    pub needs_restart: Vec<String>,
    /// Where renewed certificates are shown from now on; `device_crls` for new revocation lists.
    pub certificates: Vec<&'static str>,
    /// What could not be used; the old stays.
    pub problems: Vec<String>,
}

/// Takes a log filter into use.
pub(crate) type SetFilter = Arc<dyn Fn(&str) -> anyhow::Result<()> + Send + Sync>;

/// The parts that listen to changes, and the configuration they have.
pub(crate) struct Live {
    /// As it is in use.
    pub(crate) config: Mutex<Config>,
    pub(crate) edge: Arc<Edge>,
    pub(crate) renewal: Arc<Renewal>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) sockets: Arc<Sockets>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Live {
    /// How devices are sent away, as of now.
    pub(crate) fn pace(&self) -> Pace {
        Pace::of(&self.lock())
    }

    /// Takes what can be taken of a configuration that was checked, and certificates whose files are new.
    pub(crate) fn take(&self, new: Config, set_filter: &SetFilter) -> Reloaded {
        let mut old = self.lock();
        let (changed, needs_restart) = difference(&old, &new);
        let (mut certificates, mut problems) = self.renewal.look();
        match self.revocations.look(&self.sockets, &self.metrics) {
            Ok(true) => certificates.push("device_crls"),
            Ok(false) => {}
            Err(error) => problems.push(format!("{error:#}")),
        }
        if old.log != new.log
            && let Err(error) = set_filter(&new.log)
        {
            problems.push(format!("log: {error:#}"));
        } else {
            old.log = new.log;
        }
        old.handshakes_per_second = new.handshakes_per_second;
        old.lb_grace_s = new.lb_grace_s;
        old.drain_window_s = new.drain_window_s;
        self.edge.admission.pace(new.handshakes_per_second);
        drop(old);
        if !needs_restart.is_empty() {
            warn!(keys = ?needs_restart, "changed in the configuration, and only read at the start");
        }
        info!(?changed, ?certificates, ?problems, "reloaded");
        Reloaded {
            changed,
            needs_restart,
            certificates,
            problems,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Config> {
        // Nothing in here is ever half changed.
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys that differ: those that can be taken, and the others.
fn difference(old: &Config, new: &Config) -> (Vec<String>, Vec<String>) {
    let (old, new) = (keys(old), keys(new));
    let differs = new
        .into_iter()
        .filter(|(key, value)| old.get(key) != Some(value));
    differs
        .map(|(key, _)| key)
        .partition(|key| RELOADABLE.contains(&key.as_str()))
}

/// A configuration by its keys.
pub(crate) fn keys(config: &Config) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(keys)) => keys,
        // a flat struct of texts and numbers is always an object
        Ok(_) | Err(_) => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_apart() {
        let old = Config::default();
        let new = Config {
            log: "debug".into(),
            lb_grace_s: 1,
            node_name: "other".into(),
            ..Config::default()
        };
        let (changed, needs_restart) = difference(&old, &new);
        assert_eq!(changed, ["lb_grace_s", "log"]);
        assert_eq!(needs_restart, ["node_name"]);
        assert_eq!(difference(&old, &old), (Vec::new(), Vec::new()));
    }

    #[test]
    fn every_reloadable_key_exists() {
        let keys = keys(&Config::default());
        assert!(RELOADABLE.iter().all(|key| keys.contains_key(*key)));
    }
}
