//! Cases 76 to 83: names in topics and in what operators send. What a name may be is settled by its alphabet.

use hub_tests::sandbox::{ORG, PRODUCT};
use hub_tests::wait::PATIENCE;
use serde_json::{Value, json};

use super::{Scene, command};

#[tokio::test(flavor = "multi_thread")]
async fn case_76_to_82_odd_names_in_topics_are_other_topics_and_harm_none() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    scene.hub.group("field", 0, &["rogue"]).await?;
    let mut rogue = scene.joined().await?;
    let group = |name: &str| format!("group:{ORG}:{PRODUCT}:{name}");
    let long = "n".repeat(129);
    for (name, reason) in [
        // 76: no name has a colon, so nothing can be shifted from one part to another.
        ("field:x", "unknown_topic"),
        (":field", "unknown_topic"),
        // 77: text that means something in a path.
        ("..", "unknown_topic"),
        ("../field", "unknown_topic"),
        ("%2f", "unknown_topic"),
        ("a\\b", "unknown_topic"),
        // 78: text that means something in a pattern.
        ("*", "unknown_topic"),
        ("fiel?", "unknown_topic"),
        ("[f]ield", "unknown_topic"),
        ("#", "unknown_topic"),
        ("+", "unknown_topic"),
        (">", "unknown_topic"),
        ("%", "unknown_topic"),
        // 80: look-alikes.
        ("fi\u{0435}ld", "unknown_topic"),
        ("fie\u{301}ld", "unknown_topic"),
        // 81: nothing, blanks, too much.
        ("", "unknown_topic"),
        (" ", "unknown_topic"),
        (&long, "unknown_topic"),
        // 82 and a plain stranger: allowed in form, and not there.
        ("console", "not_found"),
        ("Field", "not_found"),
        ("_field", "unknown_topic"),
    ] {
        let reply = rogue.socket.join(&group(name), json!({}), PATIENCE).await?;
        assert_eq!(reply.status(), Some("error"), "{name:?}");
        assert_eq!(reply.response()["reason"], reason, "{name:?}");
    }
    // The group itself is there all the same.
    let reply = rogue
        .socket
        .join(&group("field"), json!({}), PATIENCE)
        .await?;
    assert_eq!(reply.status(), Some("ok"));
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_79_control_characters_in_names_are_refused() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let mut rogue = scene.joined().await?;
    let at_phoenix = |reference: &str| ("phoenix", json!(reference));
    for (number, topic) in [r"device\n", r"device:\u001b[31m", r"\u0085"]
        .into_iter()
        .enumerate()
    {
        let reference = format!("c{number}");
        let text = format!(r#"["1","{reference}","{topic}","x",{{}}]"#);
        rogue
            .refused(&text, at_phoenix(&reference), "bad_value")
            .await?;
    }
    rogue
        .refused(
            r#"["1","e","device","a\nb",{}]"#,
            ("device", json!("e")),
            "bad_value",
        )
        .await?;
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_76_to_83_odd_names_are_refused_when_something_is_created() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let http = reqwest::Client::new();
    let base = format!(
        "http://{}/api/v1/orgs/{ORG}/products/{PRODUCT}",
        scene.hub.node.api_addr()
    );
    let odd = [
        "a:b",
        "..",
        "a/b",
        "%2f",
        "*",
        "#",
        "a\nb",
        "\u{1b}[0m",
        "\"",
        "e\u{301}",
        "",
        " ",
        "device",
        "phx_join",
        "Console",
        "'; DROP TABLE device; --",
        "{{7*7}}",
    ];
    let mut names: Vec<String> = odd.into_iter().map(str::to_owned).collect();
    names.push("n".repeat(129));
    for name in &names {
        for kind in ["groups", "devices"] {
            let answer = http
                .post(format!("{base}/{kind}"))
                .bearer_auth(&scene.hub.token)
                .json(&json!({ "name": name }))
                .send()
                .await?;
            assert_eq!(answer.status().as_u16(), 422, "{kind} {name:?}");
            let problem: Value = answer.json().await?;
            assert_eq!(problem["status"], 422, "{problem}");
        }
    }
    // 81: a megabyte is not looked at, whatever it says.
    let huge = http
        .post(format!("{base}/groups"))
        .bearer_auth(&scene.hub.token)
        .json(&json!({ "name": "n".repeat(2 * 1024 * 1024) }))
        .send()
        .await;
    assert!(huge.is_err() || huge?.status().as_u16() == 413);
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_83_text_is_carried_as_it_is_and_means_nothing() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let mut rogue = scene.joined().await?;
    let text = "'; DROP TABLE command; -- {{7*7}} ${jndi:ldap://x} %s \\ \" \u{202e} 💥";
    let sent = command(&scene.hub, "rogue", "logs", &json!({ "text": text })).await?;
    let push = rogue.socket.expect_push("logs", PATIENCE).await?;
    assert_eq!(push.payload["text"], text);
    let id = sent.id.to_string();
    let result = json!({"id": id, "status": "succeeded", "output": text});
    let reply = rogue.ask("command_result", result).await?;
    assert_eq!(reply.status(), Some("ok"), "{reply:?}");
    let page = Default::default();
    let executions = scene.hub.api.executions(ORG, sent.id, &page).await?;
    assert_eq!(executions.items[0].output.as_deref(), Some(text));
    scene.neighbour_is_served().await
}
