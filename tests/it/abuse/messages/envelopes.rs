//! Cases 53 to 63, 66 and 69: what can be wrong with a message before anybody asks whose it is.

use std::time::Duration;

use hub_core::limits::{FLOOD_MAX, MALFORMED_MAX, MESSAGES_BURST};
use hub_tests::raw_ws::{Frame, Received};
use hub_tests::sandbox::{ORG, PRODUCT};
use hub_tests::wait::{self, PATIENCE};
use serde_json::json;
use tokio::time::Instant;

use super::super::{LATE, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn case_53_to_55_and_66_without_a_readable_ref_the_fifth_closes_4400() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let long_ref = format!(r#"["1","{}","device","x",{{}}]"#, "r".repeat(65));
    let unreadable = [
        // 53
        "",
        "hello",
        "[",
        "\u{feff}[]", // 54
        "[]",
        "{}",
        "7", // 55
        r#"["1",[],"device","x",{}]"#,
        // 66
        &long_ref,
        r#"["1",1.5,"device","x",{}]"#,
        r#"["1",true,"device","x",{}]"#,
    ];
    for batch in unreadable.chunks(MALFORMED_MAX as usize) {
        let mut rogue = scene.joined().await?;
        for (at, text) in batch.iter().enumerate() {
            rogue.socket.send_text(text).await?;
            let push = rogue.socket.expect_push("error", PATIENCE).await?;
            assert_eq!(push.payload["reason"], "bad_request", "{text:?}");
            assert!(push.reference.is_null(), "{push:?}");
            if at + 1 < MALFORMED_MAX as usize {
                rogue.is_kept().await?;
            }
        }
        if batch.len() == MALFORMED_MAX as usize {
            rogue.socket.expect_close(4400, PATIENCE).await?;
        }
    }
    // 66: a ref of a megabyte is a message that is too large.
    let mut rogue = scene.joined().await?;
    let huge = format!(r#"["1","{}","device","x",{{}}]"#, "r".repeat(1024 * 1024));
    let _ = rogue.socket.send_text(&huge).await;
    rogue.socket.expect_close(1009, PATIENCE).await?;
    scene.neighbour_is_served().await
}

/// What is wrong with a message whose refs can be read: the text, topic and ref of the answer, and its reason.
const READABLE: &[(&str, (&str, &str), &str)] = &[
    // 53: cut short behind the ref.
    (
        r#"["1","53","device","x",{"a":}]"#,
        ("device", r#""53""#),
        "bad_request",
    ),
    // 54
    (
        r#"["1","54","device","x"]"#,
        ("device", r#""54""#),
        "bad_request",
    ),
    (
        r#"["1","54a","device","x",{},6]"#,
        ("device", r#""54a""#),
        "bad_request",
    ),
    (
        r#"{"topic":"device","event":"x","payload":{},"ref":"54b"}"#,
        ("device", r#""54b""#),
        "bad_request",
    ),
    // 55
    (
        r#"["1","55",3,"x",{}]"#,
        ("phoenix", r#""55""#),
        "bad_request",
    ),
    (r#"["1",55,"device",4,{}]"#, ("device", "55"), "bad_request"),
    (
        r#"["1","55b","device","x",[]]"#,
        ("device", r#""55b""#),
        "bad_request",
    ),
    // 57
    (
        r#"["1","57","device","fwup_progress",{"value":1,"value":2}]"#,
        ("device", r#""57""#),
        "bad_request",
    ),
    // 58
    (
        r#"["1","58","device","fwup_progress",{"value":1e400}]"#,
        ("device", r#""58""#),
        "bad_value",
    ),
    (
        r#"["1","58b","device","x",{"n":18446744073709551616}]"#,
        ("device", r#""58b""#),
        "bad_value",
    ),
    // 60, 61
    (
        r#"["1","60","device","status_update",{"status":"\u0000"}]"#,
        ("device", r#""60""#),
        "bad_value",
    ),
    (
        r#"["1","61","device","status_update",{"status":"\ud800"}]"#,
        ("device", r#""61""#),
        "bad_value",
    ),
    // 62
    (
        r#"["1","62","nowhere","phx_join",{}]"#,
        ("nowhere", r#""62""#),
        "unknown_topic",
    ),
    (
        r#"["1","62b","nowhere","x",{}]"#,
        ("nowhere", r#""62b""#),
        "unknown_topic",
    ),
    (
        r#"[null,"62c","phoenix","x",{}]"#,
        ("phoenix", r#""62c""#),
        "unknown_event",
    ),
    // 63: a channel that was never joined.
    (
        r#"["1","63","group:acme:sensor:x","rebooting",{}]"#,
        ("group:acme:sensor:x", r#""63""#),
        "not_joined",
    ),
    // 66: an integer ref of any size is one, and so is a long text.
    (
        r#"[null,-9223372036854775808,"phoenix","x",{}]"#,
        ("phoenix", "-9223372036854775808"),
        "unknown_event",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn case_53_to_63_with_a_readable_ref_the_answer_goes_there_and_the_socket_stays()
-> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let deep = format!(r#"["1","56","device","x",{{"a":{deep}}}]"#);
    let mut rogue = scene.joined().await?;
    rogue
        .refused(&deep, ("device", json!("56")), "bad_request")
        .await?;
    for (text, (topic, reference), reason) in READABLE {
        let reference = serde_json::from_str(reference)?;
        rogue.refused(text, (topic, reference), reason).await?;
    }
    let reply = rogue.ask("nonsense", json!({})).await?;
    assert_eq!(reply.response()["reason"], "unknown_event");

    // 63: nothing at all was joined.
    let mut early = scene.rogue().await?;
    let reference = early
        .push(&json!("1"), "device", "rebooting", json!({}))
        .await?;
    let reply = early.expect_reply("device", &reference, PATIENCE).await?;
    assert_eq!(reply.response()["reason"], "not_joined");
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_58_and_59_progress_that_is_none_changes_nothing() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let mut rogue = scene.joined().await?;
    let reply = rogue
        .ask("status_update", json!({"status": "started"}))
        .await?;
    assert_eq!(reply.status(), Some("ok"));
    let reply = rogue.ask("fwup_progress", json!({"value": 40})).await?;
    assert_eq!(reply.status(), Some("ok"));
    let progress = async || {
        let device = scene.hub.api.device(ORG, PRODUCT, "rogue").await.ok()?;
        device.update?.progress
    };
    let forty = async || (progress().await == Some(40)).then_some(());
    wait::until("progress is stored", PATIENCE, forty).await?;
    for (value, reference) in [
        ("-1", "a"),
        ("101", "b"),
        ("\"50\"", "c"),
        ("9007199254740993", "d"),
        ("null", "e"),
    ] {
        let text = format!(r#"["1","{reference}","device","fwup_progress",{{"value":{value}}}]"#);
        let text = text.replacen("\"1\"", &rogue.join_ref.to_string(), 1);
        rogue
            .refused(&text, ("device", json!(reference)), "bad_value")
            .await?;
    }
    // A report behind them is stored, and what is stored then is what was said last and right.
    let reply = rogue.ask("fwup_progress", json!({"value": -0.0})).await?;
    assert_eq!(reply.status(), Some("ok"));
    let zero = async || (progress().await == Some(0)).then_some(());
    wait::until("the next progress is stored", PATIENCE, zero).await?;
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_69_a_flood_of_messages_is_slowed_down_and_then_closed_1008() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let mut rogue = scene.joined().await?;
    let beat = Frame::text(r#"[null,"b","phoenix","heartbeat",{}]"#).to_bytes();
    let flood = beat.repeat(1_000);
    let since = Instant::now();
    let (mut answered_at_once, mut answered) = (0, 0);
    let harm = async {
        let limit = FLOOD_MAX + 2 * LATE;
        let _ = rogue.socket.send_bytes(&flood).await;
        wait::within("the end of a flood of messages", limit, async {
            loop {
                match rogue.socket.next(limit).await? {
                    Received::Text(_) => {
                        answered += 1;
                        if since.elapsed() < Duration::from_secs(1) {
                            answered_at_once += 1;
                        }
                    }
                    Received::Close(code, _) => return Ok(code),
                    other @ (Received::Binary(_)
                    | Received::Ping(_)
                    | Received::Pong(_)
                    | Received::End(_)) => anyhow::bail!("{other:?}"),
                }
            }
        })
        .await
    };
    let code = scene.while_served(harm).await?;
    assert_eq!(code, 1008);
    assert!(since.elapsed() >= FLOOD_MAX, "slowed down first");
    // The burst and ten a second, never the flood.
    assert!(
        answered_at_once <= MESSAGES_BURST + 20,
        "{answered_at_once}"
    );
    assert!(answered < 300, "{answered}");
    Ok(())
}
