//! What an operator may set, where it comes from, and whether it makes sense.
//!
//! Precedence: flags, then `HUB_*` environment variables, then the file, then defaults. Unknown keys are errors. All problems are
//! reported at once. Every key is one flat name: `device_listen` in the file is `--device-listen` and `HUB_DEVICE_LISTEN`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

mod check;
pub(crate) mod schema;
mod secrets;

use clap::Args;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Value};
use hub_core::rebalance::Rules;
use hub_firmware::Limits;
use serde::{Deserialize, Serialize};

/// Variables that begin like ours and are no keys: where the file is, and what `hubctl` reads.
const NOT_KEYS: &[&str] = &["config", "url", "token", "org", "product", "ca_file"];

/// The whole configuration of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of this node in the cluster and in listings.
    pub node_name: String,
    /// Directory of the database, firmware and the key of download links. Must exist.
    pub state_dir: PathBuf,
    /// Address devices connect to.
    pub device_listen: SocketAddr,
    /// PEM file with the certificate chain shown to devices.
    pub device_certificate: PathBuf,
    /// PEM file with its private key.
    pub device_key: PathBuf,
    /// File, or directory of files, with revocation lists (CRL) of device authorities, PEM or DER. Empty: none.
    pub device_crls: Option<PathBuf>,
    /// How devices reach the device port, for download links; `https://host:port`. Empty: the listening address.
    pub device_url: String,
    /// Values of `Origin` that may open a device socket; devices send none.
    pub device_origins: Vec<String>,
    /// Address of the operators' API.
    pub api_listen: SocketAddr,
    /// PEM file with the API's certificate chain. Empty: plain HTTP.
    pub api_certificate: Option<PathBuf>,
    /// PEM file with its private key.
    pub api_key: Option<PathBuf>,
    /// Serve the API without TLS on an address that is not loopback, because a proxy in front ends TLS.
    pub api_plain: bool,
    /// Largest firmware that may be uploaded, bytes.
    pub firmware_bytes_max: u64,
    /// Database of the hub, `postgres://user@host/name`. Empty: a SQLite file in the state directory, for a hub of one node.
    pub database_url: String,
    /// File that holds the URL of the database, in place of `database_url`.
    pub database_url_file: Option<PathBuf>,
    /// Bus between nodes, `redis://host:port` or `rediss://user:password@host:port`. Empty: none, for a hub of one node.
    pub redis_url: String,
    /// File that holds the URL of the bus, in place of `redis_url`.
    pub redis_url_file: Option<PathBuf>,
    /// PEM file with the authorities that vouch for Redis. Empty: those of the system.
    pub redis_ca: Option<PathBuf>,
    /// File with the secret that all nodes of a cluster share: 32 random bytes or more, as hex. Download links and TLS session
    /// tickets are made with it. Empty: a secret of this node, in the state directory.
    pub cluster_key: Option<PathBuf>,
    /// Directory of firmware files, the same for all nodes. Empty: one in the state directory.
    pub firmware_dir: Option<PathBuf>,
    /// Address devices connect to through a load balancer that speaks the PROXY protocol, version 2. Empty: none.
    pub proxy_listen: Option<SocketAddr>,
    /// Networks of the load balancers that may connect to `proxy_listen`, as `10.0.0.0/8`.
    pub proxy_sources: Vec<String>,
    /// Address of the probes: `/startupz`, `/livez`, `/readyz`. Plain HTTP.
    pub admin_listen: SocketAddr,
    /// TLS handshakes a node takes a second, before it asks devices to wait. About 70 % of what the machine can do.
    pub handshakes_per_second: u32,
    /// Seconds a stopping node goes on accepting, until load balancers have noticed that it is not ready.
    pub lb_grace_s: u32,
    /// Seconds over which a stopping node sends its devices away.
    pub drain_window_s: u32,
    /// Send devices to other nodes, as long as this one holds more than its share. Nodes are levelled on an operator's order, too.
    pub rebalance: bool,
    /// A node that holds no more devices than this is never above its share.
    pub rebalance_absolute: u32,
    /// Nor is one that holds no more than this many percent of the mean.
    pub rebalance_relative_percent: u32,
    /// Devices that this node sends to other nodes a second.
    pub rebalance_per_second: u32,
    /// Address where other nodes ask this one whether it has the database. Empty: nobody can ask, and nobody is asked.
    pub peer_listen: Option<SocketAddr>,
    /// How other nodes reach `peer_listen`, `host:port`. Empty: the listening address.
    pub peer_address: String,
    /// PEM file with the certificate chain that nodes show each other.
    pub peer_certificate: Option<PathBuf>,
    /// PEM file with its private key.
    pub peer_key: Option<PathBuf>,
    /// PEM file with the authorities that vouch for nodes.
    pub peer_ca: Option<PathBuf>,
    /// Log filter, as `info` or `hub_node=debug,info`.
    pub log: String,
    /// Log lines as JSON instead of text.
    pub log_json: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_name: "hub".into(),
            state_dir: "state".into(),
            device_listen: SocketAddr::from(([0, 0, 0, 0], 4443)),
            device_certificate: "pki/server.pem".into(),
            device_key: "pki/server-key.pem".into(),
            device_crls: None,
            device_url: String::new(),
            device_origins: Vec::new(),
            api_listen: SocketAddr::from(([127, 0, 0, 1], 4080)),
            api_certificate: None,
            api_key: None,
            api_plain: false,
            firmware_bytes_max: Limits::default().container_bytes_max,
            database_url: String::new(),
            database_url_file: None,
            redis_url: String::new(),
            redis_url_file: None,
            redis_ca: None,
            cluster_key: None,
            firmware_dir: None,
            proxy_listen: None,
            proxy_sources: Vec::new(),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 4081)),
            handshakes_per_second: 1_000,
            lb_grace_s: 15,
            drain_window_s: 120,
            rebalance: false,
            rebalance_absolute: Rules::default().absolute,
            rebalance_relative_percent: Rules::default().relative_percent,
            rebalance_per_second: Rules::default().per_second,
            peer_listen: None,
            peer_address: String::new(),
            peer_certificate: None,
            peer_key: None,
            peer_ca: None,
            log: "info".into(),
            log_json: false,
        }
    }
}

/// Flags that override everything else. One for each key of [`Config`].
#[derive(Clone, Debug, Default, Args, Serialize)]
pub struct ConfigFlags {
    /// TOML file to read.
    #[arg(long, value_name = "FILE", env = "HUB_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Name of this node in the cluster and in listings [default: hub].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<String>,
    /// Directory of the database, firmware and secrets [default: state].
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    state_dir: Option<PathBuf>,
    /// Address devices connect to [default: 0.0.0.0:4443].
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    device_listen: Option<SocketAddr>,
    /// Certificate chain shown to devices, PEM [default: pki/server.pem].
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    device_certificate: Option<PathBuf>,
    /// Its private key, PEM [default: pki/server-key.pem].
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    device_key: Option<PathBuf>,
    /// Revocation lists of device authorities: a file or a directory, PEM or DER.
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    device_crls: Option<PathBuf>,
    /// How devices reach the device port, for download links [default: the listening address].
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    device_url: Option<String>,
    /// An `Origin` that may open a device socket; may be repeated.
    #[arg(long = "device-origin", value_name = "ORIGIN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    device_origins: Option<Vec<String>>,
    /// Address of the operators' API [default: 127.0.0.1:4080].
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    api_listen: Option<SocketAddr>,
    /// Certificate chain of the API, PEM.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    api_certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<PathBuf>,
    /// Serve the API without TLS on a public address, behind a proxy.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    api_plain: Option<bool>,
    /// Largest firmware that may be uploaded, bytes [default: 1 GiB].
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    firmware_bytes_max: Option<u64>,
    /// Database of a cluster, `postgres://…` [default: a SQLite file in the state directory].
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    database_url: Option<String>,
    /// File that holds the URL of the database, in place of --database-url.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    database_url_file: Option<PathBuf>,
    /// Bus of a cluster, `redis://…` or `rediss://…` [default: none].
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_url: Option<String>,
    /// File that holds the URL of the bus, in place of --redis-url.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_url_file: Option<PathBuf>,
    /// Authorities that vouch for Redis, PEM [default: those of the system].
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_ca: Option<PathBuf>,
    /// Secret that all nodes share, hex [default: one in the state directory].
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_key: Option<PathBuf>,
    /// Directory of firmware files, shared by all nodes [default: one in the state directory].
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    firmware_dir: Option<PathBuf>,
    /// Address for devices behind a load balancer with PROXY v2 [default: none].
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_listen: Option<SocketAddr>,
    /// A network of load balancers, as 10.0.0.0/8; may be repeated.
    #[arg(long = "proxy-source", value_name = "NET")]
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_sources: Option<Vec<String>>,
    /// Address of the probes [default: 127.0.0.1:4081].
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_listen: Option<SocketAddr>,
    /// TLS handshakes taken a second [default: 1000].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    handshakes_per_second: Option<u32>,
    /// Seconds a stopping node goes on accepting [default: 15].
    #[arg(long, value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lb_grace_s: Option<u32>,
    /// Seconds over which a stopping node sends its devices away [default: 120].
    #[arg(long, value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_window_s: Option<u32>,
    /// Send devices to other nodes while this one holds more than its share.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    rebalance: Option<bool>,
    /// Devices a node may hold in any case [default: 1000].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    rebalance_absolute: Option<u32>,
    /// Percent of the mean that a node may hold [default: 110].
    #[arg(long, value_name = "PERCENT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    rebalance_relative_percent: Option<u32>,
    /// Devices a node sends to others a second [default: 50].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    rebalance_per_second: Option<u32>,
    /// Address where other nodes ask this one [default: none].
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_listen: Option<SocketAddr>,
    /// How other nodes reach that address, host:port [default: the same].
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_address: Option<String>,
    /// Certificate chain that nodes show each other, PEM.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_key: Option<PathBuf>,
    /// Authorities that vouch for nodes, PEM.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_ca: Option<PathBuf>,
    /// Log filter [default: info].
    #[arg(long, value_name = "FILTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    /// Log lines as JSON.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log_json: Option<bool>,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} problem(s)", self.0.len())?;
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl Config {
    /// Reads all sources and checks the result.
    ///
    /// # Errors
    /// Every problem that was found.
    pub fn load(flags: &ConfigFlags) -> Result<Self, ConfigError> {
        let figment = Self::sources(flags)?;
        let (config, mut problems) = Self::sift(&figment)?;
        if let Err(ConfigError(more)) = config.check() {
            // A key that could not be read has its default here, of which nobody wants to hear.
            let read = |text: &String| {
                let key = text.split(':').next();
                !problems
                    .iter()
                    .any(|problem| problem.split(':').next() == key)
            };
            let more: Vec<_> = more.into_iter().filter(read).collect();
            problems.extend(more);
        }
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(problems))
        }
    }

    /// Reads all sources without checking files and addresses: enough for commands that only need the state directory.
    ///
    /// # Errors
    /// Sources that cannot be read, unknown keys, values of the wrong type.
    pub fn read(flags: &ConfigFlags) -> Result<Self, ConfigError> {
        let (config, problems) = Self::sift(&Self::sources(flags)?)?;
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(problems))
        }
    }

    fn sources(flags: &ConfigFlags) -> Result<Figment, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = &flags.config {
            if !file.is_file() {
                return Err(ConfigError(vec![format!(
                    "{}: no such file",
                    file.display()
                )]));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        Ok(figment
            .merge(Env::prefixed("HUB_").ignore(NOT_KEYS))
            .merge(Serialized::defaults(flags)))
    }

    /// Takes the keys one by one, because the deserializer stops at the first problem: what is good, and what is wrong with the rest.
    fn sift(figment: &Figment) -> Result<(Self, Vec<String>), ConfigError> {
        let unreadable = |error: figment::Error| {
            ConfigError(error.into_iter().map(|error| error.to_string()).collect())
        };
        let values: Dict = figment.extract().map_err(unreadable)?;
        let (mut config, mut problems) = (Self::default(), Vec::new());
        for (key, value) in values {
            let from = origin(figment, &value);
            let with = Figment::from(Serialized::defaults(&config)).merge((key.as_str(), value));
            match with.extract::<Self>() {
                Ok(better) => config = better,
                Err(error) => problems.extend(error.into_iter().map(|error| {
                    if matches!(error.kind, figment::error::Kind::UnknownField(..)) {
                        format!("{key}: no such key{from}")
                    } else {
                        format!("{key}: {}{from}", error.kind)
                    }
                })),
            }
        }
        config.take_secrets(&mut problems);
        Ok((config, problems))
    }

    /// The database of a hub with one node.
    pub fn database(&self) -> PathBuf {
        self.state_dir.join("hub.db")
    }
}

/// Where a value came from, for people.
fn origin(figment: &Figment, value: &Value) -> String {
    let Some(metadata) = figment.get_metadata(value.tag()) else {
        return String::new();
    };
    match &metadata.source {
        Some(source) => format!(", in {source}"),
        None => format!(", in {}", metadata.name),
    }
}

#[cfg(test)]
mod tests;
