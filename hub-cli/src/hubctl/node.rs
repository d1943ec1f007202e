//! `hubctl node`: the nodes of the cluster, and levelling them.

use crate::Failure;
use crate::args::{NodeCommand, RebalanceArgs};
use crate::output::{NODE, Output, PLAN};
use hub_cli::Client;
use hub_proto::api::{NodesRebalance, Page, RebalancePlan};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// How often a wait looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a wait takes at most where the order does not say how long it lasts.
const PATIENCE_S: u32 = 600;

pub(crate) async fn node(
    client: &Client,
    output: &Output,
    command: NodeCommand,
) -> Result<(), Failure> {
    match command {
        NodeCommand::List => output.list(client.nodes().await?, NODE),
        NodeCommand::Rebalance(args) => rebalance(client, output, args).await,
    }
}

async fn rebalance(client: &Client, output: &Output, args: RebalanceArgs) -> Result<(), Failure> {
    let mut order = NodesRebalance {
        absolute: args.absolute,
        relative_percent: args.relative_percent,
        per_second: args.per_second,
        for_s: args.for_s,
        dry_run: args.dry_run,
    };
    let mut plan = client.rebalance(&order).await?;
    if args.wait {
        order.dry_run = true;
        let patience = order.for_s.unwrap_or(PATIENCE_S);
        let deadline = Instant::now() + Duration::from_secs(patience.into());
        plan = level(client, &order, plan, deadline).await?;
    }
    let page = Page {
        items: plan.nodes,
        next_cursor: None,
    };
    output.list(page, PLAN)
}

/// Waits until no node is above its share.
async fn level(
    client: &Client,
    order: &NodesRebalance,
    mut plan: RebalancePlan,
    deadline: Instant,
) -> Result<RebalancePlan, Failure> {
    let total = excess(&plan);
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} devices moved  {elapsed}")
    {
        bar.set_style(style);
    }
    while excess(&plan) > 0 {
        if Instant::now() > deadline {
            bar.abandon();
            let left = excess(&plan);
            return Err(Failure::Usage(format!(
                "{left} devices are still where they were; is a load balancer sending them back? Look at hubctl node list"
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        plan = client.rebalance(order).await?;
        bar.set_position(total.saturating_sub(excess(&plan)));
    }
    bar.finish_and_clear();
    Ok(plan)
}

fn excess(plan: &RebalancePlan) -> u64 {
    plan.nodes.iter().map(|node| node.sends_away).sum()
}
