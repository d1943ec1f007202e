//! Rules 9 and 10: signs of life, a second socket, and a node that stops.

use hub_tests::raw_ws::{Frame, Message, Opcode, Received};
use hub_tests::sandbox::{ORG, PRODUCT, Sandbox};
use hub_tests::wait::PATIENCE;
use serde_json::json;

use crate::acts::{acking, heard, joined, legacy};

/// What counts, and for how long, is a matter of the session's clock and tried there; here is what can be seen.
#[tokio::test(flavor = "multi_thread")]
async fn rule_09_heartbeats_and_pings_are_answered_joined_or_not() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    let mut socket = sandbox.connect(&leaf).await?;
    for round in 0..2 {
        let beat = json!(format!("beat {round}"));
        let heartbeat = Message {
            join_ref: json!(null),
            reference: beat.clone(),
            topic: "phoenix".to_owned(),
            event: "heartbeat".to_owned(),
            payload: json!({}),
        };
        socket.send(&heartbeat).await?;
        let reply = socket.expect_reply("phoenix", &beat, PATIENCE).await?;
        assert_eq!(reply.payload, json!({"status": "ok", "response": {}}));
        let ping = Frame::new(Opcode::Ping, "still there?");
        socket.send_frame(&ping).await?;
        let pong = Received::Pong(b"still there?".to_vec());
        assert_eq!(socket.next(PATIENCE).await?, pong);
        if round == 0 {
            socket.join("device", legacy(), PATIENCE).await?;
        }
    }
    // A pong that nobody asked for is a sign of life and nothing more.
    let pong = Frame::new(Opcode::Pong, "unasked");
    socket.send_frame(&pong).await?;
    assert_eq!(socket.before_heartbeat(PATIENCE).await?, []);
    let pinged = |received: &Received| matches!(received, Received::Ping(_));
    assert!(!socket.record().iter().any(pinged), "it was not silent");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_10_a_second_socket_supersedes_the_first() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    let mut first = sandbox.connect(&leaf).await?;
    first.join("device", acking(), PATIENCE).await?;
    let before = sandbox.api.connection(ORG, PRODUCT, "s1").await?;
    let mut second = sandbox.connect(&leaf).await?;
    // Connecting is not enough: who joins speaks for the device.
    assert_eq!(first.before_heartbeat(PATIENCE).await?, []);
    let reply = second.join("device", acking(), PATIENCE).await?;
    assert_eq!(reply.status(), Some("ok"));
    assert_eq!(first.expect_close(4409, PATIENCE).await?, "superseded");
    first.expect_end(PATIENCE).await?;
    let after = sandbox.api.connection(ORG, PRODUCT, "s1").await?;
    assert!(after.generation > before.generation);
    assert_eq!(second.before_heartbeat(PATIENCE).await?, []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_10_a_node_that_stops_says_when_to_come_back() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (mut knows, _) = joined(&sandbox, "s1", acking()).await?;
    let (mut legacy, _) = joined(&sandbox, "s2", legacy()).await?;
    let Sandbox {
        node, dir: _dir, ..
    } = sandbox;
    let stopped = tokio::spawn(node.stop());
    let push = knows.expect_push("reconnect", PATIENCE).await?;
    let after = push.payload["after_ms"].as_u64();
    assert!(after.is_some_and(|after| after <= 5_000), "{push:?}");
    assert_eq!(push.topic, "device");
    assert_eq!(knows.expect_close(1012, PATIENCE).await?, "restarting");
    assert_eq!(legacy.expect_close(1012, PATIENCE).await?, "restarting");
    assert!(!heard(&legacy, "reconnect"), "it would not understand");
    drop((knows, legacy));
    stopped.await?;
    Ok(())
}
