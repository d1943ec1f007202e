//! A node that joins late gets its share of the devices.

use hub_cli::{Client, ClientOptions};
use hub_node::store::records::Role;
use hub_node::token;
use hub_proto::api::{ExecutionState, NodesRebalance};
use hub_proto::id::CommandId;
use hub_tests::cluster::{Cluster, Plan, disconnects};
use hub_tests::reference::Reference;
use hub_tests::tenant;
use hub_tests::wait::{self, PATIENCE};

use super::crew::{command_group, connections, executions};

const DEVICES: usize = 24;

/// A client that may ask for nodes.
async fn root(cluster: &Cluster) -> anyhow::Result<Client> {
    let config = cluster.nodes[0].config();
    let name = "root".parse()?;
    let token = token::mint(config, None, Role::Admin, &name, None).await?;
    Ok(Client::new(&ClientOptions {
        url: cluster.nodes[0].api_url(),
        token,
        ca_pem: None,
    })?)
}

async fn held(api: &Client, node: &str) -> usize {
    let all = connections(api).await.unwrap_or_default();
    all.iter()
        .filter(|connection| &*connection.node == node)
        .count()
}

/// Whether a command has succeeded on every device.
async fn done(api: &Client, id: CommandId) -> Option<()> {
    let all = executions(api, id).await.ok()?;
    let succeeded = all
        .iter()
        .filter(|one| one.state == ExecutionState::Succeeded)
        .count();
    (succeeded == DEVICES).then_some(())
}

/// Devices that were sent to another node; no socket may have ended in another way.
async fn moved(cluster: &Cluster) -> anyhow::Result<u64> {
    let mut moved = 0;
    for node in &cluster.nodes {
        for (reason, count) in disconnects(&node.metrics().await?)? {
            match reason.as_str() {
                "rebalance" => moved += count,
                _ => assert_eq!(count, 0, "{}: {reason}", node.name),
            }
        }
    }
    Ok(moved)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_late_gets_its_share_and_nothing_is_lost() -> anyhow::Result<()> {
    let plan = Plan {
        balanced: true,
        ..Plan::default()
    };
    let mut cluster = Cluster::start(plan).await?;
    cluster.nodes[2].stop().await?;
    let names: Vec<String> = (0..DEVICES).map(|number| format!("d{number}")).collect();
    let mut fleet: Vec<(hub_tests::reference::Setup, Reference)> = Vec::new();
    for name in &names {
        let setup = cluster.reference(name, 0).await?;
        let device = setup.start()?;
        fleet.push((setup, device));
    }
    let api = cluster.nodes[0].api.clone();
    let members: Vec<&str> = names.iter().map(String::as_str).collect();
    tenant::group(&api, "fleet", 0, &members).await?;
    wait::until("all devices on two nodes", PATIENCE, async || {
        let both = held(&api, "node-1").await + held(&api, "node-2").await;
        (both == DEVICES).then_some(())
    })
    .await?;
    cluster.start_again(2).await?;
    let root = root(&cluster).await?;
    // nodes know of each other by their leases
    wait::until("the third node, and what all hold", PATIENCE, async || {
        let nodes = root.nodes().await.ok()?.items;
        let sockets: u64 = nodes.iter().map(|node| node.sockets).sum();
        (nodes.len() == 3 && sockets == DEVICES as u64).then_some(())
    })
    .await?;
    assert_eq!(held(&api, "node-3").await, 0, "nobody moves by itself");

    let order = NodesRebalance {
        absolute: Some(1),
        per_second: Some(3),
        ..NodesRebalance::default()
    };
    let plan = root.rebalance(&order).await?;
    // 24 on 3 nodes, and a tenth above
    assert_eq!(plan.threshold, 9);
    let mut commands = Vec::new();
    let level = wait::until("level nodes", PATIENCE * 2, async || {
        commands.push(command_group(&api, "identify").await.ok()?);
        let third = held(&api, "node-3").await;
        let most = held(&api, "node-1").await.max(held(&api, "node-2").await);
        (most <= 9 && third + 2 * most >= DEVICES).then_some(())
    });
    level.await?;
    for id in &commands {
        wait::until("the command on every device", PATIENCE * 2, async || {
            done(&api, *id).await
        })
        .await?;
    }
    // once each, by the devices' own word
    for (setup, _) in &fleet {
        let mut carried_out = setup.effects()?;
        let total = carried_out.len();
        carried_out.sort_unstable();
        carried_out.dedup();
        assert_eq!((total, total), (carried_out.len(), commands.len()));
    }
    let moved = moved(&cluster).await?;
    assert!((6..=12).contains(&moved), "{moved} devices were moved");
    Ok(())
}
