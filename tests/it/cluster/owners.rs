//! One owner per device: takeovers, freezes, deaths, clones; and that presence is right again after each.

use std::time::{Duration, Instant};

use hub_tests::cluster::{Cluster, Plan};
use hub_tests::raw_ws::Received;
use hub_tests::wait::{self, PATIENCE};
use serde_json::json;

use super::crew::{
    CONVERGED_WITHIN, all_up, bus_is, command_device, connect, join_as, joined, present,
};
use crate::acts;

#[tokio::test]
async fn an_old_socket_closes_when_its_device_joins_elsewhere() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Plan::default()).await?;
    let mut device = joined(&cluster, "d", 0).await?;
    all_up(&cluster).await?;
    // with the bus
    let mut second = join_as(&cluster, &device.leaf, cluster.front(1)).await?;
    let reason = device.seat.socket.expect_close(4409, PATIENCE).await?;
    assert_eq!(reason, "superseded");
    present(&cluster.nodes[2].api, &[("d", "node-2")], PATIENCE).await?;
    // without: the notice in the database is found
    cluster.redis.kill()?;
    bus_is(&cluster, 1, false).await?;
    let _third = join_as(&cluster, &device.leaf, cluster.front(2)).await?;
    let asked = Instant::now();
    second.socket.expect_close(4409, PATIENCE).await?;
    assert!(
        asked.elapsed() < Duration::from_secs(6),
        "{:?}",
        asked.elapsed()
    );
    present(&cluster.nodes[0].api, &[("d", "node-3")], PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn a_frozen_node_is_fenced_where_devices_moved_and_keeps_the_rest() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Plan::default()).await?;
    let mut moved = joined(&cluster, "moved", 0).await?;
    let mut stayed = joined(&cluster, "stayed", 0).await?;
    all_up(&cluster).await?;
    let given = command_device(&cluster.nodes[1].api, "moved", "blink").await?;
    moved.seat.socket.expect_push("blink", PATIENCE).await?;
    cluster.nodes[0].program()?.freeze()?;
    // what the device says now waits in the frozen node's sockets
    let result = json!({ "id": given, "status": "failed" });
    moved.seat.says("command_result", result).await?;
    let mut again = join_as(&cluster, &moved.leaf, cluster.front(1)).await?;
    let push = again.socket.expect_push("blink", PATIENCE).await?;
    let result = json!({ "id": push.payload["id"], "status": "succeeded" });
    again.reports("command_result", result).await?;
    // long enough that the others say that it is gone
    present(
        &cluster.nodes[1].api,
        &[("moved", "node-2")],
        CONVERGED_WITHIN,
    )
    .await?;
    cluster.nodes[0].program()?.thaw()?;
    moved
        .seat
        .socket
        .expect_close(4409, CONVERGED_WITHIN)
        .await?;
    present(
        &cluster.nodes[1].api,
        &[("moved", "node-2"), ("stayed", "node-1")],
        CONVERGED_WITHIN,
    )
    .await?;
    // its socket was never closed, and works
    command_device(&cluster.nodes[2].api, "stayed", "blink").await?;
    stayed.seat.obeys("blink").await?;
    // the older generation's report changed nothing
    let executions = super::crew::executions(&cluster.nodes[1].api, given).await?;
    assert_eq!(
        executions[0].state,
        hub_proto::api::ExecutionState::Succeeded
    );
    Ok(())
}

#[tokio::test]
async fn a_dead_nodes_devices_are_not_shown_and_come_back_elsewhere() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Plan::default()).await?;
    let device = joined(&cluster, "d", 0).await?;
    let _other = joined(&cluster, "gone", 0).await?;
    all_up(&cluster).await?;
    cluster.nodes[0].kill()?;
    let _back = join_as(&cluster, &device.leaf, cluster.front(1)).await?;
    present(&cluster.nodes[2].api, &[("d", "node-2")], CONVERGED_WITHIN).await?;
    // the dead node comes back as itself
    cluster.start_again(0).await?;
    let _third = join_as(&cluster, &device.leaf, cluster.front(0)).await?;
    present(&cluster.nodes[2].api, &[("d", "node-1")], PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn a_clone_cannot_take_a_living_device_again_and_again() -> anyhow::Result<()> {
    let cluster = Cluster::start(Plan::default()).await?;
    let device = joined(&cluster, "d", 0).await?;
    all_up(&cluster).await?;
    let mut holder = device.seat.socket;
    // each takes the device from the other, node by node, until the holder is asked
    for turn in 1..=5 {
        let next = join_as(&cluster, &device.leaf, cluster.front(turn % 3))
            .await?
            .socket;
        holder.expect_close(4409, PATIENCE).await?;
        holder = next;
    }
    // a living holder answers its ping and stays
    let mut newcomer = connect(&cluster, &device.leaf, cluster.front(0)).await?;
    let (reply, ()) = tokio::try_join!(
        newcomer.join("device", acts::acking(), PATIENCE),
        pongs(&mut holder)
    )?;
    assert_eq!(reply.status(), Some("error"), "{reply:?}");
    assert_eq!(reply.response()["reason"], "duplicate_identity");
    assert!(reply.response()["retry_after_ms"].as_u64() > Some(200_000));
    // a silent one loses: the network ate it
    holder.hold_pongs(true);
    let mut honest = connect(&cluster, &device.leaf, cluster.front(1)).await?;
    let reply = honest.join("device", acts::acking(), PATIENCE).await?;
    assert_eq!(reply.status(), Some("ok"), "{reply:?}");
    present(&cluster.nodes[2].api, &[("d", "node-2")], PATIENCE).await?;
    Ok(())
}

/// Reads until a ping came, which is answered by reading it.
async fn pongs(socket: &mut hub_tests::raw_ws::RawWs) -> anyhow::Result<()> {
    wait::within("a ping", PATIENCE, async {
        loop {
            if matches!(socket.next(PATIENCE).await?, Received::Ping(_)) {
                return Ok(());
            }
        }
    })
    .await
}
