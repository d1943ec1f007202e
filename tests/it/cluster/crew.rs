//! Devices on the nodes of a cluster, and what operators do to them, one line each.

use std::net::SocketAddr;
use std::time::Duration;

use hub_cli::{Client, PageOf};
use hub_proto::api::{CommandCreate, Connection, Execution, TargetSet};
use hub_proto::id::CommandId;
use hub_tests::cluster::Cluster;
use hub_tests::pki::Leaf;
use hub_tests::raw_ws::{Message, RawWs};
use hub_tests::tenant::{ORG, PRODUCT};
use hub_tests::tls::{TlsDialer, Version};
use hub_tests::wait::{self, PATIENCE};
use serde_json::{Value, json};

use crate::acts;

/// How long presence may take to be right again after any fault: a lease, and those who look for it.
pub(super) const CONVERGED_WITHIN: Duration = Duration::from_secs(45);

/// A socket that has joined the device channel.
pub(super) struct Seat {
    pub(super) socket: RawWs,
    join_ref: Value,
}

/// A device with its seat.
pub(super) struct Joined {
    pub(super) name: String,
    pub(super) leaf: Leaf,
    pub(super) seat: Seat,
}

/// A new device that joins on this node.
pub(super) async fn joined(cluster: &Cluster, name: &str, node: usize) -> anyhow::Result<Joined> {
    let leaf = cluster.device(name).await?;
    let seat = join_as(cluster, &leaf, cluster.front(node)).await?;
    Ok(Joined {
        name: name.to_owned(),
        leaf,
        seat,
    })
}

/// Connects and joins as the device of this certificate.
pub(super) async fn join_as(
    cluster: &Cluster,
    leaf: &Leaf,
    address: SocketAddr,
) -> anyhow::Result<Seat> {
    let mut socket = connect(cluster, leaf, address).await?;
    let reply = socket.join("device", acts::acking(), PATIENCE).await?;
    anyhow::ensure!(reply.status() == Some("ok"), "{reply:?}");
    Ok(Seat {
        socket,
        join_ref: reply.join_ref,
    })
}

/// Connects as the device of this certificate.
pub(super) async fn connect(
    cluster: &Cluster,
    leaf: &Leaf,
    address: SocketAddr,
) -> anyhow::Result<RawWs> {
    let dialer = TlsDialer::new(cluster.server_root.der(), Some(leaf), Version::Tls13)?;
    RawWs::open(&dialer, address).await
}

impl Seat {
    /// Waits for a command and answers that it succeeded; its id.
    pub(super) async fn obeys(&mut self, command: &str) -> anyhow::Result<CommandId> {
        let push = self.socket.expect_push(command, PATIENCE).await?;
        let id = id_of(&push)?;
        let payload = json!({ "id": id, "status": "succeeded" });
        self.says("command_result", payload).await?;
        Ok(id)
    }

    /// Pushes on the device channel.
    pub(super) async fn says(&mut self, event: &str, payload: Value) -> anyhow::Result<Value> {
        self.socket
            .push(&self.join_ref, "device", event, payload)
            .await
    }

    /// Pushes on the device channel and waits until the hub has it; the reply's status.
    pub(super) async fn reports(&mut self, event: &str, payload: Value) -> anyhow::Result<Message> {
        let reference = self.says(event, payload).await?;
        self.socket
            .expect_reply("device", &reference, PATIENCE)
            .await
    }
}

/// The id of a pushed command.
pub(super) fn id_of(push: &Message) -> anyhow::Result<CommandId> {
    let id = push.payload["id"].as_str().unwrap_or_default();
    Ok(id.parse()?)
}

fn command(name: &str) -> anyhow::Result<CommandCreate> {
    Ok(CommandCreate {
        name: name.parse()?,
        args: None,
        ttl_s: None,
    })
}

/// Gives a command to a group.
pub(super) async fn command_group(api: &Client, name: &str) -> anyhow::Result<CommandId> {
    Ok(api
        .command_group(ORG, PRODUCT, "fleet", &command(name)?)
        .await?
        .id)
}

/// Gives a command to a device.
pub(super) async fn command_device(
    api: &Client,
    device: &str,
    name: &str,
) -> anyhow::Result<CommandId> {
    Ok(api
        .command_device(ORG, PRODUCT, device, &command(name)?)
        .await?
        .id)
}

/// Sets the group's target.
pub(super) async fn target_group(api: &Client, uuid: &str) -> anyhow::Result<()> {
    let target = TargetSet {
        firmware: Some(uuid.parse()?),
        allow_downgrade: true,
    };
    api.target_group(ORG, PRODUCT, "fleet", &target).await?;
    Ok(())
}

/// Who a command is for, and how far it is on each.
pub(super) async fn executions(api: &Client, id: CommandId) -> anyhow::Result<Vec<Execution>> {
    Ok(api.executions(ORG, id, &PageOf::default()).await?.items)
}

/// Every live connection of the org.
pub(super) async fn connections(api: &Client) -> anyhow::Result<Vec<Connection>> {
    Ok(api.connections(ORG, &PageOf::default()).await?.items)
}

/// Waits until exactly these devices are shown as connected, each to its node.
pub(super) async fn present(
    api: &Client,
    wanted: &[(&str, &str)],
    within: Duration,
) -> anyhow::Result<()> {
    let mut wanted: Vec<_> = wanted.to_vec();
    wanted.sort_unstable();
    let mut shown = String::new();
    let right = wait::until("presence", within, async || {
        let connections = connections(api).await.ok()?;
        let mut found: Vec<(&str, &str)> = connections
            .iter()
            .map(|connection| (&*connection.device, &*connection.node))
            .collect();
        found.sort_unstable();
        shown = format!("{found:?}");
        (found == wanted).then_some(())
    });
    right
        .await
        .map_err(|error| error.context(format!("shown: {shown}")))
}

/// Waits until a node's bus is, or is not, up.
pub(super) async fn bus_is(cluster: &Cluster, node: usize, up: bool) -> anyhow::Result<Value> {
    wait::until(
        &format!("the bus of node {node}: up {up}"),
        PATIENCE,
        async || {
            let (_, body) = cluster.nodes[node].ready().await.ok()?;
            ((body["bus"]["state"] == "up") == up).then(|| body["bus"].clone())
        },
    )
    .await
}

/// Waits until every node hears all others.
pub(super) async fn all_up(cluster: &Cluster) -> anyhow::Result<()> {
    for node in 0..cluster.nodes.len() {
        bus_is(cluster, node, true).await?;
    }
    Ok(())
}
