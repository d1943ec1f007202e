//! Cases 64, 65, 67, 68, 73 and 74: joins in every order but the right one.

use hub_core::limits::{CHANNELS_MAX, FIRST_JOIN_MAX, OFFERS_FREE};
use hub_proto::api::TargetSet;
use hub_tests::raw_ws::{Frame, Received};
use hub_tests::sandbox::{ORG, PRODUCT};
use hub_tests::wait::{self, PATIENCE};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::{Joined, LATE, Scene, command, hello};

/// Frames as one write, so that the node finds them all at once.
fn burst(texts: &[String]) -> Vec<u8> {
    texts
        .iter()
        .flat_map(|text| Frame::text(text).to_bytes())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_63_a_socket_that_joins_nothing_is_closed_4412() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let mut idle = scene.rogue().await?;
    let since = Instant::now();
    let within = FIRST_JOIN_MAX + LATE;
    let harm = idle.expect_close(4412, within);
    scene.while_served(harm).await?;
    assert!(since.elapsed() + LATE / 5 > FIRST_JOIN_MAX);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn case_64_a_second_join_of_a_topic_replaces_the_first() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    scene.hub.group("field", 0, &["rogue"]).await?;
    let mut rogue = scene.joined().await?;
    let topic = format!("group:{ORG}:{PRODUCT}:field");
    let mut latest = Value::Null;
    for _ in 0..2 {
        let reply = rogue.socket.join("device", hello(), PATIENCE).await?;
        assert_eq!(reply.status(), Some("ok"));
        rogue.join_ref = reply.join_ref;
        for _ in 0..2 {
            let reply = rogue.socket.join(&topic, json!({}), PATIENCE).await?;
            assert_eq!(reply.status(), Some("ok"));
            latest = reply.join_ref;
        }
    }
    let sent = command(&scene.hub, "rogue", "identify", &json!({})).await?;
    let body = hub_proto::api::CommandCreate {
        name: "blink".parse()?,
        args: None,
        ttl_s: None,
    };
    scene
        .hub
        .api
        .command_group(ORG, PRODUCT, "field", &body)
        .await?;
    let push = rogue.socket.expect_push("identify", PATIENCE).await?;
    assert_eq!(push.join_ref, rogue.join_ref, "under the newest join");
    assert_eq!(push.payload["id"], sent.id.to_string());
    let push = rogue.socket.expect_push("blink", PATIENCE).await?;
    assert_eq!((&push.topic, &push.join_ref), (&topic, &latest));
    let after = rogue.socket.before_heartbeat(PATIENCE).await?;
    let again = |name: &str| after.iter().any(|message| message.event == name);
    assert!(!again("identify") && !again("blink"), "{after:?}");
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_65_a_ref_in_flight_is_not_taken_twice() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let mut rogue = scene.joined().await?;
    let text = |status: &str| {
        json!([rogue.join_ref, "twice", "device", "status_update", {"status": status}]).to_string()
    };
    let frames = burst(&[text("received"), text("failed")]);
    rogue.socket.send_bytes(&frames).await?;
    let reference = json!("twice");
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let reply = rogue
            .socket
            .expect_reply("device", &reference, PATIENCE)
            .await?;
        let reason = reply.response()["reason"].as_str().map(str::to_owned);
        statuses.push((reply.status().map(str::to_owned), reason));
    }
    let duplicate = (Some("error".to_owned()), Some("duplicate_ref".to_owned()));
    assert_eq!(statuses, [duplicate, (Some("ok".to_owned()), None)]);
    let device = scene.hub.api.device(ORG, PRODUCT, "rogue").await?;
    let status = device.update.map(|update| update.status);
    assert_eq!(status.as_deref(), Some("received"));
    // Once it is answered it is free again.
    rogue.socket.send_text(&text("started")).await?;
    let reply = rogue
        .socket
        .expect_reply("device", &reference, PATIENCE)
        .await?;
    assert_eq!(reply.status(), Some("ok"));
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_67_a_leave_while_the_join_runs_leaves_no_ghost() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    for round in 0..3 {
        let mut rogue = scene.rogue().await?;
        let join = json!(["j", "j", "device", "phx_join", hello()]).to_string();
        let leave = json!(["j", "l", "device", "phx_leave", {}]).to_string();
        rogue.send_bytes(&burst(&[join, leave])).await?;
        let reply = rogue.expect_reply("device", &json!("l"), PATIENCE).await?;
        assert_eq!(reply.status(), Some("ok"));
        rogue.expect_push("phx_close", PATIENCE).await?;
        let api = &scene.hub.api;
        let gone = async || {
            let device = api.device(ORG, PRODUCT, "rogue").await.ok()?;
            device.connection.is_none().then_some(())
        };
        wait::until("the device has left", PATIENCE, gone).await?;
        let left = command(&scene.hub, "rogue", "identify", &json!({"round": round})).await?;
        let heard = rogue.before_heartbeat(PATIENCE).await?;
        assert!(heard.iter().all(|message| message.event != "identify"));
        // On the same socket it may come back, and what waited is delivered.
        let mut back = Joined::join(rogue).await?;
        let push = back.socket.expect_push("identify", PATIENCE).await?;
        assert_eq!(push.payload["id"], left.id.to_string());
        back.ask("command_ack", json!({"id": left.id.to_string()}))
            .await?;
    }
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_68_a_socket_joins_a_bounded_number_of_topics() -> anyhow::Result<()> {
    const GROUPS: usize = CHANNELS_MAX + 4;
    let mut scene = Scene::start().await?;
    for number in 0..GROUPS {
        let name = format!("g{number}");
        scene.hub.group(&name, 0, &["rogue"]).await?;
    }
    let mut rogue = scene.joined().await?;
    let mut joined = 1;
    for number in 0..GROUPS {
        let topic = format!("group:{ORG}:{PRODUCT}:g{number}");
        let reply = rogue.socket.join(&topic, json!({}), PATIENCE).await?;
        match reply.status() {
            Some("ok") => joined += 1,
            _ => assert_eq!(reply.response()["reason"], "too_many_channels"),
        }
    }
    assert_eq!(joined, CHANNELS_MAX);
    rogue.is_kept().await?;
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_73_success_claimed_and_never_shown_is_offered_less_and_less() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let (_, uuid) = scene.hub.firmware("2.0.0", 1_000).await?;
    let target = TargetSet {
        allow_downgrade: true,
        firmware: Some(uuid.parse()?),
    };
    scene
        .hub
        .api
        .target_device(ORG, PRODUCT, "rogue", &target)
        .await?;
    for _ in 0..OFFERS_FREE {
        let mut liar = scene.joined().await?;
        let offer = liar.socket.expect_push("firmware_update", PATIENCE).await?;
        assert_eq!(offer.payload["uuid"], uuid);
        let about = json!({"status": "completed", "id": offer.payload["id"]});
        let reply = liar.ask("status_update", about).await?;
        assert_eq!(reply.status(), Some("ok"), "{reply:?}");
        // Gone without a word: the next join is a new socket.
    }
    let mut liar = scene.joined().await?;
    let heard = liar.socket.before_heartbeat(PATIENCE).await?;
    assert!(
        heard.iter().all(|m| m.event != "firmware_update"),
        "{heard:?}"
    );
    // Everything else goes on, and a new decision starts again at once.
    command(&scene.hub, "rogue", "identify", &json!({})).await?;
    liar.socket.expect_push("identify", PATIENCE).await?;
    let (_, other) = scene.hub.firmware("3.0.0", 1_000).await?;
    let target = TargetSet {
        allow_downgrade: true,
        firmware: Some(other.parse()?),
    };
    scene
        .hub
        .api
        .target_device(ORG, PRODUCT, "rogue", &target)
        .await?;
    let offer = liar.socket.expect_push("firmware_update", PATIENCE).await?;
    assert_eq!(offer.payload["uuid"], other);
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_74_a_device_cannot_talk_itself_past_its_commands() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let waiting = command(&scene.hub, "rogue", "identify", &json!({})).await?;
    let mut claims = hello();
    for (key, value) in [
        ("seq", json!(u32::MAX)),
        ("last_seq", json!(i64::MAX)),
        ("acked_seq", json!({"d:1": 99})),
        ("epoch", json!("0000")),
        ("generation", json!(i64::MAX)),
    ] {
        claims[key] = value;
    }
    for _ in 0..2 {
        let mut rogue = scene.rogue().await?;
        let reply = rogue.join("device", claims.clone(), PATIENCE).await?;
        assert_eq!(reply.status(), Some("ok"));
        let push = rogue.expect_push("identify", PATIENCE).await?;
        assert_eq!(push.payload["id"], waiting.id.to_string());
        let ended = |received: &Received| matches!(received, Received::Close(..));
        assert!(!rogue.record().iter().any(ended));
    }
    scene.neighbour_is_served().await
}
