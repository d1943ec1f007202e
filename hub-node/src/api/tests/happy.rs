//! Every operation once, the way it is meant to be used.

use super::harness::{Hub, Reply};
use super::world::{Tenant, base64, id_text, tenant};
use crate::store::DeliveryStore;
use crate::store::cluster::{ClusterStore, NodeLoad, NodeRun};
use crate::store::delivery::{Attach, DeviceOutcome, DeviceWrite};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use hub_proto::event::FirmwareMetadata;
use hub_proto::id::{ChannelId, DeviceId};
use hub_proto::time::Timestamp;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

#[tokio::test]
async fn every_operation_does_what_it_says() {
    let hub = Hub::start().await;
    let own = tenant(&hub, "a").await;
    nodes(&hub).await;
    tenants(&hub, &own).await;
    devices(&hub, &own).await;
    groups(&hub, &own).await;
    commands(&hub, &own).await;
    trust(&hub, &own).await;
    firmware(&hub, &own).await;
    cleared(&hub, &own).await;
    let succeeded = hub.succeeded.lock().unwrap().clone();
    for (_, _, operation) in hub.operations() {
        let id = operation["operationId"].as_str().unwrap();
        assert!(succeeded.contains(id), "{id} was never seen to succeed");
    }
}

async fn nodes(hub: &Hub) {
    for (name, sockets) in [("one", 30), ("two", 0)] {
        let run = NodeRun {
            name: name.into(),
            run: 1,
            peer_address: None,
        };
        let load = NodeLoad {
            sockets,
            ready: true,
        };
        hub.store.start_node(&run).await.unwrap();
        hub.store.renew_lease(&run, load).await.unwrap();
    }
    let listed = hub.root("GET", "/nodes", Value::Null).await;
    assert_eq!(listed["items"][0]["sockets"], 30);
    let body = json!({ "absolute": 5, "relative_percent": 120, "dry_run": true });
    let plan = hub.root("POST", "/nodes/rebalance", body).await;
    let expected = json!([
        { "name": "one", "sockets": 30, "sends_away": 12 },
        { "name": "two", "sockets": 0, "sends_away": 0 },
    ]);
    assert_eq!(
        (&plan["threshold"], &plan["nodes"]),
        (&json!(18), &expected)
    );
    assert!(plan.get("until").is_none());
    let plan = hub.root("POST", "/nodes/rebalance", json!({})).await;
    assert_eq!(plan["nodes"][0]["sends_away"], 0);
    assert!(plan["until"].is_string());
    for wrong in [
        json!({ "relative_percent": 99 }),
        json!({ "per_second": 0 }),
    ] {
        let refused = hub
            .call("POST", "/nodes/rebalance", &hub.root, Some(&wrong))
            .await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

async fn tenants(hub: &Hub, own: &Tenant) {
    let orgs = hub.root("GET", "/orgs", Value::Null).await;
    assert_eq!(orgs["items"][0]["name"], own.name("org"));
    assert_eq!(
        hub.ok("GET", &own.org(""), &own.viewer, None).await["name"],
        own.name("org")
    );
    hub.root("POST", "/orgs", json!({ "name": "empty" })).await;
    hub.root("DELETE", "/orgs/empty", Value::Null).await;
    let in_use = hub.call("DELETE", &own.org(""), &hub.root, None).await;
    assert_eq!(
        (in_use.status, in_use.code()),
        (StatusCode::CONFLICT, "in_use")
    );

    let body = json!({ "name": "second" });
    hub.ok(
        "POST",
        &own.org("/products"),
        &own.admin,
        Some(body.clone()),
    )
    .await;
    let taken = hub
        .call("POST", &own.org("/products"), &own.admin, Some(&body))
        .await;
    assert_eq!(
        (taken.status, taken.code()),
        (StatusCode::CONFLICT, "name_taken")
    );
    assert_eq!(
        hub.ok("GET", &own.org("/products"), &own.viewer, None)
            .await["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        hub.ok("GET", &own.org("/products/second"), &own.viewer, None)
            .await["name"],
        "second"
    );
    hub.ok("DELETE", &own.org("/products/second"), &own.admin, None)
        .await;

    let body = json!({ "name": "ci", "role": "operator" });
    let made = hub
        .ok("POST", &own.org("/tokens"), &own.admin, Some(body))
        .await;
    assert!(made["token"].as_str().unwrap().starts_with("hub_"));
    let listed = hub.ok("GET", &own.org("/tokens"), &own.admin, None).await;
    assert!(!listed.to_string().contains(made["token"].as_str().unwrap()));
    hub.ok(
        "DELETE",
        &own.org(&format!("/tokens/{}", made["id"])),
        &own.admin,
        None,
    )
    .await;
}

async fn devices(hub: &Hub, own: &Tenant) {
    let made = hub
        .ok(
            "POST",
            &own.product("/devices"),
            &own.operator,
            Some(json!({ "name": "d2" })),
        )
        .await;
    assert_eq!(made["product"], own.name("product"));
    let listed = hub
        .ok("GET", &own.product("/devices"), &own.viewer, None)
        .await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    hub.published();
    let device_id = hub.ok("GET", &own.device(""), &own.viewer, None).await["id"]
        .as_i64()
        .unwrap();
    let revoked = hub
        .ok("POST", &own.device("/revoke"), &own.operator, None)
        .await;
    assert!(revoked["revoked_at"].is_string());
    let reinstated = hub
        .ok("POST", &own.device("/reinstate"), &own.operator, None)
        .await;
    assert!(reinstated["revoked_at"].is_null());
    let target = json!({ "firmware": own.name("uuid") });
    let targeted = hub
        .ok("PUT", &own.device("/target"), &own.operator, Some(target))
        .await;
    assert_eq!(targeted["target"]["uuid"], own.name("uuid"));
    assert_eq!(targeted["effective_target"]["version"], "1.0.0");
    let hints = hub.published();
    assert_eq!(hints.len(), 3, "{hints:?}");
    assert!(
        hints
            .iter()
            .all(|hint| hint.channel == ChannelId::Device(hub_proto::id::DeviceId(device_id)))
    );
    let away = hub
        .call("GET", &own.device("/connection"), &own.viewer, None)
        .await;
    assert_eq!(away.status, StatusCode::NOT_FOUND);
    assert_eq!(
        hub.ok("GET", &own.org("/connections"), &own.viewer, None)
            .await["items"],
        json!([])
    );
    connected(hub, own, device_id).await;
}

/// A device as its socket leaves it in the store.
async fn connected(hub: &Hub, own: &Tenant, device_id: i64) {
    let join = Attach {
        device: DeviceId(device_id),
        certificate: crate::api::view::unhex32(own.name("sha256")).unwrap(),
        node: "node-1".into(),
        firmware: FirmwareMetadata::default(),
        remote: Some("192.0.2.7:4711".into()),
        contest: None,
        at: Timestamp::from_unix_micros(hub.now.load(Ordering::Relaxed)),
    };
    let outcomes = hub
        .store
        .device_writes(vec![DeviceWrite::Attach(Box::new(join))])
        .await
        .unwrap();
    assert!(
        matches!(outcomes[..], [DeviceOutcome::Attached { .. }]),
        "{outcomes:?}"
    );
    let shown = hub
        .ok("GET", &own.device("/connection"), &own.viewer, None)
        .await;
    assert_eq!(
        (&shown["node"], &shown["device"]),
        (&json!("node-1"), &json!(own.name("device")))
    );
    let all = hub
        .ok("GET", &own.org("/connections"), &own.viewer, None)
        .await;
    assert_eq!(all["items"], json!([shown]));
}

async fn groups(hub: &Hub, own: &Tenant) {
    let body = json!({ "name": "beta", "priority": 3 });
    let made = hub
        .ok("POST", &own.product("/groups"), &own.operator, Some(body))
        .await;
    assert_eq!(
        (&made["priority"], &made["members"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(
        hub.ok("GET", &own.product("/groups"), &own.viewer, None)
            .await["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let beta = own.product("/groups/beta");
    let changed = hub
        .ok(
            "PATCH",
            &beta,
            &own.operator,
            Some(json!({ "priority": 9 })),
        )
        .await;
    assert_eq!(changed["priority"], 9);
    let body = json!({ "devices": [own.name("device"), "d2", "d2"] });
    let added = hub
        .ok(
            "POST",
            &format!("{beta}/members"),
            &own.operator,
            Some(body),
        )
        .await;
    assert_eq!(added["added"], 2);
    assert_eq!(hub.ok("GET", &beta, &own.viewer, None).await["members"], 2);
    let target = json!({ "firmware": own.name("uuid") });
    hub.ok(
        "PUT",
        &format!("{beta}/target"),
        &own.operator,
        Some(target),
    )
    .await;
    let members = hub
        .ok("GET", &format!("{beta}/members?limit=1"), &own.viewer, None)
        .await;
    let cursor = members["next_cursor"].as_str().unwrap();
    let rest = hub
        .ok(
            "GET",
            &format!("{beta}/members?limit=1&cursor={cursor}"),
            &own.viewer,
            None,
        )
        .await;
    assert!(rest["next_cursor"].is_null());
    assert_ne!(rest["items"][0]["name"], members["items"][0]["name"]);
    hub.ok("DELETE", &format!("{beta}/members/d2"), &own.operator, None)
        .await;
    hub.ok("PUT", &format!("{beta}/members/d2"), &own.operator, None)
        .await;
    hub.ok("PUT", &format!("{beta}/members/d2"), &own.operator, None)
        .await;
}

async fn commands(hub: &Hub, own: &Tenant) {
    let body = json!({ "name": "set-led", "args": { "on": true }, "ttl_s": 60 });
    let given = hub
        .ok(
            "POST",
            &own.device("/commands"),
            &own.operator,
            Some(body.clone()),
        )
        .await;
    assert_eq!(given["args"], json!({ "on": true }));
    assert_eq!(
        given["audience"],
        json!({ "kind": "device", "product": own.name("product"), "device": own.name("device") })
    );
    hub.published();
    let grouped = hub
        .ok(
            "POST",
            &own.product("/groups/beta/commands"),
            &own.operator,
            Some(body),
        )
        .await;
    let hints = hub.published();
    assert!(
        matches!(&hints[..], [hint] if hint.body.is_some()),
        "{hints:?}"
    );
    assert_eq!(
        grouped["counts"],
        json!([{ "state": "queued", "devices": 2 }])
    );
    let newest = hub
        .ok("GET", &own.device("/commands?limit=1"), &own.viewer, None)
        .await;
    assert_eq!(newest["items"][0]["id"], given["id"]);
    let of_group = hub
        .ok(
            "GET",
            &own.product("/groups/beta/commands"),
            &own.viewer,
            None,
        )
        .await;
    assert_eq!(of_group["items"].as_array().unwrap().len(), 1);
    let path = own.org(&format!("/commands/{}", id_text(&grouped["id"])));
    assert_eq!(
        hub.ok("GET", &path, &own.viewer, None).await["name"],
        "set-led"
    );
    let executions = hub
        .ok("GET", &format!("{path}/executions"), &own.viewer, None)
        .await;
    assert_eq!(executions["items"].as_array().unwrap().len(), 2);
    let cancelled = hub
        .ok("POST", &format!("{path}/cancel"), &own.operator, None)
        .await;
    assert_eq!(
        cancelled["counts"],
        json!([{ "state": "cancelled", "devices": 2 }])
    );
}

async fn trust(hub: &Hub, own: &Tenant) {
    let listed = hub
        .ok("GET", &own.device("/certificates"), &own.viewer, None)
        .await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let body = json!({ "certificate_pem": own.certificate_pem });
    let pinned = hub
        .ok(
            "POST",
            &own.device("/certificates"),
            &own.admin,
            Some(body.clone()),
        )
        .await;
    let again = hub
        .call(
            "POST",
            &own.device("/certificates"),
            &own.admin,
            Some(&body),
        )
        .await;
    assert_eq!(
        (again.status, again.code()),
        (StatusCode::CONFLICT, "certificate_taken")
    );
    let path = own.device(&format!(
        "/certificates/{}/revoke",
        pinned["sha256"].as_str().unwrap()
    ));
    assert!(hub.ok("POST", &path, &own.admin, None).await["revoked_at"].is_string());

    authorities(hub, own).await;
}

async fn authorities(hub: &Hub, own: &Tenant) {
    let authority = own.org(&format!("/ca-certificates/{}", own.authority_id));
    assert_eq!(
        hub.ok("GET", &authority, &own.viewer, None).await["provisioned"],
        0
    );
    assert_eq!(
        hub.ok("GET", &own.org("/ca-certificates"), &own.viewer, None)
            .await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let body = json!({ "provision": { "product": own.name("product"), "quota": 100 } });
    let on = hub
        .ok("PATCH", &authority, &own.admin, Some(body.clone()))
        .await;
    assert_eq!(on["provision"], body["provision"]);
    hub.published();
    assert!(
        hub.ok("POST", &format!("{authority}/revoke"), &own.admin, None)
            .await["revoked_at"]
            .is_string()
    );
    assert_eq!(hub.published().len(), 1);

    let key = ed25519_dalek::SigningKey::from_bytes(&[77; 32]).verifying_key();
    let body = json!({ "name": "release", "public_key": base64(key.as_bytes()) });
    let made = hub
        .ok("POST", &own.org("/signing-keys"), &own.admin, Some(body))
        .await;
    assert_eq!(
        hub.ok("GET", &own.org("/signing-keys"), &own.viewer, None)
            .await["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    hub.ok(
        "DELETE",
        &own.org(&format!("/signing-keys/{}", made["id"])),
        &own.admin,
        None,
    )
    .await;
}

async fn firmware(hub: &Hub, own: &Tenant) {
    let key = hub_firmware::SigningKey::generate();
    let body = json!({ "name": "build", "public_key": base64(&key.public_key().to_bytes()) });
    let key_id = hub
        .ok("POST", &own.org("/signing-keys"), &own.admin, Some(body))
        .await["id"]
        .clone();
    let bytes = hub_firmware::Builder::new("any", "2.0.0", "rpi4", "arm")
        .author("the build")
        .resource("image", vec![5; 5000])
        .to_vec(&key)
        .unwrap();
    let path = own.product("/firmware");
    let made = upload(hub, own, bytes.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(
        (&made.body["version"], &made.body["key_id"]),
        (&json!("2.0.0"), &key_id)
    );
    assert_eq!(
        (&made.body["size"], &made.body["extra"]["author"]),
        (&json!(bytes.len()), &json!("the build"))
    );
    let again = upload(hub, own, bytes.clone()).await;
    assert_eq!(
        (again.status, again.code()),
        (StatusCode::CONFLICT, "firmware_exists")
    );
    let cut = upload(hub, own, bytes[..bytes.len() / 2].to_vec()).await;
    assert_eq!(
        (cut.status, cut.code()),
        (StatusCode::UNPROCESSABLE_ENTITY, "bad_firmware")
    );
    assert_eq!(
        hub.ok("GET", &path, &own.viewer, None).await["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let one = format!("{path}/{}", made.body["uuid"].as_str().unwrap());
    assert_eq!(hub.ok("GET", &one, &own.viewer, None).await, made.body);
    hub.ok("DELETE", &one, &own.admin, None).await;
    let in_use = hub
        .call(
            "DELETE",
            &format!("{path}/{}", own.name("uuid")),
            &own.admin,
            None,
        )
        .await;
    assert_eq!(
        (in_use.status, in_use.code()),
        (StatusCode::CONFLICT, "in_use")
    );
}

async fn upload(hub: &Hub, own: &Tenant, bytes: Vec<u8>) -> Reply {
    let path = own.product("/firmware");
    let request = Request::post(format!("/api/v1{path}"))
        .header("authorization", format!("Bearer {}", own.admin));
    let reply = hub.raw(request.body(Body::from(bytes)).unwrap()).await;
    hub.check("POST", &path, &reply);
    reply
}

async fn cleared(hub: &Hub, own: &Tenant) {
    for group in ["/groups/beta", &format!("/groups/{}", own.name("group"))] {
        hub.ok("DELETE", &own.product(group), &own.operator, None)
            .await;
    }
    for device in ["/devices/d2", &format!("/devices/{}", own.name("device"))] {
        hub.ok("DELETE", &own.product(device), &own.operator, None)
            .await;
    }
    let gone = hub.call("GET", &own.device(""), &own.viewer, None).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}
