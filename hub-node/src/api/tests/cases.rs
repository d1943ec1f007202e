//! The abuse catalogue's names and org cases, as far as the API is where they are met.

use super::harness::Hub;
use super::world::{id_text, tenant};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;

async fn name_status(hub: &Hub, path: &str, token: &str, name: &str) -> StatusCode {
    hub.call("POST", path, token, Some(&json!({ "name": name })))
        .await
        .status
}

#[tokio::test]
async fn case_76_a_colon_is_in_no_name() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    for path in [
        own.product("/groups"),
        own.product("/devices"),
        own.org("/products"),
    ] {
        assert_eq!(
            name_status(&hub, &path, &own.admin, "a:b").await,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{path}"
        );
    }
}

#[tokio::test]
async fn case_77_path_text_names_nothing() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    for name in ["..", ".", "/", "\\", "a/b", "../x"] {
        let path = own.product("/devices");
        assert_eq!(
            name_status(&hub, &path, &own.operator, name).await,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{name}"
        );
    }
    for name in ["%2e%2e", "%2f", "%5c", "..%2f..", "%00", "%ff"] {
        let reply = hub
            .call(
                "GET",
                &own.product(&format!("/devices/{name}")),
                &own.viewer,
                None,
            )
            .await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test]
async fn case_78_patterns_are_no_names() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    for name in ["*", "?", "[a]", "#", "+", ">", "%", "_"] {
        let path = own.product("/groups");
        assert_eq!(
            name_status(&hub, &path, &own.operator, name).await,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{name}"
        );
    }
    for name in ["*", "%25", "_", "device_a", "%23"] {
        let reply = hub
            .call(
                "GET",
                &own.product(&format!("/devices/{name}")),
                &own.viewer,
                None,
            )
            .await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test]
async fn case_79_control_characters_are_refused() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    for name in ["a\nb", "a\u{1b}[31m", "\"a\"", "a'b", "a\r", "a\t"] {
        let path = own.product("/devices");
        assert_eq!(
            name_status(&hub, &path, &own.operator, name).await,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{name:?}"
        );
    }
}

#[tokio::test]
async fn case_80_look_alikes_cannot_be_made() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    for name in ["cafe\u{301}", "caf\u{e9}", "\u{430}bc", "a\u{200b}"] {
        let path = own.product("/devices");
        assert_eq!(
            name_status(&hub, &path, &own.operator, name).await,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{name:?}"
        );
    }
}

#[tokio::test]
async fn case_81_a_name_has_a_length_and_the_body_a_limit_before_it() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    let path = own.product("/devices");
    for name in [
        String::new(),
        " ".to_owned(),
        "a".repeat(64),
        "a".repeat(129),
    ] {
        assert_eq!(
            name_status(&hub, &path, &own.operator, &name).await,
            StatusCode::UNPROCESSABLE_ENTITY
        );
    }
    assert_eq!(
        name_status(&hub, &path, &own.operator, &"a".repeat(63)).await,
        StatusCode::CREATED
    );
    let large = json!({ "name": "a".repeat(2 << 20) });
    let reply = hub.call("POST", &path, &own.operator, Some(&large)).await;
    assert_eq!(
        (reply.status, reply.code()),
        (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large")
    );
    // Without a length in front the limit holds all the same.
    let pieces = (0..64).map(|_| Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; 64 << 10])));
    let request = Request::post(format!("/api/v1{path}"))
        .header("authorization", format!("Bearer {}", own.operator))
        .header("content-type", "application/json");
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    assert_eq!(
        hub.raw(request.body(body).unwrap()).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn case_82_reserved_names_are_refused() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    for name in ["device", "phx_join", "console", "phoenix", "group"] {
        for path in [
            own.product("/groups"),
            own.product("/devices"),
            own.org("/products"),
        ] {
            assert_eq!(
                name_status(&hub, &path, &own.admin, name).await,
                StatusCode::UNPROCESSABLE_ENTITY,
                "{name}"
            );
        }
        assert_eq!(
            name_status(&hub, "/orgs", &hub.root, name).await,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{name}"
        );
    }
}

#[tokio::test]
async fn case_83_sql_and_templates_are_text() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    let text = "'; DROP TABLE device; -- {{7*7}} ${x} %s";
    assert_eq!(
        name_status(&hub, &own.product("/devices"), &own.operator, text).await,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let body = json!({ "name": "say", "args": { "text": text, text: 1 } });
    let given = hub
        .ok(
            "POST",
            &own.device("/commands"),
            &own.operator,
            Some(body.clone()),
        )
        .await;
    let read = hub
        .ok(
            "GET",
            &own.org(&format!("/commands/{}", id_text(&given["id"]))),
            &own.viewer,
            None,
        )
        .await;
    assert_eq!(read["args"], body["args"]);
}

#[tokio::test]
async fn case_84_another_orgs_group_is_not_found() {
    let hub = Hub::start().await;
    let (own, other) = (tenant(&hub, "a").await, tenant(&hub, "b").await);
    let theirs = own.product(&format!(
        "/groups/{}/members/{}",
        other.name("group"),
        own.name("device")
    ));
    let missing = own.product(&format!("/groups/nobody/members/{}", own.name("device")));
    let theirs = hub.call("PUT", &theirs, &own.operator, None).await;
    let missing = hub.call("PUT", &missing, &own.operator, None).await;
    assert_eq!(theirs.status, StatusCode::NOT_FOUND);
    assert_eq!(theirs.shown(), missing.shown());
}

#[tokio::test]
async fn case_85_the_org_comes_from_the_path_alone() {
    let hub = Hub::start().await;
    let (own, other) = (tenant(&hub, "a").await, tenant(&hub, "b").await);
    let other_id = hub.ok("GET", &other.org(""), &other.viewer, None).await["id"]
        .as_i64()
        .unwrap();
    for (method, path) in [
        ("POST", own.product("/devices")),
        ("POST", own.org("/products")),
    ] {
        let body = json!({ "name": "fresh", "org_id": other_id });
        let reply = hub.call(method, &path, &own.admin, Some(&body)).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(reply.body["errors"][0]["pointer"], "/org_id");
    }
    hub.ok(
        "POST",
        &other.product("/devices"),
        &other.operator,
        Some(json!({ "name": "d2" })),
    )
    .await;
    let page = hub
        .ok(
            "GET",
            &other.product("/devices?limit=1"),
            &other.viewer,
            None,
        )
        .await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let reply = hub
        .call(
            "GET",
            &own.product(&format!("/devices?cursor={cursor}")),
            &own.viewer,
            None,
        )
        .await;
    assert_eq!(
        (reply.status, reply.code()),
        (StatusCode::BAD_REQUEST, "bad_cursor")
    );
    let reply = hub
        .call(
            "GET",
            &own.org(&format!("/commands/{}", other.command_id)),
            &own.viewer,
            None,
        )
        .await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn case_87_firmware_of_another_org_is_no_target() {
    let hub = Hub::start().await;
    let (own, other) = (tenant(&hub, "a").await, tenant(&hub, "b").await);
    let body = json!({ "firmware": other.name("uuid") });
    let reply = hub
        .call("PUT", &own.group("/target"), &own.operator, Some(&body))
        .await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(reply.body["errors"][0]["pointer"], "/firmware");
    assert!(hub.ok("GET", &own.group(""), &own.viewer, None).await["target"].is_null());
}
