//! `Idempotency-Key`, as a caller sees it.

use super::harness::{Hub, Reply};
use super::world::tenant;
use axum::http::StatusCode;
use serde_json::{Value, json};

async fn post(hub: &Hub, path: &str, token: &str, key: &str, body: &Value) -> Reply {
    hub.call_with("POST", path, token, Some(body), &[("idempotency-key", key)])
        .await
}

#[tokio::test]
async fn a_repeated_call_has_the_same_answer_and_one_effect() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    let path = own.device("/commands");
    let body = json!({ "name": "identify" });
    let first = post(&hub, &path, &own.operator, "k 1", &body).await;
    let again = post(&hub, &path, &own.operator, "k 1", &body).await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!((first.status, &first.raw), (again.status, &again.raw));
    assert!(!first.headers.contains_key("idempotent-replayed"));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let listed = hub.ok("GET", &path, &own.viewer, None).await;
    assert_eq!(
        listed["items"].as_array().unwrap().len(),
        2,
        "one besides the one of the fixture"
    );

    for (token, path, body) in [
        (&own.operator, path.clone(), json!({ "name": "logs" })),
        (&own.operator, own.group("/commands"), body.clone()),
        (&own.admin, path.clone(), body.clone()),
    ] {
        let other = post(&hub, &path, token, "k 1", &body).await;
        assert_eq!(
            (other.status, other.code()),
            (StatusCode::CONFLICT, "idempotency_key_reused"),
            "{path}"
        );
    }
    let other = tenant(&hub, "b").await;
    let theirs = post(
        &hub,
        &other.device("/commands"),
        &other.operator,
        "k 1",
        &body,
    )
    .await;
    assert!(
        !theirs.headers.contains_key("idempotent-replayed"),
        "a key belongs to one org"
    );
}

#[tokio::test]
async fn concurrent_calls_with_one_key_have_one_effect() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    let path = own.product("/devices");
    let body = json!({ "name": "once" });
    let calls = (0..8).map(|_| post(&hub, &path, &own.operator, "same", &body));
    let replies = futures_util::future::join_all(calls).await;
    assert!(
        replies
            .iter()
            .all(|reply| reply.status == StatusCode::CREATED && reply.raw == replies[0].raw)
    );
    let fresh = replies
        .iter()
        .filter(|reply| !reply.headers.contains_key("idempotent-replayed"))
        .count();
    assert_eq!(fresh, 1);
}

#[tokio::test]
async fn a_refused_call_may_be_tried_again_under_its_key() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    let path = own.product("/devices/late/commands");
    let body = json!({ "name": "identify" });
    assert_eq!(
        post(&hub, &path, &own.operator, "k", &body).await.status,
        StatusCode::NOT_FOUND
    );
    hub.ok(
        "POST",
        &own.product("/devices"),
        &own.operator,
        Some(json!({ "name": "late" })),
    )
    .await;
    assert_eq!(
        post(&hub, &path, &own.operator, "k", &body).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_remembered_secret_is_not_stored_in_clear() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    let body = json!({ "name": "ci", "role": "viewer" });
    let first = post(&hub, &own.org("/tokens"), &own.admin, "mint", &body).await;
    let again = post(&hub, &own.org("/tokens"), &own.admin, "mint", &body).await;
    assert_eq!(first.raw, again.raw);
    let secret = first.body["token"].as_str().unwrap();
    let now = hub_proto::time::Timestamp::from_unix_micros(
        hub.now.load(std::sync::atomic::Ordering::Relaxed),
    );
    let org = hub.ok("GET", &own.org(""), &own.viewer, None).await["id"]
        .as_i64()
        .unwrap();
    let store: &dyn crate::store::TenantStore = &hub.store;
    let stored = store
        .idempotent_answer(Some(hub_proto::id::OrgId(org)), "answer:mint", now)
        .await
        .unwrap()
        .unwrap();
    assert!(
        !stored
            .body
            .windows(secret.len())
            .any(|window| window == secret.as_bytes())
    );
}

#[tokio::test]
async fn a_bad_key_is_refused() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    let body = json!({ "name": "x" });
    let long = "k".repeat(256);
    for key in ["", long.as_str()] {
        let reply = post(&hub, &own.product("/devices"), &own.operator, key, &body).await;
        assert_eq!(
            (reply.status, reply.code()),
            (StatusCode::BAD_REQUEST, "bad_idempotency_key")
        );
    }
}
