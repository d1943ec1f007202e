//! Rules 1, 2, 8, 10, 12 and 13: how a frame looks.

use hub_proto::frame::{Ref, Serializer};
use hub_tests::raw_ws::{Answer, Dialect, Frame, Opcode, RawWs};
use hub_tests::sandbox::{ORG, PRODUCT, Sandbox};
use hub_tests::wait::PATIENCE;
use serde_json::{Value, json};

use super::{BARE, DIALECTS, V2, ask, joined_as, joined_legacy, message};
use crate::acts::{
    acking, command_device, command_group, connect_to, legacy, target_device, target_group, texts,
    topic_of,
};

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_01_vsn_chooses_the_framing_and_none_is_v1() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    let targets = [
        (BARE, Dialect::V1),
        ("/socket/websocket", Dialect::V1),
        ("/socket/websocket?vsn=1.0.0", Dialect::V1),
        (V2, Dialect::V2),
        ("/socket/websocket?vsn=2.1.0&x=y", Dialect::V2),
    ];
    for (target, dialect) in targets {
        // The harness reads the answer strictly: five elements, or exactly four keys.
        let socket = joined_legacy(&sandbox, &leaf, target).await?;
        let is_array = texts(&socket)[0].is_array();
        assert_eq!(is_array, dialect == Dialect::V2, "{target}");
    }
    let refused = connect_to(&sandbox, &leaf, "/socket/websocket?vsn=3.0.0").await;
    let answer: Answer = refused.unwrap_err().downcast()?;
    assert_eq!(answer.status, 400);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_01_every_v1_object_has_exactly_four_keys() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (_, uuid) = sandbox.firmware("2.0.0", 64).await?;
    let leaf = sandbox.device("s1").await?;
    let mut socket = joined_as(&sandbox, &leaf, BARE, acking()).await?;
    sandbox.group("field", 1, &["s1"]).await?;
    socket.expect_push("join", PATIENCE).await?;
    socket.join(&topic_of("field"), json!({}), PATIENCE).await?;
    command_group(&sandbox, "field", "reboot", json!({"n": 1})).await?;
    socket.expect_push("reboot", PATIENCE).await?;
    command_device(&sandbox, "s1", "identify", json!({})).await?;
    socket.expect_push("identify", PATIENCE).await?;
    target_device(&sandbox, "s1", Some(&uuid)).await?;
    socket.expect_push("firmware_update", PATIENCE).await?;
    sandbox.api.delete_group(ORG, PRODUCT, "field").await?;
    socket.expect_push("leave", PATIENCE).await?;
    let beat = message((json!(null), json!(7)), "phoenix", "heartbeat", json!({}));
    ask(&mut socket, &beat).await?;
    let leave = message((json!(null), json!("9")), "device", "phx_leave", json!({}));
    ask(&mut socket, &leave).await?;
    socket.expect_push("phx_close", PATIENCE).await?;
    let all = texts(&socket);
    assert!(all.len() >= 9, "{all:?}");
    for object in all {
        let mut keys: Vec<_> = object.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["event", "payload", "ref", "topic"], "{object}");
    }
    Ok(())
}

/// Sends text in a binary frame, as C3 does.
async fn send_binary(socket: &mut RawWs, bytes: impl Into<Vec<u8>>) -> anyhow::Result<()> {
    let frame = Frame::new(Opcode::Binary, bytes);
    socket.send_frame(&frame).await
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_02_json_in_a_binary_frame_is_read() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    for (name, target, dialect) in [("s1", BARE, Dialect::V1), ("s2", V2, Dialect::V2)] {
        let leaf = sandbox.device(name).await?;
        let mut socket = connect_to(&sandbox, &leaf, target).await?;
        let refs = (json!("1"), json!("1"));
        let join = message(refs, "device", "phx_join", legacy());
        send_binary(&mut socket, dialect.write(&join)).await?;
        let reply = socket
            .expect_reply("device", &join.reference, PATIENCE)
            .await?;
        assert_eq!(reply.status(), Some("ok"), "{target}");
        // It is answered in text, the only thing that old clients read.
        command_device(&sandbox, name, "reboot", json!({})).await?;
        socket.expect_push("reboot", PATIENCE).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_02_a_v2_binary_push_is_read() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    let mut socket = joined_as(&sandbox, &leaf, V2, acking()).await?;
    let parts = ["1", "12", "device", "blob"];
    let mut push = vec![0];
    push.extend(parts.map(|part| u8::try_from(part.len()).unwrap()));
    push.extend(parts.concat().into_bytes());
    push.extend([0, 159, 255, 7]);
    send_binary(&mut socket, push).await?;
    let reply = socket
        .expect_reply("device", &json!("12"), PATIENCE)
        .await?;
    assert_eq!(reply.join_ref, json!("1"));
    assert_eq!(reply.response(), &json!({"reason": "unknown_event"}));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_08_a_push_of_the_hub_has_no_ref() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (_, uuid) = sandbox.firmware("2.0.0", 64).await?;
    let mut sockets = Vec::new();
    for (name, target) in [("s1", BARE), ("s2", V2)] {
        let leaf = sandbox.device(name).await?;
        sockets.push((name, joined_as(&sandbox, &leaf, target, acking()).await?));
    }
    sandbox.group("field", 1, &["s1", "s2"]).await?;
    for (_, socket) in &mut sockets {
        socket.expect_push("join", PATIENCE).await?;
    }
    let (_, in_channel) = &mut sockets[1];
    in_channel
        .join(&topic_of("field"), json!({}), PATIENCE)
        .await?;
    command_group(&sandbox, "field", "reboot", json!({})).await?;
    target_group(&sandbox, "field", Some(&uuid)).await?;
    for (name, socket) in &mut sockets {
        command_device(&sandbox, name, "identify", json!({})).await?;
        for event in ["reboot", "firmware_update", "identify"] {
            socket.expect_push(event, PATIENCE).await?;
        }
    }
    sandbox.api.delete_group(ORG, PRODUCT, "field").await?;
    for (_, socket) in &mut sockets {
        socket.expect_push("leave", PATIENCE).await?;
    }
    let Sandbox {
        node, dir: _dir, ..
    } = sandbox;
    let stopped = tokio::spawn(node.stop());
    for (name, socket) in &mut sockets {
        socket.expect_push("reconnect", PATIENCE).await?;
        let pushes = texts(socket);
        let pushes = pushes
            .iter()
            .filter(|m| m[3] != "phx_reply" && m["event"] != "phx_reply");
        let mut count = 0;
        for push in pushes {
            let reference = if push.is_array() {
                &push[1]
            } else {
                &push["ref"]
            };
            assert_eq!(reference, &Value::Null, "{name}: {push}");
            count += 1;
        }
        // what was sent on the group's channel and is not acknowledged comes again when that ends
        assert_eq!(count, if *name == "s2" { 7 } else { 6 }, "{name}");
    }
    drop(sockets);
    stopped.await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_10_the_heartbeats_reply_is_exactly_this() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    for joined in [false, true] {
        let mut socket = if joined {
            joined_legacy(&sandbox, &leaf, V2).await?
        } else {
            connect_to(&sandbox, &leaf, V2).await?
        };
        let beat = message((json!(null), json!("5")), "phoenix", "heartbeat", json!({}));
        ask(&mut socket, &beat).await?;
        let ok = json!({"status": "ok", "response": {}});
        let expected = json!([null, "5", "phoenix", "phx_reply", ok]);
        assert_eq!(texts(&socket).last(), Some(&expected));
    }
    let mut socket = connect_to(&sandbox, &leaf, BARE).await?;
    let beat = message((json!(null), json!(5)), "phoenix", "heartbeat", json!({}));
    ask(&mut socket, &beat).await?;
    let expected = json!({
        "topic": "phoenix", "event": "phx_reply", "ref": 5,
        "payload": {"status": "ok", "response": {}},
    });
    assert_eq!(texts(&socket), [expected]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_12_a_payload_may_be_null() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    for target in DIALECTS {
        let mut socket = connect_to(&sandbox, &leaf, target).await?;
        let steps = [
            ("phoenix", "heartbeat"),
            ("device", "phx_join"),
            ("phoenix", "heartbeat"),
            ("device", "phx_leave"),
        ];
        for (n, (topic, event)) in steps.into_iter().enumerate() {
            let refs = (json!(null), json!(n.to_string()));
            let reply = ask(&mut socket, &message(refs, topic, event, Value::Null)).await?;
            assert_eq!(reply.status(), Some("ok"), "{target} {event}");
        }
        socket.expect_push("phx_close", PATIENCE).await?;
    }
    Ok(())
}

/// Nothing on a node restarts a channel without closing its socket, so only the encoder can be shown.
#[test]
fn wire_rule_13_a_channels_error_has_the_joins_ref_as_ref() -> anyhow::Result<()> {
    for join_ref in [Ref::text("6")?, Ref::Int(6)] {
        let text = Serializer::V2.channel_error(Some(&join_ref), "device", "crashed");
        let [first, second, topic, event, payload]: [Value; 5] = serde_json::from_str(&text)?;
        assert!(first == second && !first.is_null(), "{text}");
        assert_eq!((topic, event), (json!("device"), json!("phx_error")));
        assert_eq!(payload, json!({"reason": "crashed"}));
        let text = Serializer::V1.channel_error(Some(&join_ref), "device", "crashed");
        let object: Value = serde_json::from_str(&text)?;
        assert_eq!(object["ref"], first);
    }
    Ok(())
}
