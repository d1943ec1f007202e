//! Commits whose answer is lost: the caller cannot know, asks again under the same key, and there is one command.

use hub_cli::PageOf;
use hub_tests::cluster::{Cluster, Plan};
use hub_tests::tenant::{self, ORG, PRODUCT};
use hub_tests::trials::writer::{Caller, Channel, GROUP, Pace, SHIFT, Writer};
use hub_tests::wait::{self, PATIENCE};
use tokio_util::sync::CancellationToken;

/// Answers to lose.
const CUTS: u32 = 60;
/// One commit in so many loses its answer.
const ONE_IN: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_never_makes_two_commands() -> anyhow::Result<()> {
    let plan = Plan {
        cut_commits: true,
        ..Plan::default()
    };
    let cluster = Cluster::start(plan).await?;
    let names: Vec<String> = (0..3).map(|number| format!("d{number}")).collect();
    for name in &names {
        cluster.device(name).await?;
    }
    let api = &cluster.nodes[0].api;
    tenant::group(api, GROUP, 0, &["d0", "d1", "d2"]).await?;
    tenant::group(api, SHIFT, 1, &[]).await?;
    let apis: Vec<String> = cluster.nodes.iter().map(|node| node.api_url()).collect();
    let caller = Caller::new(&apis, &cluster.token)?;
    let cutter = cluster.cutter.as_ref().unwrap();
    cutter.cut_one_in(ONE_IN);
    let pace = Pace {
        pause_ms_max: 20,
        at_once_one_in: 2,
        reboots: true,
    };
    let enough = CancellationToken::new();
    let channels = [
        vec![Channel::Group],
        vec![Channel::Device(0), Channel::Device(1)],
    ];
    let writers = channels.map(|channels| {
        let writer = Writer::new(&caller, &names, channels, pace, rand::random());
        tokio::spawn(writer.run(enough.clone()))
    });
    wait::until("enough lost answers", PATIENCE * 4, async || {
        (cutter.cuts() >= CUTS).then_some(())
    })
    .await?;
    enough.cancel();
    let mut accepted = 0;
    for writer in writers {
        accepted += writer.await??.len();
    }
    cutter.cut_one_in(0);
    let stored = cluster
        .postgres
        .sql("hub", "SELECT count(*) FROM command")?;
    println!(
        "commits {}, lost answers {}, calls repeated {}, accepted {accepted}, stored {stored}",
        cutter.commits(),
        cutter.cuts(),
        caller.repeated()
    );
    assert_eq!(stored, accepted.to_string());
    // and the nodes are none the worse
    let members = api.members(ORG, PRODUCT, GROUP, &PageOf::default()).await?;
    assert_eq!(members.items.len(), 3);
    Ok(())
}
