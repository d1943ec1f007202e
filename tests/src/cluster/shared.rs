//! What the nodes of a cluster share, and the configuration of each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use hub_node::Config;
use hub_servers::Redis;

use super::{NODES_MAX, Plan};
use crate::netns::Namespaces;
use crate::pki::Authority;
use crate::ports;

/// What the nodes share.
pub(super) struct Shared {
    dir: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    cluster_key: PathBuf,
    peer: (PathBuf, PathBuf),
    peer_ca: PathBuf,
    firmware_dir: PathBuf,
    database_url: String,
    redis_url: String,
}

impl Shared {
    pub(super) fn make(
        dir: &Path,
        root: &Authority,
        database_url: &str,
        redis: &Redis,
    ) -> anyhow::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let (certificate, key) = root.server()?.write(dir, "server")?;
        let peers = Authority::root("peers")?;
        let addresses: Vec<IpAddr> = (0..NODES_MAX).map(Namespaces::address).collect();
        let peer = peers.node(&addresses)?.write(dir, "peer")?;
        let peer_ca = dir.join("peer-ca.pem");
        std::fs::write(&peer_ca, peers.pem())?;
        let cluster_key = dir.join("cluster.key");
        let secret: [u8; 32] = rand::random();
        let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&cluster_key)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        let firmware_dir = dir.join("shared");
        std::fs::create_dir(&firmware_dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            certificate,
            key,
            cluster_key,
            peer,
            peer_ca,
            firmware_dir,
            database_url: database_url.to_owned(),
            redis_url: redis.url(),
        })
    }

    pub(super) fn node(&self, number: usize, plan: &Plan) -> anyhow::Result<Config> {
        let [device, api, admin, proxy, peer] = ports::free()?;
        let host = match &plan.apart {
            Some(_) => Namespaces::address(number - 1),
            None => Ipv4Addr::LOCALHOST.into(),
        };
        let at = |port| SocketAddr::from((host, port));
        let node_name = format!("node-{number}");
        let state_dir = self.dir.join(&node_name);
        std::fs::create_dir(&state_dir)?;
        Ok(Config {
            node_name,
            state_dir,
            device_listen: at(device),
            device_certificate: self.certificate.clone(),
            device_key: self.key.clone(),
            device_url: format!("https://{}", at(device)),
            api_listen: at(api),
            admin_listen: at(admin),
            proxy_listen: plan.balanced.then(|| at(proxy)),
            api_plain: true,
            peer_listen: Some(at(peer)),
            peer_certificate: Some(self.peer.0.clone()),
            peer_key: Some(self.peer.1.clone()),
            peer_ca: Some(self.peer_ca.clone()),
            cluster_key: Some(self.cluster_key.clone()),
            firmware_dir: Some(self.firmware_dir.clone()),
            database_url: self.database_url.clone(),
            redis_url: self.redis_url.clone(),
            lb_grace_s: plan.lb_grace_s,
            drain_window_s: plan.drain_window_s,
            ..Config::default()
        })
    }
}
