//! Redis away, Postgres away: what goes on meanwhile, and how soon all is well again.
//!
//! An outage lasts [`outage`], which `HUB_OUTAGE_S` lengthens. Times are judged generously: machines of tests are busy.

use std::time::{Duration, Instant};

use hub_proto::api::ExecutionState;
use hub_servers::postgres::Stop;
use hub_tests::cluster::{Cluster, Plan};
use hub_tests::tenant::{self, ORG, PRODUCT};
use hub_tests::wait::{self, PATIENCE};
use serde_json::json;
use tokio::time::sleep;

use super::crew::{
    Joined, all_up, bus_is, command_device, command_group, connect, executions, id_of, joined,
};
use crate::acts;

/// Shortest outage that shows everything: longer than a lease.
const OUTAGE_S: u64 = 20;

fn outage() -> Duration {
    let given = std::env::var("HUB_OUTAGE_S").ok();
    let seconds = given.and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(OUTAGE_S))
}

/// A cluster with two devices on each node, all in `fleet`.
async fn fleet() -> anyhow::Result<(Cluster, Vec<Joined>)> {
    let cluster = Cluster::start(Plan::default()).await?;
    let mut devices = Vec::new();
    for number in 0..6 {
        devices.push(joined(&cluster, &format!("d{number}"), number % 3).await?);
    }
    let names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
    tenant::group(&cluster.nodes[0].api, "fleet", 0, &names).await?;
    all_up(&cluster).await?;
    for device in &mut devices {
        device.seat.socket.expect_push("join", PATIENCE).await?;
    }
    Ok((cluster, devices))
}

/// Gives group commands at different nodes until `end`; how long each took to reach every member at most.
async fn deliver_until(
    cluster: &Cluster,
    devices: &mut [Joined],
    end: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    while Instant::now() < end || took.is_empty() {
        let given = Instant::now();
        let node = took.len() % 3;
        let id = command_group(&cluster.nodes[node].api, "blink").await?;
        for device in &mut *devices {
            assert_eq!(device.seat.obeys("blink").await?, id, "{}", device.name);
        }
        took.push(given.elapsed());
        sleep(Duration::from_millis(300)).await;
    }
    took.sort_unstable();
    Ok(took)
}

#[expect(
    clippy::print_stdout,
    reason = "the test harness shows it when asked to"
)]
fn report(what: &str, took: &[Duration]) {
    let at = |part: usize| took[(took.len() - 1) * part / 100];
    println!(
        "{what}: {} deliveries, p50 {:?}, p99 {:?}",
        took.len(),
        at(50),
        at(99)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nothing_is_closed_and_everything_arrives() -> anyhow::Result<()> {
    let (mut cluster, mut devices) = fleet().await?;
    cluster.redis.kill()?;
    let took = deliver_until(&cluster, &mut devices, Instant::now() + outage()).await?;
    report("redis away", &took);
    // 1.5 s is the promise
    assert!(
        took[(took.len() - 1) / 2] < Duration::from_secs(3),
        "{took:?}"
    );
    for node in 0..3 {
        let bus = bus_is(&cluster, node, false).await?;
        assert!(bus["reason"].is_string(), "{bus}");
        // and yet it serves
        assert_eq!(cluster.nodes[node].ready().await?.0, 200);
    }
    cluster.redis.start_again().await?;
    let back = Instant::now();
    all_up(&cluster).await?;
    assert!(
        back.elapsed() < Duration::from_secs(12),
        "{:?}",
        back.elapsed()
    );
    // no socket was closed: all are the same, and work
    deliver_until(&cluster, &mut devices, Instant::now()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_node_notices_and_delivers() -> anyhow::Result<()> {
    let (mut cluster, mut devices) = fleet().await?;
    let began = Instant::now();
    cluster.redis.freeze()?;
    bus_is(&cluster, 0, false).await?;
    report("a frozen bus was noticed", &[began.elapsed()]);
    // 3.5 s is the promise
    assert!(
        began.elapsed() < Duration::from_secs(7),
        "{:?}",
        began.elapsed()
    );
    let took = deliver_until(&cluster, &mut devices, Instant::now() + outage() / 2).await?;
    report("redis frozen", &took);
    cluster.redis.thaw()?;
    all_up(&cluster).await?;
    // forgotten is nothing that matters
    cluster.redis.command(&["FLUSHALL"])?;
    // nobody may listen any more
    cluster
        .redis
        .command(&["ACL", "SETUSER", "default", "-subscribe"])?;
    cluster
        .redis
        .command(&["CLIENT", "KILL", "TYPE", "pubsub"])?;
    for node in 0..3 {
        let bus = bus_is(&cluster, node, false).await?;
        assert_eq!(bus["state"], "deaf", "{bus}");
    }
    let took = deliver_until(&cluster, &mut devices, Instant::now() + outage() / 4).await?;
    report("subscribing denied", &took);
    cluster
        .redis
        .command(&["ACL", "SETUSER", "default", "+subscribe"])?;
    all_up(&cluster).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_nobody_heard_of_is_only_late() -> anyhow::Result<()> {
    let (cluster, mut devices) = fleet().await?;
    // what is committed is not published: the same as a crash between the two
    cluster
        .redis
        .command(&["ACL", "SETUSER", "default", "-publish"])?;
    let took = deliver_until(&cluster, &mut devices, Instant::now() + outage() / 2).await?;
    report("publishing denied", &took);
    // 2.5 s is the promise
    assert!(
        took[(took.len() - 1) / 2] < Duration::from_secs(4),
        "{took:?}"
    );
    // and a node that dies right after it answered
    let mut cluster = cluster;
    let id = command_group(&cluster.nodes[2].api, "blink").await?;
    cluster.nodes[2].kill()?;
    for device in devices.iter_mut().enumerate().filter(|(at, _)| at % 3 != 2) {
        assert_eq!(device.1.seat.obeys("blink").await?, id);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_sockets_stay_and_joins_are_answered_on_them() -> anyhow::Result<()> {
    let (cluster, mut devices) = fleet().await?;
    let given = command_device(&cluster.nodes[0].api, "d0", "blink").await?;
    let push = devices[0]
        .seat
        .socket
        .expect_push("blink", PATIENCE)
        .await?;
    assert_eq!(id_of(&push)?, given);
    cluster.postgres.freeze()?;
    let frozen = Instant::now();
    // a report is not acknowledged, and not lost: the device has it
    let done = json!({ "id": given, "status": "succeeded" });
    let refused = devices[0]
        .seat
        .reports("command_result", done.clone())
        .await?;
    assert_eq!(refused.status(), Some("error"), "{refused:?}");
    // who was here may connect, and waits with a socket
    drop(std::mem::replace(
        &mut devices[1].seat.socket,
        placeholder(&cluster).await?,
    ));
    let mut back = wait::until("a socket without the database", PATIENCE, async || {
        connect(&cluster, &devices[1].leaf, cluster.front(1))
            .await
            .ok()
    })
    .await?;
    let mut slowest = Duration::ZERO;
    while frozen.elapsed() < outage() {
        let asked = Instant::now();
        let reply = back.join("device", acts::acking(), PATIENCE).await?;
        slowest = slowest.max(asked.elapsed());
        assert_eq!(reply.response()["reason"], "unavailable", "{reply:?}");
        assert!(reply.response()["retry_after_ms"].as_u64() >= Some(1_000));
        sleep(Duration::from_millis(500)).await;
    }
    report("slowest join answer without postgres", &[slowest]);
    says_that_it_is_away(&cluster).await?;
    cluster.postgres.thaw()?;
    let thawed = Instant::now();
    wait::until("a join", PATIENCE, async || {
        let reply = back.join("device", acts::acking(), PATIENCE).await.ok()?;
        (reply.status() == Some("ok")).then_some(())
    })
    .await?;
    wait::until("a report", PATIENCE, async || {
        let reply = devices[0]
            .seat
            .reports("command_result", done.clone())
            .await
            .ok()?;
        (reply.status() == Some("ok")).then_some(())
    })
    .await?;
    report("joined and reported after the outage", &[thawed.elapsed()]);
    let state = executions(&cluster.nodes[2].api, given).await?;
    assert_eq!(state[0].state, ExecutionState::Succeeded);
    // no socket but the one that was dropped is another one
    devices.remove(1);
    for device in &mut devices {
        command_device(&cluster.nodes[0].api, &device.name, "identify").await?;
        device.seat.obeys("identify").await?;
    }
    Ok(())
}

/// Every node is ready, and says what is away; the API asks callers to come again.
async fn says_that_it_is_away(cluster: &Cluster) -> anyhow::Result<()> {
    for node in &cluster.nodes {
        let (status, body) = node.ready().await?;
        let state = &body["database"]["state"];
        assert_eq!((status, state), (200, &json!("away")), "{body}");
    }
    let refused = cluster.nodes[1].api.device(ORG, PRODUCT, "d0").await;
    let refused = format!("{:?}", refused.unwrap_err());
    assert!(refused.contains("store_unavailable"), "{refused}");
    Ok(())
}

/// Some socket that stands in for one that is dropped.
async fn placeholder(cluster: &Cluster) -> anyhow::Result<hub_tests::raw_ws::RawWs> {
    let dialer = hub_tests::tls::TlsDialer::new(
        cluster.server_root.der(),
        None,
        hub_tests::tls::Version::Tls13,
    )?;
    hub_tests::raw_ws::RawWs::dial(&dialer, cluster.front(2)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_acknowledged_after_their_commit_and_none_is_lost() -> anyhow::Result<()> {
    let (mut cluster, mut devices) = fleet().await?;
    let mut given = Vec::new();
    for round in 0..10 {
        given.push(command_group(&cluster.nodes[round % 3].api, "blink").await?);
    }
    for (number, device) in devices.iter_mut().enumerate() {
        for (round, id) in given.iter().enumerate() {
            device.seat.socket.expect_push("blink", PATIENCE).await?;
            if (number, round) == (2, 5) {
                cluster.postgres.restart(Stop::Immediate).await?;
            }
            let done = json!({ "id": id, "status": "succeeded" });
            wait::until("an acknowledgement", PATIENCE * 2, async || {
                let reply = device
                    .seat
                    .reports("command_result", done.clone())
                    .await
                    .ok()?;
                if reply.status() != Some("ok") {
                    sleep(Duration::from_millis(100)).await;
                }
                (reply.status() == Some("ok")).then_some(())
            })
            .await?;
        }
    }
    // whatever was acknowledged survives another crash
    cluster.postgres.restart(Stop::Immediate).await?;
    for id in given {
        let executions = wait::until("an answer", PATIENCE, async || {
            executions(&cluster.nodes[0].api, id).await.ok()
        })
        .await?;
        assert_eq!(executions.len(), 6);
        assert!(
            executions
                .iter()
                .all(|one| one.state == ExecutionState::Succeeded),
            "{executions:?}"
        );
    }
    Ok(())
}
