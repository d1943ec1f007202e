//! What one node is told reaches the devices of all, at once, in order, and nobody else.

use hub_cli::PageOf;
use hub_proto::api::MembersAdd;
use hub_tests::cluster::{Cluster, Plan};
use hub_tests::tenant::{self, ORG, PRODUCT};
use hub_tests::wait::PATIENCE;

use super::crew::{
    Joined, all_up, command_device, command_group, executions, id_of, joined, target_group,
};

/// A cluster with a device on each node, all members of `fleet`.
async fn fleet() -> anyhow::Result<(Cluster, Vec<Joined>)> {
    let cluster = Cluster::start(Plan::default()).await?;
    let mut devices = Vec::new();
    for node in 0..3 {
        devices.push(joined(&cluster, &format!("d{node}"), node).await?);
    }
    let names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
    tenant::group(&cluster.nodes[0].api, "fleet", 0, &names).await?;
    all_up(&cluster).await?;
    for device in &mut devices {
        device.seat.socket.expect_push("join", PATIENCE).await?;
    }
    Ok((cluster, devices))
}

#[tokio::test]
async fn a_group_command_reaches_members_on_all_nodes_in_order() -> anyhow::Result<()> {
    let (cluster, mut devices) = fleet().await?;
    let mut given = Vec::new();
    for round in 0..30 {
        // through any node's API: order is that of acceptance
        let api = &cluster.nodes[round % 3].api;
        given.push(command_group(api, "blink").await?);
    }
    for device in &mut devices {
        for id in &given {
            let push = device.seat.socket.expect_push("blink", PATIENCE).await?;
            assert_eq!(id_of(&push)?, *id, "{}", device.name);
            let payload = serde_json::json!({ "id": id });
            device.seat.says("command_ack", payload).await?;
        }
    }
    let one = command_device(&cluster.nodes[0].api, "d2", "identify").await?;
    assert_eq!(devices[2].seat.obeys("identify").await?, one);
    Ok(())
}

#[tokio::test]
async fn joins_leaves_and_targets_reach_all_nodes_and_membership_is_exact() -> anyhow::Result<()> {
    let (cluster, mut devices) = fleet().await?;
    let [api, other, third] = [0, 1, 2].map(|node| &cluster.nodes[node].api);
    let mut late = joined(&cluster, "late", 2).await?;
    let before = command_group(api, "first").await?;
    let add = MembersAdd {
        devices: vec!["late".parse()?],
    };
    other.add_members(ORG, PRODUCT, "fleet", &add).await?;
    late.seat.socket.expect_push("join", PATIENCE).await?;
    api.remove_member(ORG, PRODUCT, "fleet", "d1").await?;
    devices[1]
        .seat
        .socket
        .expect_push("leave", PATIENCE)
        .await?;
    let after = command_group(third, "second").await?;
    assert_eq!(late.seat.obeys("second").await?, after);
    for (node, device) in devices.iter_mut().enumerate() {
        assert_eq!(device.seat.obeys("first").await?, before);
        if node != 1 {
            assert_eq!(device.seat.obeys("second").await?, after);
        }
    }
    // what was never for them is not on its way to them either
    for device in [&mut late, &mut devices[1]] {
        let told = device.seat.socket.before_heartbeat(PATIENCE).await?;
        let commands = told
            .iter()
            .filter(|push| ["first", "second"].contains(&&*push.event));
        assert_eq!(commands.count(), 0, "{}: {told:?}", device.name);
    }
    for (id, wanted) in [(before, ["d0", "d1", "d2"]), (after, ["d0", "d2", "late"])] {
        let mut found: Vec<String> = executions(other, id)
            .await?
            .into_iter()
            .map(|execution| execution.device.to_string())
            .collect();
        found.sort_unstable();
        assert_eq!(found, wanted);
    }
    let (_, uuid) =
        tenant::firmware(other, &cluster.signing, cluster.dir.path(), "9.0.0", 1024).await?;
    target_group(third, &uuid).await?;
    devices.push(late);
    for device in devices.iter_mut().filter(|device| device.name != "d1") {
        let offer = device
            .seat
            .socket
            .expect_push("firmware_update", PATIENCE)
            .await?;
        assert_eq!(offer.payload["uuid"], uuid, "{offer:?}");
    }
    let members = api
        .members(ORG, PRODUCT, "fleet", &PageOf::default())
        .await?;
    assert_eq!(members.items.len(), 3);
    Ok(())
}
