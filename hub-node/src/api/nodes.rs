//! Nodes of the cluster, and levelling them.

use std::time::Duration;

use super::ApiState;
use super::problem::{Answer, Refused};
use super::read::Json;
use super::scope::Root;
use crate::store::cluster::NodeRow;
use axum::extract::State;
use hub_core::limits::{
    REBALANCE_LASTS, REBALANCE_LASTS_MAX, REBALANCE_PER_SECOND_MAX, REBALANCE_RELATIVE_PERCENT_MAX,
};
use hub_core::rebalance::Rules;
use hub_proto::api::{Node, NodePlan, NodeState, NodesRebalance, Page, RebalancePlan};
use hub_proto::time::Timestamp;

impl From<NodeRow> for Node {
    fn from(row: NodeRow) -> Self {
        Self {
            name: row.name,
            state: if row.load.ready {
                NodeState::Ready
            } else {
                NodeState::Draining
            },
            sockets: row.load.sockets,
            started_at: row.started_at,
            lease_until: row.lease_until,
        }
    }
}

/// List the nodes of the cluster. There are never more than fit on one page.
#[utoipa::path(get, path = "/nodes", tag = "nodes", security(("bearer" = ["root"])),
    responses((status = 200, description = "the nodes", body = Page<Node>)))]
pub async fn list_nodes(_: Root, State(state): State<ApiState>) -> Answer<axum::Json<Page<Node>>> {
    let nodes = state.store.nodes().await?;
    Ok(axum::Json(Page {
        items: nodes.into_iter().map(Node::from).collect(),
        next_cursor: None,
    }))
}

/// Level the nodes, for a while: each node hears of it with its next sign of life.
#[utoipa::path(post, path = "/nodes/rebalance", tag = "nodes", security(("bearer" = ["root"])),
    request_body = NodesRebalance,
    responses((status = 200, description = "what is going to be done", body = RebalancePlan)))]
pub async fn rebalance_nodes(
    _: Root,
    State(state): State<ApiState>,
    Json(wanted): Json<NodesRebalance>,
) -> Answer<axum::Json<RebalancePlan>> {
    let (rules, lasting) = checked(&wanted)?;
    let nodes = state.store.nodes().await?;
    let until = if wanted.dry_run {
        None
    } else {
        Some(state.store.order_rebalance(rules, lasting).await?)
    };
    Ok(axum::Json(plan(&nodes, rules, until)))
}

fn checked(wanted: &NodesRebalance) -> Answer<(Rules, Duration)> {
    let usual = Rules::default();
    let rules = Rules {
        absolute: wanted.absolute.unwrap_or(usual.absolute),
        relative_percent: wanted.relative_percent.unwrap_or(usual.relative_percent),
        per_second: wanted.per_second.unwrap_or(usual.per_second),
    };
    let within = |pointer, value: u32, least: u32, most: u32| {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        let text = format!("must be from {least} to {most}");
        Err(Refused::field(pointer, text))
    };
    let most = REBALANCE_RELATIVE_PERCENT_MAX;
    within("/relative_percent", rules.relative_percent, 100, most)?;
    within("/per_second", rules.per_second, 1, REBALANCE_PER_SECOND_MAX)?;
    let most = u32::try_from(REBALANCE_LASTS_MAX.as_secs()).unwrap_or(u32::MAX);
    within("/for_s", wanted.for_s.unwrap_or_default(), 0, most)?;
    let lasting = wanted.for_s.map(|s| Duration::from_secs(s.into()));
    Ok((rules, lasting.unwrap_or(REBALANCE_LASTS)))
}

/// What nodes do by these rules, as far as what they hold is known. Those that drain are no part of it.
fn plan(nodes: &[NodeRow], rules: Rules, until: Option<Timestamp>) -> RebalancePlan {
    let ready = || nodes.iter().filter(|node| node.load.ready);
    let total = ready().map(|node| node.load.sockets).sum();
    let threshold = rules.threshold(total, ready().count() as u64);
    let nodes = ready().map(|node| NodePlan {
        name: node.name.clone(),
        sockets: node.load.sockets,
        sends_away: node.load.sockets.saturating_sub(threshold),
    });
    RebalancePlan {
        threshold,
        until,
        nodes: nodes.collect(),
    }
}
