//! What a real Prometheus makes of the nodes' metrics: every panel of the dashboard and every alert has something to look at.

use std::collections::BTreeMap;
use std::path::Path;

use hub_servers::Prometheus;
use hub_tests::cluster::{Cluster, Plan};
use hub_tests::raw_ws::Received;
use hub_tests::tenant::{self, ORG, PRODUCT};
use hub_tests::wait::{self, PATIENCE};
use mock_collector::{MockServer, Protocol};
use serde_json::{Value, json};

use super::crew::{Joined, all_up, join_as, joined};

const RULES: &str = "deploy/prometheus/rules/hub-node.rules.yml";
const DASHBOARD: &str = "deploy/grafana/dashboards/hub-node.json";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn read(path: &str) -> anyhow::Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    Ok(std::fs::read_to_string(root.join(path))?)
}

/// Every query of every panel, for all nodes, over the last half minute.
fn panels() -> anyhow::Result<BTreeMap<String, String>> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)?)?;
    let mut all = BTreeMap::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            let query = query
                .replace("$namespace", ".*")
                .replace("$instance", ".*")
                .replace("$__rate_interval", "30s");
            let name = format!("{} {}", panel["title"], target["refId"]);
            all.insert(name, query);
        }
    }
    Ok(all)
}

/// Every alert, as the number that says whether it fires: there is one when what it looks at is there.
fn alerts() -> anyhow::Result<BTreeMap<String, String>> {
    let rules: Value = serde_saphyr::from_str(&read(RULES)?)?;
    let groups = rules["groups"].as_array().unwrap().iter();
    let mut all = BTreeMap::new();
    for rule in groups.flat_map(|group| group["rules"].as_array().unwrap()) {
        let Some(name) = rule["alert"].as_str() else {
            continue;
        };
        let mut query = rule["expr"].as_str().unwrap().to_owned();
        for operator in [" > ", " >= ", " < ", " <= ", " == "] {
            query = query.replace(operator, &format!("{operator}bool "));
        }
        // this one is about series that are not there: what it asks for is
        if let Some(absent) = query.strip_prefix("absent(") {
            query = absent.trim_end().trim_end_matches(')').to_owned();
        }
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        all.insert(format!("{name} {severity}"), query);
    }
    Ok(all)
}

/// Whether a query has an answer that is a number.
async fn answered(prometheus: &Prometheus, query: &str) -> anyhow::Result<bool> {
    let url = format!("{}/api/v1/query", prometheus.url());
    let call = reqwest::Client::new().get(url).query(&[("query", query)]);
    let answer: Value = call.send().await?.json().await?;
    anyhow::ensure!(answer["status"] == "success", "{query}: {answer}");
    let series = answer["data"]["result"].as_array().cloned();
    let values = series.unwrap_or_default();
    Ok(values.iter().any(|one| one["value"][1] != "NaN"))
}

/// One of everything that is counted: a connection that comes and goes, a command that succeeds and one that fails, one of a trace.
async fn live(cluster: &Cluster, devices: &mut [Joined; 2]) -> anyhow::Result<()> {
    let url = cluster.nodes[0].api_url();
    let path = format!("{url}/api/v1/orgs/{ORG}/products/{PRODUCT}/groups/fleet/commands");
    let call = reqwest::Client::new()
        .post(path)
        .bearer_auth(&cluster.token)
        .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
        .json(&json!({ "name": "identify" }));
    let command: Value = call.send().await?.error_for_status()?.json().await?;
    for (device, status) in devices.iter_mut().zip(["succeeded", "failed"]) {
        device.seat.socket.expect_push("identify", PATIENCE).await?;
        let ack = json!({ "id": command["id"] });
        device.seat.reports("command_ack", ack).await?;
        let result = json!({ "id": command["id"], "status": status });
        device.seat.reports("command_result", result).await?;
    }
    // the second device connects anew, and its first socket hears of it
    let again = join_as(cluster, &devices[1].leaf, cluster.front(1)).await?;
    let mut first = std::mem::replace(&mut devices[1].seat, again);
    let superseded = |received: &Received| matches!(received, Received::Close(4409, _));
    wait::until("the first socket's end", PATIENCE, async || {
        let next = first.socket.next(PATIENCE).await.ok()?;
        superseded(&next).then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_and_every_alert_has_data() -> anyhow::Result<()> {
    let receiver = MockServer::new(Protocol::Grpc, 0).start().await?;
    let env = [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://{}", receiver.addr()),
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
    ];
    let plan = Plan {
        nodes: 2,
        env: env.map(|(key, value)| (key.to_owned(), value)).into(),
        ..Plan::default()
    };
    let cluster = Cluster::start(plan).await?;
    all_up(&cluster).await?;
    let mut devices = [
        joined(&cluster, "d1", 0).await?,
        joined(&cluster, "d2", 1).await?,
    ];
    tenant::group(&cluster.nodes[0].api, "fleet", 0, &["d1", "d2"]).await?;
    let targets: Vec<_> = cluster
        .nodes
        .iter()
        .map(|node| node.config().admin_listen)
        .collect();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(RULES);
    let prometheus = Prometheus::start(&targets, &rules).await?;
    let mut open = panels()?;
    open.extend(alerts()?);
    assert!(open.len() > 50, "{}", open.len());
    let everything = wait::until("data for every query", PATIENCE * 3, async || {
        live(&cluster, &mut devices).await.ok()?;
        let queries: Vec<_> = open.clone().into_iter().collect();
        for (name, query) in queries {
            if answered(&prometheus, &query).await.ok()? {
                open.remove(&name);
            }
        }
        open.is_empty().then_some(())
    });
    let everything = everything.await;
    everything.map_err(|error| error.context(format!("no data for {open:#?}")))?;

    // a latency leads to a trace
    let query = "hub_command_delivery_duration_seconds_bucket";
    let url = format!("{}/api/v1/query_exemplars", prometheus.url());
    let call = reqwest::Client::new().get(url);
    let call = call.query(&[("query", query), ("start", "0"), ("end", "9999999999")]);
    let exemplars: Value = call.send().await?.json().await?;
    let trace = &exemplars["data"][0]["exemplars"][0]["labels"]["trace_id"];
    assert_eq!(trace, TRACE, "{exemplars}");
    Ok(())
}
