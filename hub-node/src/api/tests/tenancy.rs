//! The tenancy matrix: every operation, called with what belongs to another org, answers like nothing was there, to the byte.

use super::harness::Hub;
use super::world::{Tenant, body_for, nobody, tenant};
use axum::http::StatusCode;
use serde_json::json;

/// `own`, with one more of its names taken from `other` at each step.
fn mixtures(own: &Tenant, other: &Tenant, template: &str) -> Vec<String> {
    let mut paths = vec![other.fill(template)];
    for name in ["product", "device", "group", "uuid", "sha256"] {
        if template.contains(&format!("{{{name}}}")) {
            let mut mixed = own.clone();
            mixed.names.insert(name, other.name(name).to_owned());
            paths.push(mixed.fill(template));
        }
    }
    if template.contains("{id}") {
        let ids = Tenant {
            names: own.names.clone(),
            ..other.clone()
        };
        paths.push(ids.fill(template));
    }
    paths
}

#[tokio::test]
async fn what_belongs_to_another_org_is_not_there() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    let other = tenant(&hub, "b").await;
    let missing = nobody(&own);
    for (method, template, operation) in hub.operations() {
        let id = operation["operationId"].as_str().unwrap();
        if !template.contains("{org}") {
            continue;
        }
        let body = body_for(id, &own);
        let foreign = mixtures(&own, &other, &template);
        let absent = mixtures(&own, &missing, &template);
        for (foreign, absent) in foreign.iter().zip(&absent) {
            let theirs = hub.call(&method, foreign, &own.admin, body.as_ref()).await;
            let nothing = hub.call(&method, absent, &own.admin, body.as_ref()).await;
            if id == "delete_org" {
                assert_eq!(theirs.status, StatusCode::NOT_FOUND, "{id} {foreign}");
            }
            assert_eq!(
                theirs.shown(),
                nothing.shown(),
                "{id}: {foreign} and {absent} differ"
            );
            assert_eq!(
                theirs.status,
                StatusCode::NOT_FOUND,
                "{id} {foreign}: {}",
                theirs.body
            );
        }
    }
    // Nothing of the other org was touched.
    let device = hub.ok("GET", &other.device(""), &other.admin, None).await;
    assert_eq!(device["groups"], json!([other.name("group")]));
    assert_eq!(device["revoked_at"], json!(null));
    let command = hub
        .ok(
            "GET",
            &other.org(&format!("/commands/{}", other.command_id)),
            &other.viewer,
            None,
        )
        .await;
    assert_eq!(
        command["counts"],
        json!([{ "state": "queued", "devices": 1 }])
    );
}

#[tokio::test]
async fn foreign_names_in_bodies_answer_like_missing_ones() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    let other = tenant(&hub, "b").await;
    let missing = nobody(&own);
    let calls = |of: &Tenant| {
        vec![
            (
                "PUT",
                own.device("/target"),
                json!({ "firmware": of.name("uuid") }),
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            (
                "PUT",
                own.group("/target"),
                json!({ "firmware": of.name("uuid") }),
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            (
                "POST",
                own.group("/members"),
                json!({ "devices": [of.name("device")] }),
                StatusCode::NOT_FOUND,
            ),
            (
                "PATCH",
                own.org(&format!("/ca-certificates/{}", own.authority_id)),
                json!({ "provision": { "product": of.name("product"), "quota": 5 } }),
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
        ]
    };
    for ((method, path, theirs, status), (_, _, nothing, _)) in
        calls(&other).into_iter().zip(calls(&missing))
    {
        let theirs = hub.call(method, &path, &own.admin, Some(&theirs)).await;
        let nothing = hub.call(method, &path, &own.admin, Some(&nothing)).await;
        assert_eq!(theirs.status, status, "{path}: {}", theirs.body);
        assert_eq!(theirs.shown(), nothing.shown(), "{path}");
    }
}

#[tokio::test]
async fn lists_show_the_own_org_only() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    let other = tenant(&hub, "b").await;
    for rest in [
        "/products",
        "/tokens",
        "/ca-certificates",
        "/signing-keys",
        "/connections",
    ] {
        let shown = hub
            .ok("GET", &own.org(rest), &own.admin, None)
            .await
            .to_string();
        assert!(!shown.contains("-b"), "{rest}: {shown}");
        let theirs = hub
            .ok("GET", &other.org(rest), &other.admin, None)
            .await
            .to_string();
        assert!(!theirs.contains("-a\""), "{rest}: {theirs}");
    }
}
