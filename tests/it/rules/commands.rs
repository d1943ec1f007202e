//! Rule 8: commands to a device and to a group, acknowledged by those that can and evident for those that cannot.

use hub_proto::api::ExecutionState;
use hub_tests::raw_ws::{Frame, Opcode, RawWs, Received};
use hub_tests::sandbox::Sandbox;
use hub_tests::wait::PATIENCE;
use serde_json::{Value, json};

use crate::acts::{
    acking, command_device, command_group, execution, hears_nothing, join_group, joined, legacy,
    topic_of, until_state,
};

/// Answers a command and waits for the reply, which must be ok.
async fn answer(
    socket: &mut RawWs,
    join_ref: &Value,
    topic: &str,
    event: &str,
    payload: Value,
) -> anyhow::Result<()> {
    let reference = socket.push(join_ref, topic, event, payload).await?;
    let reply = socket.expect_reply(topic, &reference, PATIENCE).await?;
    assert_eq!(reply.status(), Some("ok"), "{event}: {reply:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_08_a_device_answers_a_command_and_is_replied_after_commit() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (mut socket, joined) = joined(&sandbox, "s1", acking()).await?;
    let me = joined.join_ref;
    let outcomes = [
        ("reboot", "succeeded", ExecutionState::Succeeded),
        ("logs", "failed", ExecutionState::Failed),
        ("set-led", "rejected", ExecutionState::Rejected),
    ];
    for (name, word, state) in outcomes {
        let args = json!({"colour": "red", "times": 3});
        let id = command_device(&sandbox, "s1", name, args).await?;
        let push = socket.expect_push(name, PATIENCE).await?;
        assert_eq!((&*push.topic, &push.join_ref), ("device", &me));
        let payload = json!({"id": id, "colour": "red", "times": 3});
        assert_eq!(push.payload, payload);
        // No waiting below: a reply means that it is committed.
        let ack = json!({"id": id});
        answer(&mut socket, &me, "device", "command_ack", ack).await?;
        let (now, _) = execution(&sandbox, id, "s1").await?;
        assert_eq!(now, ExecutionState::Delivered);
        let result = json!({"id": id, "status": word, "output": "42 lines"});
        answer(&mut socket, &me, "device", "command_result", result).await?;
        let now = execution(&sandbox, id, "s1").await?;
        assert_eq!(now, (state, Some("42 lines".to_owned())));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_08_a_groups_command_reaches_its_members_once() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (mut first, _) = joined(&sandbox, "s1", acking()).await?;
    let (mut second, _) = joined(&sandbox, "s2", acking()).await?;
    let (mut stranger, _) = joined(&sandbox, "s3", acking()).await?;
    sandbox.group("field", 1, &["s1", "s2"]).await?;
    for socket in [&mut first, &mut second] {
        socket.expect_push("join", PATIENCE).await?;
    }
    let refs = [
        join_group(&mut first, "field").await?,
        join_group(&mut second, "field").await?,
    ];
    let id = command_group(&sandbox, "field", "reboot", json!({"after_s": 1})).await?;
    for ((socket, name), join_ref) in [(&mut first, "s1"), (&mut second, "s2")]
        .into_iter()
        .zip(&refs)
    {
        let push = socket.expect_push("reboot", PATIENCE).await?;
        assert_eq!(
            (&push.topic, &push.join_ref),
            (&topic_of("field"), join_ref)
        );
        assert_eq!(push.payload, json!({"id": id, "after_s": 1}));
        let done = json!({"id": id, "status": "succeeded"});
        let topic = topic_of("field");
        answer(socket, join_ref, &topic, "command_result", done).await?;
        let (now, _) = execution(&sandbox, id, name).await?;
        assert_eq!(now, ExecutionState::Succeeded);
        hears_nothing(&sandbox, socket, name).await?;
    }
    hears_nothing(&sandbox, &mut stranger, "s3").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_08_a_device_without_acks_gets_silence_and_its_pong_is_the_evidence()
-> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (mut socket, joined) = joined(&sandbox, "s1", legacy()).await?;
    let me = joined.join_ref;
    socket.hold_pongs(true);
    let id = command_device(&sandbox, "s1", "identify", json!({})).await?;
    socket.expect_push("identify", PATIENCE).await?;
    let (_, ping) = socket
        .take("a ping behind the command", PATIENCE, |received| {
            if let Received::Ping(payload) = received {
                Some(payload.clone())
            } else {
                None
            }
        })
        .await?;
    let (now, _) = execution(&sandbox, id, "s1").await?;
    assert_eq!(
        now,
        ExecutionState::Sent,
        "nothing shows yet that it has it"
    );
    let pong = Frame::new(Opcode::Pong, ping);
    socket.send_frame(&pong).await?;
    until_state(&sandbox, id, "s1", ExecutionState::Delivered).await?;

    // It may report all the same, and is not answered.
    let result = json!({"id": id, "status": "succeeded"});
    socket.push(&me, "device", "command_result", result).await?;
    until_state(&sandbox, id, "s1", ExecutionState::Succeeded).await?;
    assert_eq!(socket.before_heartbeat(PATIENCE).await?, []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_08_a_device_that_joins_no_group_channel_still_gets_the_groups_commands()
-> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (mut acks, first) = joined(&sandbox, "s1", acking()).await?;
    let (mut silent, second) = joined(&sandbox, "s2", legacy()).await?;
    sandbox.group("field", 1, &["s1", "s2"]).await?;
    acks.expect_push("join", PATIENCE).await?;
    silent.expect_push("join", PATIENCE).await?;
    let id = command_group(&sandbox, "field", "reboot", json!({"n": 1})).await?;
    for (socket, joined) in [(&mut acks, &first), (&mut silent, &second)] {
        let push = socket.expect_push("reboot", PATIENCE).await?;
        assert_eq!((&*push.topic, &push.join_ref), ("device", &joined.join_ref));
        assert_eq!(push.payload, json!({"id": id, "n": 1}));
    }
    let done = json!({"id": id, "status": "succeeded"});
    let me = &first.join_ref;
    answer(&mut acks, me, "device", "command_result", done).await?;
    let (now, _) = execution(&sandbox, id, "s1").await?;
    assert_eq!(now, ExecutionState::Succeeded);
    // Reading on answers the ping that followed the command.
    silent.before_heartbeat(PATIENCE).await?;
    until_state(&sandbox, id, "s2", ExecutionState::Delivered).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_08_commands_of_an_absent_device_wait_for_it_in_order() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    sandbox.group("field", 1, &["s1"]).await?;
    command_device(&sandbox, "s1", "identify", json!({"n": 1})).await?;
    command_group(&sandbox, "field", "identify", json!({"n": 2})).await?;
    command_device(&sandbox, "s1", "identify", json!({"n": 3})).await?;
    let mut socket = sandbox.connect(&leaf).await?;
    socket.join("device", acking(), PATIENCE).await?;
    let mut own = Vec::new();
    for _ in 0..3 {
        let push = socket.expect_push("identify", PATIENCE).await?;
        own.push(push.payload["n"].clone());
    }
    // Order is kept inside a channel; between two there is none to keep.
    own.retain(|n| *n != json!(2));
    assert_eq!(own, [json!(1), json!(3)]);
    Ok(())
}
