//! Checks: pins, authorities, provisioning.

use std::sync::Arc;

use hub_core::level::Refusal;
use hub_proto::id::CaId;

use crate::store::Store;
use crate::store::records::Identity;
use crate::store::records::{Provision, Registration};
use crate::store::suite::world::{
    NOW, World, all, authority, certificate, code, digest, far, later, slug,
};

fn first_use(authority: CaId, name: &str, text: &str) -> Provision {
    Provision {
        authority,
        name: slug(name),
        certificate: certificate(text),
    }
}

/// Who holds a certificate.
async fn holder(store: &Arc<dyn Store>, certificate: [u8; 32]) -> Option<Identity> {
    let beside = digest("nobody's");
    let mut held = store.identities(vec![beside, certificate]).await.unwrap();
    assert!(held.len() <= 1);
    held.pop()
}

pub(in crate::store) async fn pins_decide_who_a_certificate_is(store: Arc<dyn Store>) {
    let a = World::new(&store, "a").await;
    let b = World::new(&store, "b").await;
    let id = a.device("d").await;
    b.device("e").await;
    store
        .pin_certificate(a.at("d"), certificate("k/1"))
        .await
        .unwrap();
    store
        .pin_certificate(a.at("d"), certificate("k/2"))
        .await
        .unwrap();
    assert_eq!(
        code(store.pin_certificate(a.at("d"), certificate("k/1")).await),
        "certificate_taken"
    );
    assert_eq!(
        code(store.pin_certificate(b.at("e"), certificate("k/1")).await),
        "certificate_taken"
    );
    assert_eq!(
        code(store.pin_certificate(b.at("e"), certificate("k/3")).await),
        "key_taken"
    );
    let identity = holder(&store, digest("k/2")).await.unwrap();
    assert_eq!(
        (identity.device, identity.org, identity.refusal),
        (id, a.org, None)
    );
    assert_eq!(
        (
            &*identity.org_name,
            &*identity.product_name,
            &*identity.device_name
        ),
        ("a", "p", "d")
    );
    assert_eq!(
        (identity.not_before, identity.not_after),
        (later(-1000), later(1000))
    );
    assert!(holder(&store, digest("k/3")).await.is_none());
    assert_eq!(store.certificates(a.at("d")).await.unwrap().len(), 3);
    store.delete_device(a.at("d")).await.unwrap();
    assert!(holder(&store, digest("k/2")).await.is_none());
}

pub(in crate::store) async fn revocations_show_in_order(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let ca = world.provisioning("ca", 9).await;
    let made = store
        .provision(first_use(ca, "d", "k/1"))
        .await
        .unwrap()
        .unwrap();
    let refusal = async || holder(&store, made.certificate).await.unwrap().refusal;
    let revoked = store
        .revoke_certificate(world.at("d"), made.certificate, NOW)
        .await
        .unwrap();
    assert_eq!(
        (revoked.value.revoked_at, revoked.changes.len()),
        (Some(NOW), 1)
    );
    assert_eq!(refusal().await, Some(Refusal::CertificateRevoked));
    let gone = store.revoke_authority(world.org, ca, NOW).await.unwrap();
    assert_eq!(
        gone.changes[0].channel,
        hub_proto::id::ChannelId::Org(world.org)
    );
    assert_eq!(refusal().await, Some(Refusal::AuthorityRevoked));
    store
        .set_device_revoked(world.at("d"), true, NOW)
        .await
        .unwrap();
    assert_eq!(refusal().await, Some(Refusal::DeviceRevoked));
    let back = store
        .set_device_revoked(world.at("d"), false, later(1))
        .await
        .unwrap();
    assert_eq!(back.value.revoked_at, None);
    assert_eq!(refusal().await, Some(Refusal::AuthorityRevoked));
    // for good: a second time keeps the first date
    let again = store
        .revoke_certificate(world.at("d"), made.certificate, later(5))
        .await
        .unwrap();
    assert_eq!(again.value.revoked_at, Some(NOW));
}

pub(in crate::store) async fn codes_work_once(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    for name in ["one", "two"] {
        let registration = Registration {
            org: world.org,
            code: name.to_owned(),
            expires_at: far(),
        };
        store.create_registration(registration).await.unwrap();
    }
    let made = store
        .create_authority(authority(world.org, "one", "ca"), NOW)
        .await
        .unwrap();
    assert_eq!(
        code(
            store
                .create_authority(authority(world.org, "one", "x"), NOW)
                .await
        ),
        "code_unknown"
    );
    assert_eq!(
        code(
            store
                .create_authority(authority(world.org, "none", "x"), NOW)
                .await
        ),
        "code_unknown"
    );
    assert_eq!(
        code(
            store
                .create_authority(authority(world.org, "two", "y"), far())
                .await
        ),
        "code_unknown"
    );
    // a refused authority does not use the code up
    assert_eq!(
        code(
            store
                .create_authority(authority(world.org, "two", "ca"), NOW)
                .await
        ),
        "key_taken"
    );
    store
        .create_authority(authority(world.org, "two", "y"), NOW)
        .await
        .unwrap();
    assert_eq!(
        store
            .authorities(world.org, all())
            .await
            .unwrap()
            .items
            .len(),
        2
    );
    assert_eq!(
        store.authority(world.org, made.id).await.unwrap().subject,
        "CN=ca"
    );
}

pub(in crate::store) async fn authorities_are_found_by_name_or_key(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let with_key = world.provisioning("ca", 1).await;
    let registration = Registration {
        org: world.org,
        code: "c".to_owned(),
        expires_at: far(),
    };
    store.create_registration(registration).await.unwrap();
    let mut plain = authority(world.org, "c", "plain");
    plain.key_id = None;
    plain.subject_der = b"CN=ca".to_vec();
    let plain = store.create_authority(plain, NOW).await.unwrap().id;
    let ids = async |key: Option<&[u8]>, name: &[u8], limit| {
        let anchors = store.anchors(key, name, limit).await.unwrap();
        anchors
            .iter()
            .map(|anchor| (anchor.authority, anchor.revoked, anchor.provisions))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ids(Some(b"ca"), b"CN=ca", 9).await,
        [(with_key, false, true), (plain, false, false)]
    );
    assert_eq!(ids(Some(b"zz"), b"CN=ca", 9).await, [(plain, false, false)]);
    assert_eq!(
        ids(None, b"CN=ca", 9).await,
        [(with_key, false, true), (plain, false, false)]
    );
    store
        .revoke_authority(world.org, with_key, NOW)
        .await
        .unwrap();
    assert_eq!(
        ids(None, b"CN=ca", 9).await,
        [(plain, false, false), (with_key, true, true)]
    );
    assert_eq!(ids(None, b"CN=ca", 1).await, [(plain, false, false)]);
    assert_eq!(ids(None, b"CN=zz", 9).await, []);
}

pub(in crate::store) async fn provisioning_makes_and_renews(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let ca = world.provisioning("ca", 2).await;
    let provision =
        async |name: &str, text: &str| store.provision(first_use(ca, name, text)).await.unwrap();
    let made = provision("d", "k/1").await.unwrap();
    assert_eq!((&*made.device_name, made.authority), ("d", Some(ca)));
    assert_eq!(
        provision("d", "k/1").await.unwrap(),
        made,
        "the same certificate again"
    );
    assert_eq!(
        provision("d", "k/2").await.unwrap().device,
        made.device,
        "a renewed one"
    );
    assert_eq!(provision("d", "other/1").await, Err(Refusal::BadIdentifier));
    world.device("by-hand").await;
    assert_eq!(
        provision("by-hand", "other/1").await,
        Err(Refusal::BadIdentifier)
    );
    provision("e", "l/1").await.unwrap();
    assert_eq!(provision("f", "m/1").await, Err(Refusal::QuotaExceeded));
    assert_eq!(store.authority(world.org, ca).await.unwrap().provisioned, 2);
    provision("e", "l/2").await.unwrap();
    // revoking every certificate of a key gives up the key
    store
        .revoke_certificate(world.at("d"), digest("k/1"), NOW)
        .await
        .unwrap();
    provision("d", "k/3").await.unwrap();
    for text in ["k/2", "k/3"] {
        store
            .revoke_certificate(world.at("d"), digest(text), NOW)
            .await
            .unwrap();
    }
    assert_eq!(
        provision("d", "k/4").await,
        Err(Refusal::CertificateRevoked)
    );
    store
        .set_device_revoked(world.at("e"), true, NOW)
        .await
        .unwrap();
    assert_eq!(provision("e", "l/3").await, Err(Refusal::DeviceRevoked));
    store.set_provisioning(world.org, ca, None).await.unwrap();
    assert_eq!(provision("g", "n/1").await, Err(Refusal::Unknown));
    store.revoke_authority(world.org, ca, NOW).await.unwrap();
    assert_eq!(provision("g", "n/1").await, Err(Refusal::AuthorityRevoked));
    let unknown = store
        .provision(first_use(CaId(999), "g", "n/1"))
        .await
        .unwrap();
    assert_eq!(unknown, Err(Refusal::Unknown));
}

pub(in crate::store) async fn quota_holds_in_a_race(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let ca = world.provisioning("ca", 5).await;
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let store = Arc::clone(&store);
            let new = first_use(ca, &format!("d{number}"), &format!("k{number}/1"));
            tokio::spawn(async move { store.provision(new).await.unwrap() })
        })
        .collect();
    let (mut made, mut refused) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(refusal) => {
                assert_eq!(refusal, Refusal::QuotaExceeded);
                refused += 1;
            }
        }
    }
    assert_eq!((made, refused), (5, 11));
    assert_eq!(
        store
            .devices(world.product(), all())
            .await
            .unwrap()
            .items
            .len(),
        5
    );
}

pub(in crate::store) async fn keys_stay_in_their_org(store: Arc<dyn Store>) {
    let a = World::new(&store, "a").await;
    let b = World::new(&store, "b").await;
    let ours = a.provisioning("ours", 9).await;
    let theirs = b.provisioning("theirs", 9).await;
    store
        .provision(first_use(ours, "d", "k/1"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        store
            .provision(first_use(theirs, "d", "k/2"))
            .await
            .unwrap(),
        Err(Refusal::Unknown)
    );
    assert_eq!(
        store.devices(b.product(), all()).await.unwrap().items.len(),
        0
    );
}
