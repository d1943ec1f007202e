//! Every way a call can be refused is a problem document, axum's own ways included.

use super::harness::{Hub, Reply};
use super::world::tenant;
use crate::api::ApiLimits;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;
use std::time::Duration;

async fn post(
    hub: &Hub,
    path: &str,
    token: &str,
    content_type: Option<&str>,
    body: impl Into<Body>,
) -> Reply {
    let mut request =
        Request::post(format!("/api/v1{path}")).header("authorization", format!("Bearer {token}"));
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    hub.raw(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn what_cannot_be_read_is_400() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    let json = Some("application/json; charset=utf-8");
    let path = own.device("/commands");
    for (body, code) in [
        ("", "bad_json"),
        ("{", "bad_json"),
        ("{\"name\":\"a\",\"name\":\"b\"}", "bad_json"),
        ("{\"name\":\"a\\u0000\"}", "bad_json"),
        ("{\"name\":\"reboot\",\"args\":{\"x\":1e999}}", "bad_json"),
    ] {
        let reply = post(&hub, &path, &own.operator, json, body).await;
        assert_eq!(
            (reply.status, reply.code()),
            (StatusCode::BAD_REQUEST, code),
            "{body}"
        );
    }
    let deep = format!(
        "{{\"name\":\"a\",\"args\":{{\"x\":{}{}}}}}",
        "[".repeat(100),
        "]".repeat(100)
    );
    assert_eq!(
        post(&hub, &path, &own.operator, json, deep).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn what_cannot_be_accepted_is_422_with_its_field() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    let json = Some("application/json; charset=utf-8");
    let path = own.device("/commands");
    let long = format!(
        "{{\"name\":\"a\",\"args\":{{\"x\":\"{}\"}}}}",
        "y".repeat(16 * 1024)
    );
    for (body, pointer) in [
        ("[]", ""),
        ("{}", ""),
        ("{\"name\":5}", "/name"),
        ("{\"name\":\"a b\"}", "/name"),
        ("{\"name\":\"phx_close\"}", "/name"),
        ("{\"name\":\"Leave\"}", "/name"),
        ("{\"name\":\"firmware_update\"}", "/name"),
        ("{\"name\":\"a\",\"ttl_s\":0}", "/ttl_s"),
        ("{\"name\":\"a\",\"ttl_s\":2419201}", "/ttl_s"),
        ("{\"name\":\"a\",\"ttl_s\":-1}", "/ttl_s"),
        ("{\"name\":\"a\",\"args\":[]}", "/args"),
        ("{\"name\":\"a\",\"args\":{\"id\":1}}", "/args/id"),
        ("{\"name\":\"a\",\"urgent\":true}", "/urgent"),
        (long.as_str(), "/args"),
    ] {
        let reply = post(&hub, &path, &own.operator, json, body.to_owned()).await;
        assert_eq!(
            reply.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{body}: {}",
            reply.body
        );
        assert_eq!(
            reply.body["errors"][0]["pointer"], pointer,
            "{body}: {}",
            reply.body
        );
    }
}

#[tokio::test]
async fn a_target_is_written_out_and_a_body_is_json() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    let path = own.device("/commands");
    for (path, body, pointer) in [
        (own.device("/target"), "{}", ""),
        (own.device("/target"), "{\"firmware\":\"x\"}", "/firmware"),
    ] {
        let request = Request::put(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {}", own.operator))
            .header("content-type", "application/json");
        let reply = hub.raw(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(
            (reply.status, &reply.body["errors"][0]["pointer"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(pointer))
        );
    }
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
    ] {
        let reply = post(&hub, &path, &own.operator, content_type, "{\"name\":\"a\"}").await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}

#[tokio::test]
async fn routes_and_methods_that_are_not_there() {
    let hub = Hub::start().await;
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/orgs",
        "/api/v1/orgs/",
    ] {
        let reply = hub
            .raw(Request::get(path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(
            (reply.status, reply.code()),
            (StatusCode::NOT_FOUND, "no_route"),
            "{path}"
        );
    }
    let reply = hub
        .raw(Request::patch("/api/v1/orgs").body(Body::empty()).unwrap())
        .await;
    assert_eq!(
        (reply.status, reply.code()),
        (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
    );
    assert!(reply.headers["allow"].to_str().unwrap().contains("POST"));
    let reply = hub
        .raw(
            Request::post("/api/v1/openapi.json")
                .body(Body::empty())
                .unwrap(),
        )
        .await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn cursors_and_limits_that_are_not_ours() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    hub.ok(
        "POST",
        &own.product("/devices"),
        &own.operator,
        Some(json!({ "name": "d2" })),
    )
    .await;
    let page = hub
        .ok("GET", &own.product("/devices?limit=1"), &own.viewer, None)
        .await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let mut edited = cursor.to_owned();
    edited.replace_range(2..3, if &cursor[2..3] == "x" { "y" } else { "x" });
    for (path, status) in [
        (
            own.product(&format!("/devices?cursor={edited}")),
            StatusCode::BAD_REQUEST,
        ),
        (own.product("/devices?cursor="), StatusCode::BAD_REQUEST),
        (
            own.product(&format!("/groups?cursor={cursor}")),
            StatusCode::BAD_REQUEST,
        ),
        (
            own.product("/devices?limit=0"),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            own.product("/devices?limit=1001"),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            own.product("/devices?limit=1&limit=2"),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            own.product("/devices?org_id=2"),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            own.product("/devices?sort=org_id"),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (own.product("/devices?limit=1000"), StatusCode::OK),
    ] {
        assert_eq!(
            hub.call("GET", &path, &own.viewer, None).await.status,
            status,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_hub_with_no_free_slot_or_no_time_says_so() {
    let full = Hub::start_with(ApiLimits {
        calls_max: 0,
        ..ApiLimits::default()
    })
    .await;
    let reply = full.call("GET", "/orgs", &full.root, None).await;
    assert_eq!(
        (reply.status, reply.code()),
        (StatusCode::SERVICE_UNAVAILABLE, "busy")
    );
    assert!(reply.headers.contains_key("retry-after"));

    let hasty = Hub::start_with(ApiLimits {
        call_max: Duration::from_millis(20),
        ..ApiLimits::default()
    })
    .await;
    let never = Body::from_stream(futures_util::stream::pending::<
        Result<bytes::Bytes, std::io::Error>,
    >());
    let request = Request::post("/api/v1/orgs")
        .header("authorization", format!("Bearer {}", hasty.root))
        .header("content-type", "application/json");
    let reply = hasty.raw(request.body(never).unwrap()).await;
    assert_eq!(
        (reply.status, reply.code()),
        (StatusCode::SERVICE_UNAVAILABLE, "timeout")
    );
}

#[tokio::test]
async fn a_panic_is_a_problem_and_nothing_of_it_is_shown() {
    async fn panics() {
        panic!("with a secret");
    }
    let app = axum::Router::new()
        .route("/", axum::routing::get(panics))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(
            crate::api::layers::panicked,
        ));
    let request = Request::get("/").body(Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(app, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = axum::body::to_bytes(response.into_body(), 1 << 16)
        .await
        .unwrap();
    assert!(!String::from_utf8_lossy(&body).contains("secret"));
}
