//! The ports of a node, bound before anything else starts: a port that is taken is the most frequent mistake.

use std::io;
use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::TcpListener;

use crate::config::Config;

/// What a node listens on.
pub(super) struct Ports {
    pub(super) device: TcpListener,
    pub(super) api: TcpListener,
    pub(super) admin: TcpListener,
    pub(super) proxy: Option<TcpListener>,
    pub(super) peers: Option<TcpListener>,
}

/// Where they are, with the numbers that were bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) device: SocketAddr,
    pub(super) api: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) proxy: Option<SocketAddr>,
}

impl Ports {
    pub(super) async fn bind(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            device: bind(config.device_listen, "device_listen").await?,
            api: bind(config.api_listen, "api_listen").await?,
            admin: bind(config.admin_listen, "admin_listen").await?,
            proxy: bind_some(config.proxy_listen, "proxy_listen").await?,
            peers: bind_some(config.peer_listen, "peer_listen").await?,
        })
    }

    pub(super) fn addresses(&self) -> io::Result<Addresses> {
        let proxy = self.proxy.as_ref().map(TcpListener::local_addr);
        Ok(Addresses {
            device: self.device.local_addr()?,
            api: self.api.local_addr()?,
            admin: self.admin.local_addr()?,
            proxy: proxy.transpose()?,
        })
    }
}

async fn bind_some(addr: Option<SocketAddr>, key: &str) -> anyhow::Result<Option<TcpListener>> {
    match addr {
        Some(addr) => bind(addr, key).await.map(Some),
        None => Ok(None),
    }
}

async fn bind(addr: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr)
        .await
        .with_context(|| format!("{key}: cannot listen on {addr}; is another hub running?"))
}
