//! The official Phoenix client (npm `phoenix` over `ws`) with a device's certificate against a real node.
//!
//! It fails, with what to run, when the fixture's packages are not installed.

use std::time::Duration;

use hub_proto::api::ExecutionState;
use hub_tests::phoenix_js::PhoenixJs;
use hub_tests::sandbox::{ORG, PRODUCT, Sandbox};
use hub_tests::wait::PATIENCE;
use serde_json::{Value, json};

use crate::acts::{
    acking, command_device, command_group, execution, legacy, topic_of, until_state,
};

const BEAT: Duration = Duration::from_millis(200);

async fn start(sandbox: &Sandbox, name: &str) -> anyhow::Result<PhoenixJs> {
    let leaf = sandbox.device(name).await?;
    let address = sandbox.node.device_addr();
    let mut client = PhoenixJs::start(address, &sandbox.server_root, &leaf, BEAT)?;
    client.expect("open", PATIENCE, |_| true).await?;
    Ok(client)
}

async fn join(client: &mut PhoenixJs, topic: &str, payload: &Value) -> anyhow::Result<Value> {
    client.command(&format!("join {topic} {payload}")).await?;
    joined(client, topic).await
}

async fn joined(client: &mut PhoenixJs, topic: &str) -> anyhow::Result<Value> {
    let is_it = |report: &Value| report["topic"] == topic;
    let report = client.expect("joined", PATIENCE, is_it).await?;
    Ok(report["response"].clone())
}

async fn pushed(client: &mut PhoenixJs, event: &str) -> anyhow::Result<Value> {
    let is_it = |report: &Value| report["event"] == event;
    client.expect("push", PATIENCE, is_it).await
}

async fn push(
    client: &mut PhoenixJs,
    topic: &str,
    event: &str,
    payload: &Value,
) -> anyhow::Result<Value> {
    client
        .command(&format!("push {topic} {event} {payload}"))
        .await?;
    let is_it = |report: &Value| report["topic"] == topic && report["event"] == event;
    client.expect("reply", PATIENCE, is_it).await
}

async fn leave(client: &mut PhoenixJs, topic: &str) -> anyhow::Result<()> {
    client.command(&format!("leave {topic}")).await?;
    let is_it = |report: &Value| report["topic"] == topic;
    client.expect("left", PATIENCE, is_it).await?;
    client.expect("channel_closed", PATIENCE, is_it).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_joins_and_hears_of_groups_and_commands() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let mut client = start(&sandbox, "s1").await?;
    let response = join(&mut client, "device", &acking()).await?;
    assert_eq!(response, json!({"groups": []}));
    let beat = client.expect("heartbeat", PATIENCE, |_| true).await?;
    assert_eq!(beat["response"], json!({"status": "ok", "response": {}}));

    let field = topic_of("field");
    sandbox.group("field", 1, &["s1"]).await?;
    let report = pushed(&mut client, "join").await?;
    assert_eq!(report["topic"], "device");
    assert_eq!(report["payload"], json!({"channel": field}));
    join(&mut client, &field, &json!({})).await?;

    let id = command_group(&sandbox, "field", "reboot", json!({"after_s": 2})).await?;
    let report = pushed(&mut client, "reboot").await?;
    assert_eq!(report["topic"], json!(field));
    assert_eq!(report["payload"], json!({"id": id, "after_s": 2}));
    let ack = json!({"id": id});
    let reply = push(&mut client, &field, "command_ack", &ack).await?;
    assert_eq!(reply["status"], "ok", "{reply}");
    let (state, _) = execution(&sandbox, id, "s1").await?;
    assert_eq!(state, ExecutionState::Delivered);

    let id = command_device(&sandbox, "s1", "logs", json!({})).await?;
    let report = pushed(&mut client, "logs").await?;
    assert_eq!(report["topic"], "device");
    let result = json!({"id": id, "status": "succeeded", "output": "a b c"});
    let reply = push(&mut client, "device", "command_result", &result).await?;
    assert_eq!(reply["status"], "ok", "{reply}");
    let (state, output) = execution(&sandbox, id, "s1").await?;
    assert_eq!(state, ExecutionState::Succeeded);
    assert_eq!(output.as_deref(), Some("a b c"));

    sandbox
        .api
        .remove_member(ORG, PRODUCT, "field", "s1")
        .await?;
    let report = pushed(&mut client, "leave").await?;
    assert_eq!(report["payload"], json!({"channel": field}));
    leave(&mut client, &field).await?;
    client.command("exit").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_leaves_and_joins_again() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    sandbox.group("field", 1, &[]).await?;
    let mut client = start(&sandbox, "s1").await?;
    sandbox.api.add_member(ORG, PRODUCT, "field", "s1").await?;
    let field = topic_of("field");
    for _ in 0..3 {
        let response = join(&mut client, "device", &acking()).await?;
        assert_eq!(response, json!({"groups": [field]}));
        join(&mut client, &field, &json!({})).await?;
        let id = command_group(&sandbox, "field", "identify", json!({})).await?;
        let report = pushed(&mut client, "identify").await?;
        assert_eq!(report["topic"], json!(field));
        assert_eq!(report["payload"], json!({"id": id}));
        let ack = json!({"id": id});
        push(&mut client, &field, "command_ack", &ack).await?;
        leave(&mut client, &field).await?;
        leave(&mut client, "device").await?;
    }
    client.command("exit").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_comes_back_by_itself_after_a_cut() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    sandbox.group("field", 1, &[]).await?;
    let mut client = start(&sandbox, "s1").await?;
    join(&mut client, "device", &legacy()).await?;
    for round in 0..2 {
        let before = sandbox.api.connection(ORG, PRODUCT, "s1").await?;
        client.command("drop").await?;
        client.expect("close", PATIENCE, |_| true).await?;
        joined(&mut client, "device").await?;
        let after = sandbox.api.connection(ORG, PRODUCT, "s1").await?;
        assert!(after.generation > before.generation, "{round}");
        let id = command_device(&sandbox, "s1", "identify", json!({"n": round})).await?;
        let report = pushed(&mut client, "identify").await?;
        assert_eq!(report["payload"]["n"], json!(round));
        // A cut before its pong has arrived would bring the command once more.
        until_state(&sandbox, id, "s1", ExecutionState::Delivered).await?;
    }
    client.command("exit").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_is_told_no_and_goes_on() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let mut client = start(&sandbox, "s1").await?;
    join(&mut client, "device", &acking()).await?;
    let missing = topic_of("missing");
    client.command(&format!("join {missing}")).await?;
    let report = client.expect("join_error", PATIENCE, |_| true).await?;
    assert_eq!(report["response"], json!({"reason": "not_found"}));
    client.command(&format!("leave {missing}")).await?;
    // Bytes go in a binary frame, whose refs are texts.
    client.command("push-bytes device blob four").await?;
    let is_blob = |report: &Value| report["event"] == "blob";
    let reply = client.expect("reply", PATIENCE, is_blob).await?;
    assert_eq!(reply["response"], json!({"reason": "unknown_event"}));
    let id = command_device(&sandbox, "s1", "identify", json!({})).await?;
    let report = pushed(&mut client, "identify").await?;
    assert_eq!(report["payload"], json!({"id": id}));
    client.command("exit").await?;
    Ok(())
}
