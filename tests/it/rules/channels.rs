//! Rules 2 to 5: joining the device channel and group channels, and what a member is told.

use hub_proto::api::{GroupCreate, OrgCreate, ProductCreate};
use hub_tests::raw_ws::Message;
use hub_tests::sandbox::{ORG, PRODUCT, Sandbox};
use hub_tests::wait::PATIENCE;
use hub_tests::{raw_ws::RawWs, wait};
use serde_json::{Value, json};

use crate::acts::{
    RUNNING, acking, command_group, heard, hears_nothing, join_group, joined, legacy,
    target_device, texts, topic_of,
};

#[tokio::test(flavor = "multi_thread")]
async fn rule_02_both_topics_join_and_the_running_firmware_is_recorded() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let full = legacy();
    let with_unknown_keys = {
        let mut payload = legacy();
        payload["favourite_colour"] = json!({"hue": [1, 2, 3]});
        payload
    };
    let cases: [(&str, String, Value); 4] = [
        ("long", format!("device:{RUNNING}"), full.clone()),
        ("short", "device".to_owned(), full),
        ("strange", "device".to_owned(), with_unknown_keys),
        // The topic alone says it.
        ("bare", format!("device:{RUNNING}"), json!({})),
    ];
    for (name, topic, payload) in cases {
        let leaf = sandbox.device(name).await?;
        let mut socket = sandbox.connect(&leaf).await?;
        let reply = socket.join(&topic, payload.clone(), PATIENCE).await?;
        assert_eq!(reply.status(), Some("ok"), "{name}: {reply:?}");
        assert_eq!(reply.response()["groups"], json!([]), "{name}");
        let device = sandbox.api.device(ORG, PRODUCT, name).await?;
        let recorded = |key: &str| device.firmware.get(key).map(String::as_str);
        assert_eq!(recorded("uuid"), Some(RUNNING), "{name}");
        let version = payload["nerves_fw_version"].as_str();
        assert_eq!(recorded("version"), version, "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_02_what_runs_is_compared_with_the_target() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (_, uuid) = sandbox.firmware("2.0.0", 64).await?;
    let leaf = sandbox.device("s1").await?;
    target_device(&sandbox, "s1", Some(&uuid)).await?;
    // The topic alone, the payload alone, and an older firmware.
    let on_it = json!({"nerves_fw_uuid": uuid});
    let cases = [
        (format!("device:{uuid}"), json!({}), false),
        ("device".to_owned(), on_it, false),
        ("device".to_owned(), legacy(), true),
    ];
    for (topic, payload, offered) in cases {
        let mut socket = sandbox.connect(&leaf).await?;
        socket.join(&topic, payload.clone(), PATIENCE).await?;
        socket.before_heartbeat(PATIENCE).await?;
        assert_eq!(
            heard(&socket, "firmware_update"),
            offered,
            "{topic} {payload}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_03_the_reply_lists_the_groups_and_the_offer_follows_it() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (file, uuid) = sandbox.firmware("2.0.0", 1000).await?;
    let leaf = sandbox.device("s1").await?;
    sandbox.group("field", 1, &["s1"]).await?;
    sandbox.group("lab", 2, &["s1"]).await?;
    target_device(&sandbox, "s1", Some(&uuid)).await?;
    let mut socket = sandbox.connect(&leaf).await?;
    let reply = socket.join("device", acking(), PATIENCE).await?;
    let offer = socket.expect_push("firmware_update", PATIENCE).await?;

    let mut groups: Vec<_> = reply.response()["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|topic| topic.as_str().unwrap().to_owned())
        .collect();
    groups.sort();
    assert_eq!(groups, [topic_of("field"), topic_of("lab")]);

    assert_eq!(
        (&*offer.topic, &offer.join_ref),
        ("device", &reply.join_ref)
    );
    let payload = &offer.payload;
    assert_eq!(payload["uuid"], json!(uuid));
    assert_eq!(payload["version"], "2.0.0");
    assert_eq!(payload["size"], json!(std::fs::metadata(&file)?.len()));
    assert_eq!(payload["sha256"].as_str().map(str::len), Some(64));
    assert!(payload["id"].as_str().is_some_and(|id| id.len() == 36));
    let url = payload["url"].as_str().unwrap();
    let base = format!("https://{}/firmware/", sandbox.node.device_addr());
    assert!(url.starts_with(&base), "{url}");

    let events: Vec<_> = texts(&socket).iter().map(|m| m[3].clone()).collect();
    assert_eq!(events, ["phx_reply", "firmware_update"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_04_a_group_is_joined_by_its_members_and_is_missing_for_all_others()
-> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    foreign_group(&sandbox, "umbrella", PRODUCT, "field").await?;
    sandbox
        .api
        .create_product(
            ORG,
            &ProductCreate {
                name: "gate".parse()?,
            },
        )
        .await?;
    let (mut socket, _) = joined(&sandbox, "s1", acking()).await?;
    sandbox.group("field", 1, &["s1"]).await?;
    sandbox.group("empty", 1, &[]).await?;
    socket.expect_push("join", PATIENCE).await?;

    let join_ref = join_group(&mut socket, "field").await?;
    // The group channel takes what the device channel takes.
    let id = command_group(&sandbox, "field", "identify", json!({})).await?;
    let push = socket.expect_push("identify", PATIENCE).await?;
    assert_eq!(push.topic, topic_of("field"));
    let ack = json!({"id": id});
    let reference = socket
        .push(&join_ref, &topic_of("field"), "command_ack", ack)
        .await?;
    let reply = socket
        .expect_reply(&topic_of("field"), &reference, PATIENCE)
        .await?;
    assert_eq!(reply.status(), Some("ok"), "{reply:?}");

    let others = [
        topic_of("missing"),
        topic_of("empty"),
        format!("group:umbrella:{PRODUCT}:field"),
        format!("group:{ORG}:gate:field"),
        format!("group:nobody:{PRODUCT}:field"),
    ];
    for topic in others {
        let reply = socket.join(&topic, json!({}), PATIENCE).await?;
        assert_eq!(reply.status(), Some("error"), "{topic}");
        assert_eq!(reply.response(), &json!({"reason": "not_found"}), "{topic}");
    }
    Ok(())
}

async fn foreign_group(
    sandbox: &Sandbox,
    org: &str,
    product: &str,
    group: &str,
) -> anyhow::Result<()> {
    let root = &sandbox.root;
    root.create_org(&OrgCreate { name: org.parse()? }).await?;
    let name = product.parse()?;
    root.create_product(org, &ProductCreate { name }).await?;
    let body = GroupCreate {
        name: group.parse()?,
        priority: 0,
    };
    root.create_group(org, product, &body).await?;
    Ok(())
}

/// The next push of this event, which must be on the device channel and name this group's channel.
async fn told(
    socket: &mut RawWs,
    device: &Message,
    event: &str,
    group: &str,
) -> anyhow::Result<()> {
    let push = socket.expect_push(event, PATIENCE).await?;
    assert_eq!(push.payload, json!({"channel": topic_of(group)}));
    assert_eq!(
        (&push.topic, &push.join_ref),
        (&device.topic, &device.join_ref)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_05_a_connected_device_is_told_of_its_groups() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (mut socket, device) = joined(&sandbox, "s1", acking()).await?;
    sandbox.group("field", 1, &[]).await?;
    sandbox.group("lab", 1, &[]).await?;
    for round in 0..2 {
        sandbox.api.add_member(ORG, PRODUCT, "field", "s1").await?;
        told(&mut socket, &device, "join", "field").await?;
        if round == 0 {
            join_group(&mut socket, "field").await?;
        }
        sandbox
            .api
            .remove_member(ORG, PRODUCT, "field", "s1")
            .await?;
        told(&mut socket, &device, "leave", "field").await?;
        // Delivery stopped at once, although the device has not left.
        let reply = socket.join(&topic_of("field"), json!({}), PATIENCE).await?;
        assert_eq!(reply.response()["reason"], "not_found");
    }
    // Membership of several at once, and one that is no news.
    sandbox.api.add_member(ORG, PRODUCT, "lab", "s1").await?;
    told(&mut socket, &device, "join", "lab").await?;
    sandbox.api.add_member(ORG, PRODUCT, "lab", "s1").await?;
    hears_nothing(&sandbox, &mut socket, "s1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_05_deleting_a_group_sends_leave_to_every_member() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (mut inside, first) = joined(&sandbox, "s1", acking()).await?;
    let (mut outside, second) = joined(&sandbox, "s2", acking()).await?;
    let (mut stranger, _) = joined(&sandbox, "s3", acking()).await?;
    sandbox.group("field", 1, &["s1", "s2"]).await?;
    told(&mut inside, &first, "join", "field").await?;
    told(&mut outside, &second, "join", "field").await?;
    join_group(&mut inside, "field").await?;
    sandbox.api.delete_group(ORG, PRODUCT, "field").await?;
    told(&mut inside, &first, "leave", "field").await?;
    told(&mut outside, &second, "leave", "field").await?;
    hears_nothing(&sandbox, &mut stranger, "s3").await?;
    // A new group of the same name is another group.
    sandbox.group("field", 1, &["s2"]).await?;
    told(&mut outside, &second, "join", "field").await?;
    let reply = inside.join(&topic_of("field"), json!({}), PATIENCE).await?;
    assert_eq!(reply.response()["reason"], "not_found");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_05_a_device_that_leaves_its_channel_is_away() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (mut socket, device) = joined(&sandbox, "s1", acking()).await?;
    let reference = socket
        .push(&device.join_ref, "device", "phx_leave", json!({}))
        .await?;
    socket.expect_reply("device", &reference, PATIENCE).await?;
    wait::until("the device is away", PATIENCE, async || {
        let device = sandbox.api.device(ORG, PRODUCT, "s1").await.ok()?;
        device.connection.is_none().then_some(())
    })
    .await?;
    sandbox.group("field", 1, &["s1"]).await?;
    let reply = socket.join("device", acking(), PATIENCE).await?;
    assert_eq!(reply.response()["groups"], json!([topic_of("field")]));
    assert!(!heard(&socket, "join"), "the reply said it already");
    Ok(())
}
