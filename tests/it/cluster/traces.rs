//! One trace from the call of the API to the acknowledgement of a device, over two nodes, as a receiver of OTLP sees it.

use std::collections::BTreeMap;

use hub_proto::id::CommandId;
use hub_tests::cluster::{Cluster, Plan};
use hub_tests::ports;
use hub_tests::tenant::{self, ORG, PRODUCT};
use hub_tests::wait::{self, PATIENCE};
use mock_collector::{MockServer, Protocol, ServerHandle};
use serde_json::{Value, json};

use super::crew::{Joined, all_up, command_device, joined};
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const DEVICE: &str = "00-11111111111111111111111111111111-2222222222222222-01";

/// A span as the receiver has it.
#[derive(Clone, Debug)]
struct Seen {
    id: String,
    parent: String,
    name: String,
    kind: i32,
    node: &'static str,
    device: String,
    failed: bool,
    links: Vec<String>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn seen(receiver: &ServerHandle) -> Vec<Seen> {
    let read = |collector: &mock_collector::MockCollector| {
        let of_trace = collector
            .spans()
            .iter()
            .filter(|span| hex(&span.span().trace_id) == TRACE);
        let row = |found: &mock_collector::TestSpan| {
            let (span, whose) = (found.span(), format!("{:?}", found.resource_attrs()));
            let device = span.attributes.iter().find(|a| a.key == "hub.device.name");
            let device = device.map(|a| format!("{:?}", a.value)).unwrap_or_default();
            let node = ["node-1", "node-2"].into_iter().find(|n| whose.contains(n));
            Seen {
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name.clone(),
                kind: span.kind,
                node: node.unwrap_or_default(),
                device: ["d1", "d2"]
                    .into_iter()
                    .find(|d| device.contains(d))
                    .unwrap_or_default()
                    .to_owned(),
                failed: span.status.as_ref().is_some_and(|status| status.code == 2),
                links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
            }
        };
        of_trace.map(row).collect()
    };
    receiver.with_collector(read).await
}

/// Two nodes that send telemetry to this receiver without delay, a device on each.
async fn told(protocol: &str, receiver: &ServerHandle) -> anyhow::Result<(Cluster, [Joined; 2])> {
    let endpoint = format!("http://{}", receiver.addr());
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "100"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
    ];
    let plan = Plan {
        nodes: 2,
        env: env
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..Plan::default()
    };
    let cluster = Cluster::start(plan).await?;
    all_up(&cluster).await?;
    let mut devices = [
        joined(&cluster, "d1", 0).await?,
        joined(&cluster, "d2", 1).await?,
    ];
    let api = &cluster.nodes[0].api;
    tenant::group(api, "fleet", 0, &["d1", "d2"]).await?;
    for device in &mut devices {
        device.seat.socket.expect_push("join", PATIENCE).await?;
    }
    Ok((cluster, devices))
}

/// Gives the group a command as a caller who is part of a trace; its id.
async fn traced_command(cluster: &Cluster) -> anyhow::Result<CommandId> {
    let url = cluster.nodes[0].api_url();
    let call = reqwest::Client::new()
        .post(format!(
            "{url}/api/v1/orgs/{ORG}/products/{PRODUCT}/groups/fleet/commands"
        ))
        .bearer_auth(&cluster.token)
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .json(&json!({ "name": "reboot" }));
    let answer: Value = call.send().await?.error_for_status()?.json().await?;
    Ok(answer["id"].as_str().unwrap_or_default().parse()?)
}

async fn followed(protocol: &str, receiver: ServerHandle) -> anyhow::Result<()> {
    let (cluster, mut devices) = told(protocol, &receiver).await?;
    let id = traced_command(&cluster).await?;
    for (number, device) in devices.iter_mut().enumerate() {
        device.seat.socket.expect_push("reboot", PATIENCE).await?;
        let ack = json!({ "id": id, "traceparent": DEVICE });
        device.seat.reports("command_ack", ack).await?;
        let status = ["succeeded", "failed"][number];
        let result = json!({ "id": id, "status": status });
        device.seat.reports("command_result", result).await?;
    }
    let mut spans = Vec::new();
    let all = wait::until("all spans", PATIENCE, async || {
        spans = seen(&receiver).await;
        let results = spans
            .iter()
            .filter(|span| span.name == "result device.command");
        let calls = spans.iter().filter(|span| span.name.starts_with("POST "));
        (results.count() == 2 && calls.count() == 1).then_some(())
    });
    let all = all.await;
    all.map_err(|error| error.context(format!("{spans:#?}")))?;
    in_order(&spans);
    let signals = wait::until("metrics and logs", PATIENCE, async || {
        let both = |collector: &mock_collector::MockCollector| {
            let delivery =
                |m: &mock_collector::TestMetric| m.metric().name == "hub.command.delivery.duration";
            collector.metrics().iter().any(delivery) && !collector.logs().is_empty()
        };
        receiver.with_collector(both).await.then_some(())
    });
    signals.await
}

/// Whether each span of the trace is where it belongs.
fn in_order(spans: &[Seen]) {
    let by_id: BTreeMap<&str, &Seen> = spans.iter().map(|span| (&*span.id, span)).collect();
    let named =
        |name: &str| -> Vec<&Seen> { spans.iter().filter(|s| s.name.starts_with(name)).collect() };
    let parent = |span: &Seen| by_id.get(&*span.parent).map(|parent| parent.id.clone());
    // kinds as the protocol numbers them: server 2, client 3, producer 4, consumer 5
    let one = |name: &str, kind: i32| {
        let all = named(name);
        assert_eq!(
            (all.len(), all[0].kind, all[0].node),
            (1, kind, "node-1"),
            "{spans:#?}"
        );
        all[0]
    };
    let call = one(
        "POST /api/v1/orgs/{org}/products/{product}/groups/{group}/commands",
        2,
    );
    assert_eq!(call.parent, CALLER);
    let commit = one("command_group", 3);
    let publish = one("send hub.hints", 4);
    for below in [commit, publish] {
        assert_eq!(parent(below).as_deref(), Some(&*call.id), "{below:?}");
    }
    let heard = named("process hub.hints");
    assert_eq!(heard.len(), 2, "{spans:#?}");
    for (node, device) in [("node-1", "d1"), ("node-2", "d2")] {
        let of = |name: &str, kind: i32| -> &Seen {
            let mut here = spans
                .iter()
                .filter(|span| span.name == name && span.node == node);
            let (found, more) = (here.next(), here.next());
            let found = found.unwrap_or_else(|| panic!("{node} has no {name}: {spans:#?}"));
            assert!(more.is_none(), "{spans:#?}");
            assert_eq!(found.kind, kind, "{found:?}");
            found
        };
        let heard = of("process hub.hints", 5);
        let push = of("push device.command", 4);
        let ack = of("ack device.command", 5);
        let result = of("result device.command", 5);
        assert_eq!(parent(heard).as_deref(), Some(&*publish.id));
        assert_eq!(parent(push).as_deref(), Some(&*heard.id));
        assert_eq!(parent(ack).as_deref(), Some(&*push.id));
        assert_eq!(parent(result).as_deref(), Some(&*push.id));
        assert!([push, ack, result].iter().all(|span| span.device == device));
        assert_eq!(ack.links, [DEVICE[3..35].to_owned()]);
        assert!(!push.failed && !ack.failed);
        assert_eq!(result.failed, device == "d2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_one_trace_from_the_call_to_the_ack_over_grpc() -> anyhow::Result<()> {
    let receiver = MockServer::new(Protocol::Grpc, 0).start().await?;
    followed("grpc", receiver).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_one_trace_from_the_call_to_the_ack_over_http() -> anyhow::Result<()> {
    let receiver = MockServer::new(Protocol::HttpBinary, 0).start().await?;
    followed("http/protobuf", receiver).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_away_costs_what_it_misses_and_nothing_else() -> anyhow::Result<()> {
    let [nobody] = ports::free()?;
    let endpoint = format!("http://127.0.0.1:{nobody}");
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    let plan = Plan {
        nodes: 1,
        env: env
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..Plan::default()
    };
    let mut cluster = Cluster::start(plan).await?;
    let mut device = joined(&cluster, "d1", 0).await?;
    let api = cluster.nodes[0].api.clone();
    for _ in 0..50 {
        let id = command_device(&api, "d1", "identify").await?;
        assert_eq!(device.seat.obeys("identify").await?, id);
    }
    let dropped = wait::until("dropped spans to be counted", PATIENCE, async || {
        let text = cluster.nodes[0].metrics().await.ok()?;
        let name = "hub_telemetry_dropped_total{reason=\"export_failed\",signal=\"traces\"} ";
        let count = text.lines().find_map(|line| line.strip_prefix(name))?;
        (count.parse::<f64>().ok()? > 0.0).then_some(())
    });
    dropped.await?;
    // its end does not wait for whoever does not come
    cluster.nodes[0].stop().await
}
