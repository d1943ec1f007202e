//! Rules 3 to 7: refs and join refs, echoed as they came and carried where they belong.

use hub_proto::api::ExecutionState;
use hub_tests::sandbox::Sandbox;
use hub_tests::wait::PATIENCE;
use serde_json::{Value, json};

use super::{BARE, DIALECTS, V2, ask, message};
use crate::acts::{
    acking, command_device, command_group, connect_to, legacy, target_device, texts, topic_of,
    until_state, until_update,
};

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_03_a_ref_keeps_its_json_type() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    let refs = [
        json!("1"),
        json!(7),
        json!(0),
        json!("0"),
        json!("heartbeat:1"),
        json!(null),
    ];
    for target in DIALECTS {
        let mut socket = connect_to(&sandbox, &leaf, target).await?;
        for reference in &refs {
            let heartbeat = message(
                (json!(null), reference.clone()),
                "phoenix",
                "heartbeat",
                json!({}),
            );
            // The reply is looked for under the very ref, type included.
            ask(&mut socket, &heartbeat).await?;
        }
        // A1: the join's ref is text and the heartbeat's a number, on one socket.
        let join = message((json!("1"), json!("1")), "device", "phx_join", legacy());
        assert_eq!(ask(&mut socket, &join).await?.status(), Some("ok"));
        for n in 1..4 {
            let refs = (json!(null), json!(n));
            ask(
                &mut socket,
                &message(refs, "phoenix", "heartbeat", json!({})),
            )
            .await?;
        }
        // C2 matches integers only, on joins too.
        let join = message((json!(2), json!(2)), "device", "phx_join", legacy());
        assert_eq!(ask(&mut socket, &join).await?.status(), Some("ok"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_04_a_joins_refs_may_differ_and_start_anywhere() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    // D4, the reference client, and one that counts from zero.
    let firsts = [
        (json!("1"), json!("0")),
        (json!("6"), json!("6")),
        (json!(0), json!(0)),
        (json!("0"), json!("1")),
    ];
    for (join_ref, reference) in firsts {
        let mut socket = connect_to(&sandbox, &leaf, V2).await?;
        let refs = (join_ref.clone(), reference);
        let join = message(refs, "device", "phx_join", acking());
        let reply = ask(&mut socket, &join).await?;
        assert_eq!(reply.status(), Some("ok"), "{join:?}");
        let id = command_device(&sandbox, "s1", "identify", json!({})).await?;
        let push = socket.expect_push("identify", PATIENCE).await?;
        assert_eq!(push.join_ref, join_ref);
        let refs = (join_ref, json!("later"));
        let ack = message(refs, "device", "command_ack", json!({"id": id}));
        assert_eq!(ask(&mut socket, &ack).await?.status(), Some("ok"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_05_the_join_reply_echoes_both_refs() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    sandbox.group("field", 1, &["s1"]).await?;
    let mut socket = connect_to(&sandbox, &leaf, V2).await?;
    let topics = [
        ("device".to_owned(), "ok"),
        (topic_of("field"), "ok"),
        // Refusals too: a client looks for them under the same refs.
        (topic_of("missing"), "error"),
        ("console".to_owned(), "error"),
    ];
    for (n, (topic, status)) in topics.into_iter().enumerate() {
        for refs in [
            (json!(format!("j{n}")), json!(format!("r{n}"))),
            (json!(10 + n), json!(20 + n)),
        ] {
            let join = message(refs.clone(), &topic, "phx_join", legacy());
            let reply = ask(&mut socket, &join).await?;
            assert_eq!((reply.join_ref.clone(), reply.reference.clone()), refs);
            assert_eq!(reply.status(), Some(status), "{reply:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_06_a_join_without_join_ref_is_remembered_under_its_ref() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    sandbox.group("field", 1, &["s1"]).await?;
    // A2: null on the join, the join's ref as join ref afterwards, null again on the leave.
    let mut socket = connect_to(&sandbox, &leaf, V2).await?;
    for (reference, topic) in [("1", "device".to_owned()), ("2", topic_of("field"))] {
        let refs = (json!(null), json!(reference));
        let reply = ask(&mut socket, &message(refs, &topic, "phx_join", legacy())).await?;
        assert_eq!(reply.status(), Some("ok"), "{topic}");
        assert_eq!(reply.join_ref, Value::Null);
    }
    let reports = [
        (json!("1"), "received"),
        (json!(null), "started"),
        (json!("1"), "rescheduled"),
    ];
    for (n, (join_ref, status)) in reports.into_iter().enumerate() {
        let refs = (join_ref, json!(format!("p{n}")));
        let report = message(refs, "device", "status_update", json!({"status": status}));
        socket.send(&report).await?;
        until_update(&sandbox, "s1", status, |u| u.status == status).await?;
    }
    // On the group's channel it uses that join's ref.
    let id = command_group(&sandbox, "field", "identify", json!({})).await?;
    let push = socket.expect_push("identify", PATIENCE).await?;
    assert_eq!(push.join_ref, json!("2"));
    let result = json!({"id": id, "status": "succeeded"});
    let refs = (json!("2"), json!("p9"));
    let result = message(refs, &topic_of("field"), "command_result", result);
    socket.send(&result).await?;
    until_state(&sandbox, id, "s1", ExecutionState::Succeeded).await?;
    let refs = (json!(null), json!("p10"));
    let leave = message(refs, "device", "phx_leave", Value::Null);
    assert_eq!(ask(&mut socket, &leave).await?.status(), Some("ok"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_07_every_push_carries_its_subscribers_own_join_ref() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (_, uuid) = sandbox.firmware("2.0.0", 64).await?;
    // Join refs as different clients choose them, on the device channel and on the group's.
    let members = [
        ("s1", V2, json!("6"), json!("9")),
        ("s2", V2, json!(1), json!(3)),
        ("s3", V2, json!("c1"), json!("c2")),
        ("s4", BARE, json!("1"), json!("2")),
    ];
    let mut sockets = Vec::new();
    for (name, target, device_ref, _) in &members {
        let leaf = sandbox.device(name).await?;
        let mut socket = connect_to(&sandbox, &leaf, target).await?;
        let refs = (device_ref.clone(), device_ref.clone());
        let reply = ask(&mut socket, &message(refs, "device", "phx_join", acking())).await?;
        assert_eq!(reply.status(), Some("ok"));
        sockets.push(socket);
    }
    sandbox.group("field", 1, &["s1", "s2", "s3", "s4"]).await?;
    let field = topic_of("field");
    for (socket, (name, target, device_ref, group_ref)) in sockets.iter_mut().zip(&members) {
        // A V1 object has no room for a join ref.
        let own = |join_ref: &Value| {
            if *target == V2 {
                join_ref.clone()
            } else {
                Value::Null
            }
        };
        let push = socket.expect_push("join", PATIENCE).await?;
        assert_eq!(push.join_ref, own(device_ref), "{name}");
        let refs = (group_ref.clone(), group_ref.clone());
        ask(socket, &message(refs, &field, "phx_join", json!({}))).await?;
        target_device(&sandbox, name, Some(&uuid)).await?;
        let push = socket.expect_push("firmware_update", PATIENCE).await?;
        assert_eq!(push.join_ref, own(device_ref), "{name}");
    }
    // One broadcast, and each gets it under its own.
    command_group(&sandbox, "field", "reboot", json!({})).await?;
    for (socket, (name, target, _, group_ref)) in sockets.iter_mut().zip(&members) {
        let push = socket.expect_push("reboot", PATIENCE).await?;
        let expected = if *target == V2 {
            group_ref
        } else {
            &Value::Null
        };
        assert_eq!((&push.topic, &push.join_ref), (&field, expected), "{name}");
        let pushes = texts(socket);
        let null = pushes
            .iter()
            .filter(|m| m.is_array() && m[0].is_null())
            .count();
        assert_eq!(null, 0, "{name}: {pushes:?}");
    }
    Ok(())
}
