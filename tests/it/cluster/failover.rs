//! Nodes that die or are replaced one after the other: devices are back soon, and nothing is lost.

use std::time::{Duration, Instant};

use hub_device::Window;
use hub_tests::cluster::{Cluster, Plan};
use hub_tests::reference::Reference;
use hub_tests::trials::cluster::{BRISK, Trials, run_these};
use hub_tests::trials::faults::Fault;
use hub_tests::wait::{self, PATIENCE};

use super::crew::{all_up, connections};

/// Devices behind the load balancer.
const DEVICES: usize = 30;
/// The back-off of devices that were told nothing: one second, doubled up to a minute.
const BACK_OFF: Window = Window {
    base: Duration::from_secs(1),
    cap: Duration::from_secs(60),
};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_nodes_devices_are_back_in_half_a_minute() -> anyhow::Result<()> {
    let plan = Plan {
        balanced: true,
        ..Plan::default()
    };
    let mut cluster = Cluster::start(plan).await?;
    all_up(&cluster).await?;
    let mut fleet: Vec<Reference> = Vec::new();
    for number in 0..DEVICES {
        let mut setup = cluster.reference(&format!("d{number}"), 0).await?;
        setup.reconnect = BACK_OFF;
        fleet.push(setup.start()?);
    }
    let on = async |cluster: &Cluster, dead: &str| -> anyhow::Result<(usize, usize)> {
        let shown = connections(&cluster.nodes[0].api).await?;
        let here = shown
            .iter()
            .filter(|connection| &*connection.node == dead)
            .count();
        Ok((here, shown.len() - here))
    };
    wait::until("all devices", PATIENCE, async || {
        let (here, elsewhere) = on(&cluster, "node-3").await.ok()?;
        (here + elsewhere == DEVICES).then_some(())
    })
    .await?;
    let (lost, _) = on(&cluster, "node-3").await?;
    assert!(lost >= 5, "node 3 holds {lost}");
    cluster.nodes[2].kill()?;
    let killed = Instant::now();
    wait::until(
        "all devices elsewhere",
        Duration::from_secs(60),
        async || {
            let (_, elsewhere) = on(&cluster, "node-3").await.ok()?;
            (elsewhere == DEVICES).then_some(())
        },
    )
    .await?;
    println!(
        "{lost} devices of a dead node were back after {:?}",
        killed.elapsed()
    );
    assert!(
        killed.elapsed() < Duration::from_secs(30),
        "{:?}",
        killed.elapsed()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_loses_nothing() -> anyhow::Result<()> {
    let trials = Trials {
        trials: 3,
        commands: 0,
        seed: rand::random(),
        devices: 9,
        pace: BRISK,
        nodes: 3,
        apart: None,
        program: None,
    };
    let rolling = (0..3).map(|node| vec![Fault::StopNode(node)]).collect();
    let outcome = run_these(trials, rolling, |_, _| {}).await?;
    println!("{}", outcome.to_json());
    outcome.verdict.assert_clean();
    assert!(
        outcome.wrong_presence.is_empty(),
        "{:#?}",
        outcome.wrong_presence
    );
    Ok(())
}
