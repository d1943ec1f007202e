//! Rules 9, 14, 15 and 16: what is never said to a device, and how channels end and begin again.

use hub_proto::api::ExecutionState;
use hub_tests::raw_ws::{Frame, Opcode};
use hub_tests::sandbox::{ORG, PRODUCT, Sandbox};
use hub_tests::wait::PATIENCE;
use serde_json::{Value, json};

use super::{DIALECTS, V2, ask, joined_as, joined_legacy, message};
use crate::acts::{
    acking, command_device, command_group, heard, hears_nothing, join_group, joined, legacy, texts,
    topic_of, until_state, until_update,
};

/// All of these kill the socket of A4 when they are answered, whatever the answer is.
fn pushes_of_all_kinds() -> Vec<(&'static str, Value)> {
    let nobody = "0190c6f2-7c7a-7c3b-8f6e-5f1d3f2b1a00";
    vec![
        ("fwup_progress", json!({"value": 10})),
        ("fwup_progress", json!({"value": "nonsense"})),
        ("rebooting", json!({})),
        ("firmware_update_error", json!({"errors": ["x"]})),
        ("firmware_update_error", json!({"errors": 1})),
        ("command_ack", json!({"id": nobody})),
        (
            "command_result",
            json!({"id": nobody, "status": "succeeded"}),
        ),
        ("command_result", json!({"id": "nonsense"})),
        ("check_update_available", json!({})),
        ("connection_types", json!({"values": ["wifi"]})),
        ("never_heard_of", json!({})),
        ("never_heard_of", Value::Null),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_09_a_devices_push_is_never_replied_to() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    for (name, target) in [("s1", DIALECTS[0]), ("s2", DIALECTS[1])] {
        let leaf = sandbox.device(name).await?;
        let mut socket = joined_legacy(&sandbox, &leaf, target).await?;
        for (event, payload) in pushes_of_all_kinds() {
            socket.push(&json!("1"), "device", event, payload).await?;
        }
        // On topics that were never joined, and ones nobody knows.
        for topic in ["console", "extensions", "nonsense", &topic_of("field")] {
            socket.push(&json!("1"), topic, "up", json!({})).await?;
        }
        socket
            .send_text("neither one framing nor the other")
            .await?;
        let bytes = Frame::new(Opcode::Binary, *b"\0\x01\x01\x06\x0119devicex??");
        if target == V2 {
            socket.send_frame(&bytes).await?;
        }
        // A reply would come after the commit: this one is committed after all of them.
        let last = json!({"status": "rescheduled"});
        socket
            .push(&json!("1"), "device", "status_update", last)
            .await?;
        until_update(&sandbox, name, "all is written", |u| {
            u.status == "rescheduled"
        })
        .await?;
        assert_eq!(socket.before_heartbeat(PATIENCE).await?, [], "{target}");

        // Late pushes, after it left.
        let leave = message((json!("1"), json!("l")), "device", "phx_leave", json!({}));
        ask(&mut socket, &leave).await?;
        socket.expect_push("phx_close", PATIENCE).await?;
        for (event, payload) in pushes_of_all_kinds() {
            socket.push(&json!("1"), "device", event, payload).await?;
        }
        assert_eq!(socket.before_heartbeat(PATIENCE).await?, [], "{target}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_14_nobody_is_sent_phx_close_who_did_not_leave() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (mut member, _) = joined(&sandbox, "member", acking()).await?;
    let (mut revoked, _) = joined(&sandbox, "revoked", legacy()).await?;
    let leaf = sandbox.device("twice").await?;
    let mut first = joined_legacy(&sandbox, &leaf, V2).await?;
    sandbox.group("field", 1, &["member"]).await?;
    sandbox.group("lab", 1, &["member"]).await?;
    for _ in 0..2 {
        member.expect_push("join", PATIENCE).await?;
    }
    join_group(&mut member, "field").await?;
    join_group(&mut member, "lab").await?;
    // Put out of one group, the other deleted.
    sandbox
        .api
        .remove_member(ORG, PRODUCT, "field", "member")
        .await?;
    sandbox.api.delete_group(ORG, PRODUCT, "lab").await?;
    for _ in 0..2 {
        member.expect_push("leave", PATIENCE).await?;
    }
    // Joined again on the same socket, superseded by another one, revoked.
    member.join("device", acking(), PATIENCE).await?;
    let _second = joined_legacy(&sandbox, &leaf, V2).await?;
    first.expect_close(4409, PATIENCE).await?;
    sandbox.api.revoke_device(ORG, PRODUCT, "revoked").await?;
    revoked.expect_close(4401, PATIENCE).await?;
    hears_nothing(&sandbox, &mut member, "member").await?;
    let Sandbox {
        node, dir: _dir, ..
    } = sandbox;
    let stopped = tokio::spawn(node.stop());
    member.expect_close(1012, PATIENCE).await?;
    for socket in [&member, &revoked, &first] {
        assert!(!heard(socket, "phx_close"), "{:?}", socket.record());
    }
    drop((member, revoked, first, _second));
    stopped.await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_15_a_leave_is_replied_to_and_then_the_channel_closes() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    sandbox.group("field", 1, &["s1"]).await?;
    for target in DIALECTS {
        let mut socket = joined_as(&sandbox, &leaf, target, acking()).await?;
        let field = topic_of("field");
        let refs = (json!("3"), json!("3"));
        ask(&mut socket, &message(refs, &field, "phx_join", json!({}))).await?;
        for (join_ref, reference, topic) in [("3", "8", &*field), ("1", "9", "device")] {
            let refs = (json!(join_ref), json!(reference));
            let leave = message(refs, topic, "phx_leave", json!({}));
            let reply = ask(&mut socket, &leave).await?;
            assert_eq!(reply.status(), Some("ok"), "{target} {topic}");
            let close = socket.expect_push("phx_close", PATIENCE).await?;
            assert_eq!(close.topic, topic);
            // The refs of the join, not of the leave; V1 has one of the two.
            assert_eq!(close.reference, json!(join_ref));
            if target == V2 {
                assert_eq!(close.join_ref, json!(join_ref));
            }
            assert_eq!(close.payload, json!({}));
            let all = texts(&socket);
            let events: Vec<_> = all.iter().rev().take(2).collect();
            let closes = |m: &Value| m[3] == "phx_close" || m["event"] == "phx_close";
            assert!(closes(events[0]) && !closes(events[1]), "{all:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_16_a_channel_is_joined_again_on_the_same_socket() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    for (name, target) in [("s1", DIALECTS[0]), ("s2", DIALECTS[1])] {
        let leaf = sandbox.device(name).await?;
        let group = format!("of-{name}");
        sandbox.group(&group, 1, &[name]).await?;
        let mut socket = joined_as(&sandbox, &leaf, target, acking()).await?;
        let mut generation = None;
        for reference in ["2", "7", "8"] {
            for topic in ["device", &topic_of(&group)] {
                let mine = json!(format!("{reference}{}", topic.len()));
                let refs = (mine.clone(), mine.clone());
                let join = message(refs, topic, "phx_join", acking());
                let reply = ask(&mut socket, &join).await?;
                assert_eq!(reply.status(), Some("ok"), "{target} {topic}");
                let id = if topic == "device" {
                    command_device(&sandbox, name, "identify", json!({})).await?
                } else {
                    command_group(&sandbox, &group, "identify", json!({})).await?
                };
                let push = socket.expect_push("identify", PATIENCE).await?;
                assert_eq!(push.topic, topic);
                if target == V2 {
                    assert_eq!(push.join_ref, mine);
                }
                let done = json!({"id": id, "status": "succeeded"});
                socket.push(&mine, topic, "command_result", done).await?;
                until_state(&sandbox, id, name, ExecutionState::Succeeded).await?;
            }
            let connection = sandbox.api.connection(ORG, PRODUCT, name).await?;
            let before = generation.replace(connection.generation);
            assert!(before < generation, "every join is a new one");
        }
        assert!(!heard(&socket, "phx_close"), "it never left");
    }
    Ok(())
}
