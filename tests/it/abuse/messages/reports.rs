//! Cases 70 to 72 and 75: reports about other people's commands, reports twice, reports out of order.

use hub_proto::api::{ExecutionState, UpdateState};
use hub_proto::id::CommandId;
use hub_proto::time::Timestamp;
use hub_tests::raw_ws::Message;
use hub_tests::sandbox::{ORG, PRODUCT};
use hub_tests::wait::PATIENCE;
use serde_json::{Value, json};

use super::super::{Joined, Scene, command};

/// How far a device's own command is.
async fn state(scene: &Scene, command: CommandId) -> anyhow::Result<ExecutionState> {
    let page = Default::default();
    let executions = scene.hub.api.executions(ORG, command, &page).await?;
    Ok(executions.items[0].state)
}

/// What the hub has stored about the rogue's update.
async fn update(scene: &Scene) -> anyhow::Result<UpdateState> {
    let device = scene.hub.api.device(ORG, PRODUCT, "rogue").await?;
    device
        .update
        .ok_or_else(|| anyhow::anyhow!("nothing is stored"))
}

fn succeeded(id: CommandId) -> Value {
    json!({"id": id.to_string(), "status": "succeeded", "output": "mine"})
}

fn is_ok(reply: &Message) {
    assert_eq!(reply.status(), Some("ok"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_70_nobody_answers_for_another_device() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    scene.hub.device("other").await?;
    let theirs = command(&scene.hub, "other", "identify", &json!({})).await?;
    let mut rogue = scene.joined().await?;
    let unknown = CommandId("01890000-0000-7000-8000-000000000000".parse()?);
    for id in [theirs.id, unknown] {
        for (event, payload) in [
            ("command_ack", json!({"id": id.to_string()})),
            ("command_result", succeeded(id)),
        ] {
            let reply = rogue.ask(event, payload).await?;
            assert_eq!(reply.status(), Some("error"), "{reply:?}");
            assert_eq!(reply.response(), &json!({"reason": "not_found"}));
        }
    }
    assert_eq!(state(&scene, theirs.id).await?, ExecutionState::Queued);
    for bad in [json!({}), json!({"id": 7}), json!({"id": "x"})] {
        let reply = rogue.ask("command_ack", bad).await?;
        assert_eq!(reply.response()["reason"], "bad_value");
    }
    rogue.is_kept().await?;
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_70_an_older_connection_answers_for_nobody() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let mut old = scene.joined().await?;
    let mut new = scene.joined().await?;
    let sent = command(&scene.hub, "rogue", "identify", &json!({})).await?;
    new.socket.expect_push("identify", PATIENCE).await?;
    // The older socket is told to go, and what it says from then on is not heard.
    old.socket.expect_close(4409, PATIENCE).await?;
    let late = old.socket.push(
        &old.join_ref,
        "device",
        "command_result",
        succeeded(sent.id),
    );
    let _ = late.await;
    new.is_kept().await?;
    let stored = state(&scene, sent.id).await?;
    assert!(
        matches!(stored, ExecutionState::Queued | ExecutionState::Sent),
        "{stored:?}"
    );
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_71_the_same_report_twice_is_ok_and_counts_once() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let mut rogue = scene.joined().await?;
    let sent = command(&scene.hub, "rogue", "identify", &json!({})).await?;
    rogue.socket.expect_push("identify", PATIENCE).await?;
    let ack = json!({"id": sent.id.to_string()});
    for _ in 0..3 {
        is_ok(&rogue.ask("command_ack", ack.clone()).await?);
        assert_eq!(state(&scene, sent.id).await?, ExecutionState::Delivered);
    }
    is_ok(&rogue.ask("command_result", succeeded(sent.id)).await?);
    // Neither an ack behind the result nor another result moves it back.
    is_ok(&rogue.ask("command_ack", ack).await?);
    let failed = json!({"id": sent.id.to_string(), "status": "failed", "output": "later"});
    is_ok(&rogue.ask("command_result", failed).await?);
    let page = Default::default();
    let executions = scene.hub.api.executions(ORG, sent.id, &page).await?;
    let execution = &executions.items[0];
    assert_eq!(execution.state, ExecutionState::Succeeded);
    assert_eq!(execution.output.as_deref(), Some("mine"));
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_72_an_update_that_is_over_does_not_go_on() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let (_, uuid) = scene.hub.firmware("2.0.0", 1_000).await?;
    let target = hub_proto::api::TargetSet {
        allow_downgrade: true,
        firmware: Some(uuid.parse()?),
    };
    scene
        .hub
        .api
        .target_device(ORG, PRODUCT, "rogue", &target)
        .await?;
    let mut rogue = scene.joined().await?;
    let offer = rogue
        .socket
        .expect_push("firmware_update", PATIENCE)
        .await?;
    let id = offer.payload["id"].clone();
    let say = async |rogue: &mut Joined, status: &str, id: &Value| {
        let about = json!({"status": status, "id": id});
        rogue.ask("status_update", about).await
    };
    for status in ["received", "started", "completed"] {
        is_ok(&say(&mut rogue, status, &id).await?);
        assert_eq!(update(&scene).await?.status, status);
    }
    // Backwards: answered, so that the device stops saying it, and not believed.
    is_ok(&say(&mut rogue, "downloading", &id).await?);
    is_ok(&say(&mut rogue, "updating", &id).await?);
    let late = json!({"value": 3, "stage": "downloading", "id": id});
    is_ok(&rogue.ask("fwup_progress", late).await?);
    assert_eq!(update(&scene).await?.status, "completed");
    // Another update than the one that was offered: the same.
    let other = json!("00000000-0000-5000-8000-000000000000");
    is_ok(&say(&mut rogue, "failed", &other).await?);
    let late = json!({"errors": ["boom"], "id": other});
    is_ok(&rogue.ask("firmware_update_error", late).await?);
    let late = json!({"value": 3, "id": other});
    is_ok(&rogue.ask("fwup_progress", late).await?);
    let stored = update(&scene).await?;
    assert_eq!((stored.status.as_str(), stored.error), ("completed", None));
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_75_a_devices_clock_is_a_claim() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let mut rogue = scene.joined().await?;
    let before: Timestamp = std::time::SystemTime::now().into();
    for at in ["1970-01-01T00:00:00Z", "2099-12-31T23:59:59Z"] {
        let claim = json!({"status": "started", "at": at, "timestamp": at, "time": 0});
        is_ok(&rogue.ask("status_update", claim).await?);
        let stored = update(&scene).await?.at;
        let after: Timestamp = std::time::SystemTime::now().into();
        assert!(before <= stored && stored <= after, "{stored:?}");
    }
    scene.neighbour_is_served().await
}
