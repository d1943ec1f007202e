//! Two orgs that have everything, under different names: what one must never see of the other.

use super::harness::Hub;
use crate::pki::{Authority, registration_proof};
use crate::store::FirmwareStore;
use crate::store::records::{NewFirmware, ProductPath};
use hub_proto::id::{KeyId, OrgId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Everything one org has, by its names in paths and bodies.
#[derive(Clone, Debug)]
pub(super) struct Tenant {
    pub(super) admin: String,
    pub(super) operator: String,
    pub(super) viewer: String,
    /// Values of path parameters, by name; `id` depends on the route.
    pub(super) names: BTreeMap<&'static str, String>,
    pub(super) token_id: String,
    pub(super) authority_id: String,
    pub(super) key_id: String,
    pub(super) command_id: String,
    pub(super) certificate_pem: String,
}

impl Tenant {
    pub(super) fn name(&self, what: &str) -> &str {
        &self.names[what]
    }

    /// `/orgs/{org}/products/{product}` and what follows.
    pub(super) fn product(&self, rest: &str) -> String {
        format!(
            "/orgs/{}/products/{}{rest}",
            self.name("org"),
            self.name("product")
        )
    }

    pub(super) fn device(&self, rest: &str) -> String {
        self.product(&format!("/devices/{}{rest}", self.name("device")))
    }

    pub(super) fn group(&self, rest: &str) -> String {
        self.product(&format!("/groups/{}{rest}", self.name("group")))
    }

    pub(super) fn org(&self, rest: &str) -> String {
        format!("/orgs/{}{rest}", self.name("org"))
    }

    /// A path template with this tenant's values.
    pub(super) fn fill(&self, template: &str) -> String {
        let id = match template {
            t if t.contains("/tokens/") => &self.token_id,
            t if t.contains("/ca-certificates/") => &self.authority_id,
            t if t.contains("/signing-keys/") => &self.key_id,
            _ => &self.command_id,
        };
        let mut path = template.replace("{id}", id);
        for (name, value) in &self.names {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        assert!(!path.contains('{'), "{path}");
        path
    }
}

/// A tenant that does not exist: nothing anywhere has these names.
pub(super) fn nobody(like: &Tenant) -> Tenant {
    let mut names = like.names.clone();
    for (name, value) in &mut names {
        *value = match *name {
            "uuid" => "00000000-0000-4000-8000-000000000000".to_owned(),
            "sha256" => "ab".repeat(32),
            _ => "nobody".to_owned(),
        };
    }
    Tenant {
        names,
        token_id: "999999".to_owned(),
        authority_id: "999999".to_owned(),
        key_id: "999999".to_owned(),
        command_id: "01900000-0000-7000-8000-000000000000".to_owned(),
        ..like.clone()
    }
}

pub(super) fn id_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

async fn token(hub: &Hub, org: &str, role: &str) -> (String, String) {
    let made = hub
        .root(
            "POST",
            &format!("/orgs/{org}/tokens"),
            json!({ "name": role, "role": role }),
        )
        .await;
    (
        made["token"].as_str().unwrap().to_owned(),
        id_text(&made["id"]),
    )
}

/// Fills a firmware row as a verified upload would.
pub(super) async fn firmware(hub: &Hub, org: i64, product: &str, uuid: &str, key: i64) {
    let row = NewFirmware {
        uuid: uuid.to_owned(),
        version: "1.0.0".to_owned(),
        product: product.to_owned(),
        platform: "rpi".to_owned(),
        architecture: "arm".to_owned(),
        extra: BTreeMap::new(),
        size: 1234,
        sha256: [7; 32],
        key: KeyId(key),
    };
    hub.store
        .create_firmware(
            ProductPath {
                org: OrgId(org),
                product,
            },
            row,
        )
        .await
        .unwrap();
}

/// What an org trusts.
struct Trusted {
    authority_id: String,
    /// SHA-256 of the device's certificate.
    pinned: String,
    /// Another certificate of the same authority.
    spare_pem: String,
}

/// Registers an authority and pins a certificate of it to `device-{tag}`.
async fn trusted(hub: &Hub, tag: &str, org: &str, devices: &str) -> Trusted {
    let now = OffsetDateTime::now_utc();
    let authority = Authority::generate(&format!("ca-{tag}"), now).unwrap();
    let issue = |name: String| {
        let issued = authority.device(&name.parse().unwrap(), 30, now);
        issued.unwrap().certificate_pem
    };
    let codes = format!("{org}/ca-registrations");
    let code = hub.root("POST", &codes, Value::Null).await;
    let code = code["code"].as_str().unwrap();
    let body = json!({
        "certificate_pem": authority.certificate().certificate_pem,
        "verification_pem": registration_proof(&authority, code, now).unwrap(),
    });
    let registered = hub
        .root("POST", &format!("{org}/ca-certificates"), body)
        .await;
    let body = json!({ "certificate_pem": issue(format!("device-{tag}")) });
    let path = format!("{devices}device-{tag}/certificates");
    let pinned = hub.root("POST", &path, body).await;
    Trusted {
        authority_id: id_text(&registered["id"]),
        pinned: id_text(&pinned["sha256"]),
        spare_pem: issue(format!("spare-{tag}")),
    }
}

/// Makes an org with one of everything. `tag` makes its names its own.
pub(super) async fn tenant(hub: &Hub, tag: &str) -> Tenant {
    let (org, product) = (format!("org-{tag}"), format!("product-{tag}"));
    let (device, group) = (format!("device-{tag}"), format!("group-{tag}"));
    let org_id = hub.root("POST", "/orgs", json!({ "name": org })).await["id"]
        .as_i64()
        .unwrap();
    let at = |rest: &str| format!("/orgs/{org}{rest}");
    hub.root("POST", &at("/products"), json!({ "name": product }))
        .await;
    let in_product = |rest: &str| at(&format!("/products/{product}{rest}"));
    hub.root("POST", &in_product("/devices"), json!({ "name": device }))
        .await;
    hub.root("POST", &in_product("/groups"), json!({ "name": group }))
        .await;
    hub.root(
        "PUT",
        &in_product(&format!("/groups/{group}/members/{device}")),
        Value::Null,
    )
    .await;
    let command = hub
        .root(
            "POST",
            &in_product(&format!("/devices/{device}/commands")),
            json!({ "name": "reboot" }),
        )
        .await;
    let seed: [u8; 32] = std::array::from_fn(|i| tag.as_bytes().get(i).copied().unwrap_or(9));
    let key = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
    let key = base64(key.as_bytes());
    let key = hub
        .root(
            "POST",
            &at("/signing-keys"),
            json!({ "name": "ci", "public_key": key }),
        )
        .await;
    let uuid = format!("0000000{}-0000-5000-8000-000000000001", seed[0] % 10);
    firmware(hub, org_id, &product, &uuid, key["id"].as_i64().unwrap()).await;

    let trusted = trusted(hub, tag, &at(""), &in_product("/devices/")).await;

    let (admin, _) = token(hub, &org, "admin").await;
    let (operator, _) = token(hub, &org, "operator").await;
    let (viewer, token_id) = token(hub, &org, "viewer").await;
    let names = BTreeMap::from([
        ("org", org),
        ("product", product),
        ("device", device),
        ("group", group),
        ("uuid", uuid),
        ("sha256", trusted.pinned),
    ]);
    Tenant {
        admin,
        operator,
        viewer,
        names,
        token_id,
        authority_id: trusted.authority_id,
        key_id: id_text(&key["id"]),
        command_id: id_text(&command["id"]),
        certificate_pem: trusted.spare_pem,
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A body that an operation accepts, referring to nothing that may be missing; `None` for operations without one.
pub(super) fn body_for(operation: &str, tenant: &Tenant) -> Option<Value> {
    let key = ed25519_dalek::SigningKey::from_bytes(&[42; 32]).verifying_key();
    Some(match operation {
        "create_org" | "create_product" | "create_device" => json!({ "name": "fresh" }),
        "rebalance_nodes" => json!({ "dry_run": true }),
        "create_group" => json!({ "name": "fresh", "priority": 1 }),
        "create_token" => json!({ "name": "fresh", "role": "viewer" }),
        "create_signing_key" => json!({ "name": "fresh", "public_key": base64(key.as_bytes()) }),
        "target_device" | "target_group" => json!({ "firmware": null }),
        "update_group" => json!({ "priority": 5 }),
        "add_members" => json!({ "devices": [tenant.name("device")] }),
        "command_device" | "command_group" => json!({ "name": "identify", "args": { "blink": 3 } }),
        "pin_certificate" => json!({ "certificate_pem": tenant.certificate_pem }),
        "update_authority" => json!({ "provision": null }),
        "create_authority" => json!({ "certificate_pem": "x", "verification_pem": "y" }),
        _ => return None,
    })
}
