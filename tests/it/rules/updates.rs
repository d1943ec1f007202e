//! Rules 6 and 7: which firmware a device is offered, and what it reports about it.

use hub_tests::raw_ws::RawWs;
use hub_tests::sandbox::{ORG, PRODUCT, Sandbox};
use hub_tests::wait::PATIENCE;
use serde_json::{Value, json};

use crate::acts::{
    acking, acking_on, hears_nothing, join_group, joined, target_device, target_group, topic_of,
    until_update,
};

/// The next offer: its topic and the uuid it offers.
async fn offer(socket: &mut RawWs) -> anyhow::Result<(String, String)> {
    let push = socket.expect_push("firmware_update", PATIENCE).await?;
    let uuid = push.payload["uuid"].as_str().unwrap_or_default().to_owned();
    Ok((push.topic, uuid))
}

fn on(topic: &str, uuid: &str) -> (String, String) {
    (topic.to_owned(), uuid.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_06_the_devices_target_then_the_highest_group_then_none() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (_, one) = sandbox.firmware("1.1.0", 64).await?;
    let (_, two) = sandbox.firmware("1.2.0", 64).await?;
    let (_, own) = sandbox.firmware("1.3.0", 64).await?;
    let leaf = sandbox.device("s1").await?;
    sandbox.group("low", 1, &["s1"]).await?;
    sandbox.group("high", 7, &["s1"]).await?;
    sandbox.group("top", 9, &["s1"]).await?;
    target_group(&sandbox, "low", Some(&one)).await?;
    target_group(&sandbox, "high", Some(&two)).await?;

    let mut socket = sandbox.connect(&leaf).await?;
    socket.join("device", acking(), PATIENCE).await?;
    // The group of the highest priority has no target and does not count; its channel is not joined yet.
    assert_eq!(offer(&mut socket).await?, on("device", &two));
    join_group(&mut socket, "low").await?;
    join_group(&mut socket, "high").await?;

    target_device(&sandbox, "s1", Some(&own)).await?;
    assert_eq!(offer(&mut socket).await?, on("device", &own));
    // A group's change is hidden by the device's own target.
    target_group(&sandbox, "high", Some(&one)).await?;
    target_group(&sandbox, "high", Some(&two)).await?;
    hears_nothing(&sandbox, &mut socket, "s1").await?;

    target_device(&sandbox, "s1", None).await?;
    assert_eq!(offer(&mut socket).await?, on(&topic_of("high"), &two));
    target_group(&sandbox, "high", None).await?;
    assert_eq!(offer(&mut socket).await?, on(&topic_of("low"), &one));
    target_group(&sandbox, "low", None).await?;
    let device = sandbox.api.device(ORG, PRODUCT, "s1").await?;
    assert_eq!(device.effective_target, None);
    hears_nothing(&sandbox, &mut socket, "s1").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_06_a_groups_target_reaches_its_members_and_not_those_on_it() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (_, uuid) = sandbox.firmware("2.0.0", 64).await?;
    let (mut inside, _) = joined(&sandbox, "inside", acking()).await?;
    let (mut outside, _) = joined(&sandbox, "outside", acking()).await?;
    let (mut done, _) = joined(&sandbox, "done", acking_on(&uuid)).await?;
    let (mut stranger, _) = joined(&sandbox, "stranger", acking()).await?;
    sandbox
        .group("field", 1, &["inside", "outside", "done"])
        .await?;
    inside.expect_push("join", PATIENCE).await?;
    outside.expect_push("join", PATIENCE).await?;
    done.expect_push("join", PATIENCE).await?;
    join_group(&mut inside, "field").await?;
    join_group(&mut done, "field").await?;
    target_group(&sandbox, "field", Some(&uuid)).await?;
    assert_eq!(offer(&mut inside).await?, on(&topic_of("field"), &uuid));
    assert_eq!(offer(&mut outside).await?, on("device", &uuid));
    hears_nothing(&sandbox, &mut done, "done").await?;
    hears_nothing(&sandbox, &mut stranger, "stranger").await?;
    Ok(())
}

/// Pushes a report and waits for the reply, which comes after the commit.
async fn report(
    socket: &mut RawWs,
    join_ref: &Value,
    event: &str,
    payload: Value,
) -> anyhow::Result<()> {
    let reference = socket.push(join_ref, "device", event, payload).await?;
    let reply = socket.expect_reply("device", &reference, PATIENCE).await?;
    assert_eq!(reply.status(), Some("ok"), "{event}: {reply:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_07_progress_of_an_update_is_seen_through_the_api() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (_, uuid) = sandbox.firmware("2.0.0", 64).await?;
    let (mut socket, joined) = joined(&sandbox, "s1", acking()).await?;
    let me = joined.join_ref;
    target_device(&sandbox, "s1", Some(&uuid)).await?;
    socket.expect_push("firmware_update", PATIENCE).await?;

    for status in ["received", "ignored", "rescheduled", "started"] {
        report(&mut socket, &me, "status_update", json!({"status": status})).await?;
        let device = sandbox.api.device(ORG, PRODUCT, "s1").await?;
        assert_eq!(device.update.map(|u| u.status).as_deref(), Some(status));
    }
    let progress = json!({"value": 42, "stage": "downloading"});
    report(&mut socket, &me, "fwup_progress", progress).await?;
    let seen = until_update(&sandbox, "s1", "42 percent", |u| u.progress == Some(42)).await?;
    assert_eq!(seen.status, "downloading");
    let progress = json!({"value": 100, "stage": "updating"});
    report(&mut socket, &me, "fwup_progress", progress).await?;
    let seen = until_update(&sandbox, "s1", "100 percent", |u| u.progress == Some(100)).await?;
    assert_eq!(seen.status, "updating");
    for (event, payload, status) in [
        ("status_update", json!({"status": "completed"}), "completed"),
        ("rebooting", json!({}), "rebooting"),
    ] {
        report(&mut socket, &me, event, payload).await?;
        let device = sandbox.api.device(ORG, PRODUCT, "s1").await?;
        assert_eq!(device.update.map(|u| u.status).as_deref(), Some(status));
    }

    // Success is the next join.
    let reply = socket.join("device", acking_on(&uuid), PATIENCE).await?;
    assert_eq!(reply.status(), Some("ok"));
    let device = sandbox.api.device(ORG, PRODUCT, "s1").await?;
    assert_eq!(device.firmware.get("uuid"), Some(&uuid));
    assert_eq!(device.effective_target.map(|t| t.uuid), Some(uuid));
    assert_eq!(socket.before_heartbeat(PATIENCE).await?, []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_07_problems_are_kept_in_the_devices_words() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (mut socket, joined) = joined(&sandbox, "s1", acking()).await?;
    let me = joined.join_ref;
    let errors = json!({"errors": ["no space left", "slot b is broken"]});
    report(&mut socket, &me, "firmware_update_error", errors).await?;
    let device = sandbox.api.device(ORG, PRODUCT, "s1").await?;
    let update = device.update.expect("it was just reported");
    assert_eq!(update.status, "failed");
    let error = update.error.unwrap_or_default();
    assert!(error.contains("no space left") && error.contains("slot b is broken"));
    // A report that makes no sense changes nothing.
    let reference = socket
        .push(&me, "device", "fwup_progress", json!({"value": 101}))
        .await?;
    let reply = socket.expect_reply("device", &reference, PATIENCE).await?;
    assert_eq!(reply.status(), Some("error"));
    let device = sandbox.api.device(ORG, PRODUCT, "s1").await?;
    assert_eq!(device.update.map(|u| u.status).as_deref(), Some("failed"));
    Ok(())
}
