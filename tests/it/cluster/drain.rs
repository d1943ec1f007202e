//! Behind the load balancer: leaving cleanly, and devices that come back elsewhere.

use std::time::Duration;

use hub_tests::cluster::{Cluster, Plan};
use hub_tests::raw_ws::{RawWs, Received};
use hub_tests::tenant::{ORG, PRODUCT};
use hub_tests::tls::{TlsDialer, Version};
use hub_tests::wait::{self, PATIENCE};

use super::crew::{Joined, all_up, connections, join_as, joined};

/// Devices behind the load balancer.
const DEVICES: usize = 30;

async fn balanced() -> anyhow::Result<(Cluster, Vec<Joined>)> {
    let plan = Plan {
        balanced: true,
        lb_grace_s: 2,
        drain_window_s: 3,
        ..Plan::default()
    };
    let cluster = Cluster::start(plan).await?;
    all_up(&cluster).await?;
    let mut devices = Vec::new();
    for number in 0..DEVICES {
        devices.push(joined(&cluster, &format!("d{number}"), 0).await?);
    }
    Ok((cluster, devices))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_closes_every_socket_properly_and_gets_no_new_ones() -> anyhow::Result<()> {
    let (mut cluster, devices) = balanced().await?;
    // the load balancer says whose connections they are, and spreads them
    let shown = connections(&cluster.nodes[0].api).await?;
    assert_eq!(shown.len(), DEVICES);
    for node in ["node-1", "node-2", "node-3"] {
        let here = shown
            .iter()
            .filter(|connection| &*connection.node == node)
            .count();
        assert!((5..=15).contains(&here), "{node} holds {here}");
    }
    let local = devices[0].seat.socket.local_addr()?;
    let first = shown
        .iter()
        .find(|connection| &*connection.device == "d0")
        .unwrap();
    assert_eq!(first.remote.as_deref(), Some(local.to_string().as_str()));
    let of_second: Vec<String> = shown
        .iter()
        .filter(|connection| &*connection.node == "node-2")
        .map(|connection| connection.device.to_string())
        .collect();
    // all its devices, and only those, are told and closed with 1012
    let mut devices = devices;
    let leaving: Vec<Joined> = devices
        .extract_if(.., |device| of_second.contains(&device.name))
        .collect();
    let staying = devices;
    let closes = tokio::spawn(async move {
        let mut back = Vec::new();
        for mut device in leaving {
            let push = device
                .seat
                .socket
                .expect_push("reconnect", PATIENCE)
                .await?;
            anyhow::ensure!(push.payload["after_ms"].is_u64(), "{push:?}");
            device.seat.socket.expect_close(1012, PATIENCE).await?;
            back.push(device);
        }
        Ok(back)
    });
    let front = cluster.front(0);
    let (mut second, mut probes) = (cluster.nodes.remove(1), 0);
    let draining = async {
        second
            .program()?
            .signal(nix::sys::signal::Signal::SIGTERM)?;
        while let Ok((status, body)) = second.ready().await {
            assert_eq!(status, 404, "{body}");
            probes += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        second.program()?.ended(PATIENCE).await
    };
    let status = draining.await?;
    assert!(
        status.success() && probes > 5,
        "{status} after {probes} probes"
    );
    let back = closes.await??;
    for device in back {
        join_as(&cluster, &device.leaf, front).await?;
    }
    let again = connections(&cluster.nodes[0].api).await?;
    assert!(again.iter().all(|connection| &*connection.node != "node-2"));
    for mut device in staying {
        device.seat.socket.before_heartbeat(PATIENCE).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_resumes_on_another_node_and_a_revoked_device_does_not_come_in()
-> anyhow::Result<()> {
    let cluster = Cluster::start(Plan::default()).await?;
    let device = joined(&cluster, "d", 0).await?;
    let dialer = TlsDialer::new(
        cluster.server_root.der(),
        Some(&device.leaf),
        Version::Tls13,
    )?;
    let mut first = RawWs::open(&dialer, cluster.front(0)).await?;
    assert!(!first.resumed());
    // the ticket comes with the first bytes
    first
        .join("device", crate::acts::acking(), PATIENCE)
        .await?;
    let second = RawWs::open(&dialer, cluster.front(1)).await?;
    assert!(second.resumed(), "node 2 opens node 1's ticket");
    cluster.nodes[2]
        .api
        .revoke_device(ORG, PRODUCT, "d")
        .await?;
    wait::until("the revocation", PATIENCE, async || {
        RawWs::open(&dialer, cluster.front(1))
            .await
            .is_err()
            .then_some(())
    })
    .await?;
    let closed = |received: &Received| matches!(received, Received::Close(4401, _));
    wait::until("the live socket's end", PATIENCE, async || {
        let next = first.next(Duration::from_millis(100)).await.ok();
        next.filter(closed).map(drop)
    })
    .await?;
    Ok(())
}
