//! The bus of a cluster: Redis pub/sub.
//!
//! Two connections, because a server may accept one kind of use and refuse the other: one listens ([`listener`]), one publishes
//! ([`publisher`]). Channels are fixed when the node starts: shards for hints, one channel for each node's own notices, one for
//! everybody's beacons; their names hold the database's history, so that hubs that share a server do not hear each other.
//! Whether the bus is heard is [`hub_core::bus_health`]'s to judge, by beacons alone.

mod channels;
mod listener;
mod publisher;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use async_trait::async_trait;
use hub_core::bus_health::BusState;
use hub_core::limits::BUS_HINTS_MAX;
use hub_proto::cluster::{Envelope, Hint, Message, Notice};
use hub_proto::id::Epoch;
use redis::{Client, IntoConnectionInfo as _, TlsCertificates};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{Arrival, Bus, BusError};
use crate::context::wall_clock;
use crate::store::cluster::NodeRun;
use crate::telemetry::metrics::{Metrics, OnBus};
use channels::Channels;
use listener::Listener;
use publisher::{Outgoing, Publisher};

/// What the bus of a node is made of.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// `redis://` or `rediss://`, with user and password if there are any.
    pub url: String,
    /// Authorities that vouch for the server, PEM; those of the system when there is none.
    pub ca: Option<PathBuf>,
    /// This node.
    pub run: NodeRun,
    /// The database's history.
    pub epoch: Epoch,
}

/// A node's part of the bus. It works for as long as this is alive.
#[derive(Debug)]
pub struct RedisBus {
    origin: Arc<str>,
    channels: Channels,
    outgoing: Outgoing,
    inbound: Mutex<Option<mpsc::Receiver<Arrival>>>,
    state: watch::Receiver<BusState>,
    _tasks: JoinSet<()>,
}

impl RedisBus {
    /// Starts connecting; the server need not be there. `peers` are the other nodes that hold a lease.
    ///
    /// # Errors
    /// Settings that make no sense: a URL or a file of authorities that cannot be read. The password is not in the message.
    pub(crate) fn start(
        settings: RedisSettings,
        peers: watch::Receiver<Arc<[NodeRun]>>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let client = client(&settings)?;
        let channels = Channels::new(settings.epoch, &settings.run.name);
        let (outgoing, publisher) = Publisher::new(client.clone(), metrics.clone());
        let (sender, inbound) = mpsc::channel(BUS_HINTS_MAX);
        let (state_sender, state) = watch::channel(BusState::Deaf {
            reason: hub_core::bus_health::Reason::Connecting,
        });
        let listener = Listener {
            client,
            channels: channels.clone(),
            run: settings.run.clone(),
            inbound: sender,
            outgoing: outgoing.clone(),
            state: state_sender,
            metrics,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(publisher.run());
        tasks.spawn(listener.run(peers));
        Ok(Self {
            origin: settings.run.name,
            channels,
            outgoing,
            inbound: Mutex::new(Some(inbound)),
            state,
            _tasks: tasks,
        })
    }
}

#[async_trait]
impl Bus for RedisBus {
    async fn publish(&self, hint: Hint) -> Result<(), BusError> {
        let channel = self.channels.shard(hint.channel);
        let envelope = Envelope::new(&self.origin, hint).at(wall_clock());
        self.outgoing.send(channel, OnBus::Hint, envelope.encode())
    }

    fn notify(&self, node: &str, notice: Notice) -> Result<(), BusError> {
        let envelope = Envelope::new(&self.origin, Message::Notices(vec![notice]));
        let (channel, envelope) = (self.channels.node(node), envelope.at(wall_clock()));
        self.outgoing
            .send(channel, OnBus::Notice, envelope.encode())
    }

    fn system(&self) -> &'static str {
        "redis"
    }

    fn subscribe(&self) -> Option<mpsc::Receiver<Arrival>> {
        self.inbound.lock().ok()?.take()
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.state.clone()
    }
}

fn client(settings: &RedisSettings) -> anyhow::Result<Client> {
    // The library's error may quote the URL, and that may hold a password.
    let info = settings.url.as_str().into_connection_info();
    let info = info
        .ok()
        .context("redis_url: no URL of a Redis server; as redis://host:port or rediss://user:password@host:port")?;
    // what the library would say about itself needs one more permission
    let redis = info.redis_settings().clone().set_skip_set_lib_name();
    let info = info.set_redis_settings(redis);
    let Some(file) = &settings.ca else {
        return Client::open(info).context("redis_url: cannot be used");
    };
    let ca = std::fs::read(file).with_context(|| format!("redis_ca: {}", file.display()))?;
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(ca),
    };
    Client::build_with_tls(info, certificates)
        .context("redis_ca: cannot be used; the URL must start with rediss://")
}
