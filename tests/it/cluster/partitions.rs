//! Two nodes in two network namespaces, cut from each other, from Redis, from Postgres and from their devices.
//!
//! Where there may be no namespaces the tests say so and pass: they need root, `ip` and `iptables`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hub_tests::cluster::{Cluster, Plan};
use hub_tests::netns::{Link, Namespaces, Way};
use hub_tests::trials::cluster::{CALM, Trials, run_these};
use hub_tests::trials::faults::{Fault, Kind};
use hub_tests::wait::{self, PATIENCE};

use super::crew::connections;

/// How long each cut lasts.
const CUT: Duration = Duration::from_secs(6);
/// Devices behind the load balancer.
const DEVICES: usize = 6;

/// Runs a test in namespaces of its own; threads of its runtime are all in the middle one.
fn apart<F: Future<Output = anyhow::Result<()>>>(
    test: impl FnOnce(Arc<Namespaces>) -> F,
) -> anyhow::Result<()> {
    if let Err(reason) = Namespaces::possible() {
        {
            // nobody may think that it ran
            let text = format!("skipped: {reason:#}\n");
            std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())?;
        }
        return Ok(());
    }
    let spaces = Arc::new(Namespaces::enter(2)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(test(spaces))
}

#[test]
fn partial_partitions_lose_double_and_invert_nothing() -> anyhow::Result<()> {
    apart(async |spaces| {
        let kinds = [Kind::Nodes, Kind::Redis, Kind::Postgres, Kind::Devices];
        let mut cuts = Vec::new();
        for (number, kind) in kinds.into_iter().enumerate() {
            for way in [Way::Both, Way::Out, Way::In] {
                cuts.push(vec![Fault::Cut(number % 2, kind, way, CUT)]);
            }
        }
        let trials = Trials {
            trials: u32::try_from(cuts.len())?,
            commands: 0,
            seed: rand::random(),
            devices: DEVICES,
            pace: CALM,
            nodes: 2,
            apart: Some(spaces),
            program: None,
        };
        let outcome = run_these(trials, cuts, |_, cut| println!("{cut:?}")).await?;
        println!("{}", outcome.to_json());
        outcome.verdict.assert_clean();
        assert!(
            outcome.wrong_presence.is_empty(),
            "{:#?}",
            outcome.wrong_presence
        );
        Ok(())
    })
}

#[test]
fn a_node_that_is_cut_off_sends_its_devices_away_and_an_outage_for_all_does_not()
-> anyhow::Result<()> {
    apart(async |spaces| {
        let plan = Plan {
            nodes: 2,
            balanced: true,
            apart: Some(spaces.clone()),
            ..Plan::default()
        };
        let cluster = Cluster::start(plan).await?;
        let mut fleet = Vec::new();
        for number in 0..DEVICES {
            fleet.push(cluster.reference(&format!("d{number}"), 0).await?.start()?);
        }
        let shown = async |node: &'static str| {
            let all = connections(&cluster.nodes[1].api).await.unwrap_or_default();
            all.iter()
                .filter(|connection| &*connection.node == node)
                .count()
        };
        wait::until("devices on both", PATIENCE, async || {
            (shown("node-1").await + shown("node-2").await == DEVICES).then_some(())
        })
        .await?;
        let before = shown("node-1").await;
        assert!(before > 0);
        for node in &cluster.nodes {
            wait::until("the node to know the other", PATIENCE, async || {
                (node.ready().await.ok()?.1["other_nodes"] == 1).then_some(())
            })
            .await?;
        }

        // for everybody: every socket is held, and both stay ready
        cluster.postgres.freeze()?;
        let frozen = Instant::now();
        while frozen.elapsed() < Duration::from_secs(40) {
            for node in &cluster.nodes {
                assert_eq!(node.ready().await?.0, 200);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        cluster.postgres.thaw()?;
        assert_eq!(cluster.nodes[0].ready().await?.1["sockets"], before);

        // for one: it says so, and its devices go elsewhere
        wait::until("the database", PATIENCE, async || {
            let (_, body) = cluster.nodes[0].ready().await.ok()?;
            (body["database"]["state"] == "here").then_some(())
        })
        .await?;
        spaces.cut(0, Link::Server(cluster.postgres.port()), Way::Both)?;
        wait::until("the isolated node to say so", PATIENCE * 3, async || {
            let (status, body) = cluster.nodes[0].ready().await.ok()?;
            (status == 503 && body["status"] == "isolated").then_some(())
        })
        .await?;
        wait::until("all devices elsewhere", PATIENCE * 2, async || {
            (shown("node-2").await == DEVICES).then_some(())
        })
        .await?;
        spaces.heal(0)?;
        wait::until("the node to be ready again", PATIENCE * 2, async || {
            (cluster.nodes[0].ready().await.ok()?.0 == 200).then_some(())
        })
        .await?;
        Ok(())
    })
}
