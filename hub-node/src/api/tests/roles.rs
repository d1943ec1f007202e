//! The role matrix: every operation of the document, called with every role.

use super::harness::Hub;
use super::world::{Tenant, body_for, nobody, tenant};
use axum::body::Body;
use axum::http::{Request, StatusCode};

/// The smallest role for each operation. An operation that is not listed here fails the test.
const NEEDS: &[(&str, &str)] = &[
    ("create_org", "root"),
    ("list_orgs", "root"),
    ("list_nodes", "root"),
    ("rebalance_nodes", "root"),
    ("get_org", "viewer"),
    ("delete_org", "root"),
    ("create_product", "admin"),
    ("list_products", "viewer"),
    ("get_product", "viewer"),
    ("delete_product", "admin"),
    ("create_token", "admin"),
    ("list_tokens", "admin"),
    ("delete_token", "admin"),
    ("create_device", "operator"),
    ("list_devices", "viewer"),
    ("get_device", "viewer"),
    ("delete_device", "operator"),
    ("revoke_device", "operator"),
    ("reinstate_device", "operator"),
    ("target_device", "operator"),
    ("get_connection", "viewer"),
    ("list_connections", "viewer"),
    ("create_group", "operator"),
    ("list_groups", "viewer"),
    ("get_group", "viewer"),
    ("update_group", "operator"),
    ("delete_group", "operator"),
    ("target_group", "operator"),
    ("list_members", "viewer"),
    ("add_members", "operator"),
    ("put_member", "operator"),
    ("delete_member", "operator"),
    ("command_device", "operator"),
    ("command_group", "operator"),
    ("list_device_commands", "viewer"),
    ("list_group_commands", "viewer"),
    ("get_command", "viewer"),
    ("list_executions", "viewer"),
    ("cancel_command", "operator"),
    ("pin_certificate", "admin"),
    ("list_certificates", "viewer"),
    ("revoke_certificate", "admin"),
    ("create_registration", "admin"),
    ("create_authority", "admin"),
    ("list_authorities", "viewer"),
    ("get_authority", "viewer"),
    ("update_authority", "admin"),
    ("revoke_authority", "admin"),
    ("create_signing_key", "admin"),
    ("list_signing_keys", "viewer"),
    ("delete_signing_key", "admin"),
    ("upload_firmware", "admin"),
    ("list_firmware", "viewer"),
    ("get_firmware", "viewer"),
    ("delete_firmware", "admin"),
];

fn roles(hub: &Hub, own: &Tenant) -> [(&'static str, String); 4] {
    [
        ("viewer", own.viewer.clone()),
        ("operator", own.operator.clone()),
        ("admin", own.admin.clone()),
        ("root", hub.root.clone()),
    ]
}

#[tokio::test]
async fn every_operation_takes_its_role_and_none_below() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    let rank = |role: &str| {
        ["viewer", "operator", "admin", "root"]
            .iter()
            .position(|r| *r == role)
            .unwrap()
    };
    // What a call may reach beyond its role check is missing, except the org: nothing is changed by a permitted call.
    let mut missing = nobody(&own);
    missing.names.insert("org", own.name("org").to_owned());
    for (method, template, operation) in hub.operations() {
        let id = operation["operationId"].as_str().unwrap();
        let (_, needs) = NEEDS
            .iter()
            .find(|(o, _)| *o == id)
            .unwrap_or_else(|| panic!("{id} has no role here"));
        assert_eq!(
            operation["security"][0]["bearer"][0], *needs,
            "{id}: the document says another role"
        );
        let path = missing.fill(&template);
        let body = body_for(id, &missing);
        for (role, token) in roles(&hub, &own) {
            let reply = hub.call(&method, &path, &token, body.as_ref()).await;
            if rank(role) < rank(needs) {
                assert_eq!(reply.status, StatusCode::FORBIDDEN, "{id} as {role}");
            } else {
                assert_ne!(reply.status, StatusCode::FORBIDDEN, "{id} as {role}");
                assert_ne!(reply.status, StatusCode::UNAUTHORIZED, "{id} as {role}");
                assert!(!reply.status.is_server_error(), "{id} as {role}");
            }
        }
        let stranger = crate::api::auth::mint_token();
        for authorization in [
            None,
            Some("Bearer x".to_owned()),
            Some(format!("Bearer {stranger}")),
        ] {
            let mut request = Request::builder()
                .method(method.as_str())
                .uri(format!("/api/v1{path}"));
            if let Some(value) = &authorization {
                request = request.header("authorization", value);
            }
            let reply = hub.raw(request.body(Body::empty()).unwrap()).await;
            assert_eq!(
                reply.status,
                StatusCode::UNAUTHORIZED,
                "{id} with {authorization:?}"
            );
            assert_eq!(reply.headers["www-authenticate"], "Bearer realm=\"hub\"");
        }
    }
}

#[tokio::test]
async fn a_deleted_or_expired_token_is_none() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    assert_eq!(
        hub.call("GET", &own.org(""), &own.viewer, None)
            .await
            .status,
        StatusCode::OK
    );
    hub.ok(
        "DELETE",
        &own.org(&format!("/tokens/{}", own.token_id)),
        &own.admin,
        None,
    )
    .await;
    assert_eq!(
        hub.call("GET", &own.org(""), &own.viewer, None)
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );

    let soon = hub_proto::time::Timestamp::from_unix_micros(
        hub.now.load(std::sync::atomic::Ordering::Relaxed) + 60_000_000,
    );
    let body = serde_json::json!({ "name": "short", "role": "viewer", "expires_at": soon });
    let short = hub
        .ok("POST", &own.org("/tokens"), &own.admin, Some(body))
        .await;
    let short = short["token"].as_str().unwrap();
    assert_eq!(
        hub.call("GET", &own.org(""), short, None).await.status,
        StatusCode::OK
    );
    hub.now
        .fetch_add(61_000_000, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(
        hub.call("GET", &own.org(""), short, None).await.status,
        StatusCode::UNAUTHORIZED
    );
}
