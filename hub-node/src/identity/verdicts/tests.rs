//! Verdicts and admissions against the embedded store, by the numbers of the catalogue of bad input.

use rcgen::{KeyIdMethod, KeyPair};

use super::*;
use crate::identity::admission::Denied;
use crate::identity::certificate::CertificateFacts;
use crate::identity::specimen::tenant::{Tenant, chain};
use crate::identity::specimen::{Ca, Leaf, now};

async fn admit(tenant: &Tenant, leaf: &Leaf, issuers: &[&Ca]) -> Result<Identity, Refusal> {
    let chain = chain(leaf, issuers);
    let admitted = match tenant.verdicts.identify(&chain, now()).await {
        Ok(caller) => tenant.verdicts.admit(caller, &chain, now()).await,
        Err(fault) => Err(fault.into()),
    };
    match admitted {
        Ok(identity) => Ok(identity),
        Err(Denied::Refused(refusal)) => Err(refusal),
        Err(Denied::Unavailable(fault)) => panic!("{fault}"),
    }
}

#[tokio::test]
async fn a_pinned_certificate_needs_no_authority() {
    let tenant = Tenant::new().await;
    let leaf = Ca::root("nobody knows").leaf("whatever it says");
    tenant.pin("unit-1", &leaf).await;
    let identity = admit(&tenant, &leaf, &[]).await.unwrap();
    assert_eq!(
        (&*identity.device_name, identity.org),
        ("unit-1", tenant.org)
    );
}

#[tokio::test]
async fn case_10_a_pinned_certificate_expires_all_the_same() {
    let tenant = Tenant::new().await;
    let leaf = Ca::root("root").leaf("unit-1");
    tenant.pin("unit-1", &leaf).await;
    let later = Timestamp(now().0 + 400 * 86_400_000_000);
    let judged = tenant.verdicts.identify(&chain(&leaf, &[]), later).await;
    assert!(matches!(
        judged,
        Err(CertificateFault::Refused(Refusal::Expired))
    ));
}

#[tokio::test]
async fn case_12_unregistered_or_not_provisioning_is_unknown() {
    let tenant = Tenant::new().await;
    let ca = Ca::root("fleet");
    assert_eq!(
        admit(&tenant, &ca.leaf("unit-1"), &[]).await,
        Err(Refusal::Unknown)
    );
    let id = tenant.register(&ca, None).await;
    assert_eq!(
        admit(&tenant, &ca.leaf("unit-1"), &[]).await,
        Err(Refusal::Unknown)
    );
    tenant
        .store
        .set_provisioning(tenant.org, id, Some((tenant.product, 10)))
        .await
        .unwrap();
    assert!(admit(&tenant, &ca.leaf("unit-1"), &[]).await.is_ok());
}

#[tokio::test]
async fn case_12_a_revoked_authority_takes_its_devices_along() {
    let tenant = Tenant::new().await;
    let ca = Ca::root("fleet");
    let id = tenant.register(&ca, Some(10)).await;
    let leaf = ca.leaf("unit-1");
    admit(&tenant, &leaf, &[]).await.unwrap();
    tenant
        .store
        .revoke_authority(tenant.org, id, now())
        .await
        .unwrap();
    tenant.verdicts.forget_org(tenant.org);
    assert_eq!(
        admit(&tenant, &leaf, &[]).await,
        Err(Refusal::AuthorityRevoked)
    );
    assert_eq!(
        admit(&tenant, &ca.leaf("unit-2"), &[]).await,
        Err(Refusal::AuthorityRevoked)
    );
}

#[tokio::test]
async fn case_12_no_authority_above_undoes_a_revocation() {
    let tenant = Tenant::new().await;
    let root = Ca::root("root");
    let below = root.intermediate("below");
    tenant.register(&root, Some(10)).await;
    let id = tenant.register(&below, Some(10)).await;
    tenant
        .store
        .revoke_authority(tenant.org, id, now())
        .await
        .unwrap();
    let refused = admit(&tenant, &below.leaf("unit-1"), &[&below, &root]).await;
    assert_eq!(refused, Err(Refusal::AuthorityRevoked));
}

#[tokio::test]
async fn case_13_a_revoked_certificate_or_device_is_refused() {
    let tenant = Tenant::new().await;
    let ca = Ca::root("root");
    let (one, two) = (ca.leaf("unit-1"), ca.leaf("unit-2"));
    let pinned = tenant.pin("unit-1", &one).await;
    tenant.pin("unit-2", &two).await;
    tenant
        .store
        .revoke_certificate(tenant.device("unit-1"), pinned.sha256, now())
        .await
        .unwrap();
    tenant
        .store
        .set_device_revoked(tenant.device("unit-2"), true, now())
        .await
        .unwrap();
    assert_eq!(
        admit(&tenant, &one, &[]).await,
        Err(Refusal::CertificateRevoked)
    );
    assert_eq!(admit(&tenant, &two, &[]).await, Err(Refusal::DeviceRevoked));
}

#[tokio::test]
async fn a_newcomer_is_provisioned_once_and_renewed_by_its_key() {
    let tenant = Tenant::new().await;
    let ca = Ca::root("fleet");
    tenant.register(&ca, Some(1)).await;
    let first = ca.leaf("unit-1");
    let key = KeyPair::from_pem(&first.key.serialize_pem()).unwrap();
    let identity = admit(&tenant, &first, &[]).await.unwrap();
    assert_eq!(
        (&*identity.device_name, identity.product),
        ("unit-1", tenant.product)
    );
    let renewed = ca.leaf_for(key, "unit-1", |_| {});
    assert_eq!(
        admit(&tenant, &renewed, &[]).await.unwrap().device,
        identity.device
    );
    assert_eq!(
        admit(&tenant, &ca.leaf("unit-2"), &[]).await,
        Err(Refusal::QuotaExceeded)
    );
    assert_eq!(
        admit(&tenant, &first, &[]).await.unwrap().device,
        identity.device
    );
}

#[tokio::test]
async fn case_19_a_registered_intermediate_stands_for_itself() {
    let tenant = Tenant::new().await;
    let root = Ca::root("root");
    let below = root.intermediate("below");
    tenant.register(&root, Some(10)).await;
    assert_eq!(
        admit(&tenant, &below.leaf("unit-1"), &[]).await,
        Err(Refusal::Unknown)
    );
    assert!(
        admit(&tenant, &below.leaf("unit-1"), &[&below])
            .await
            .is_ok()
    );
    tenant.register(&below, Some(10)).await;
    assert!(admit(&tenant, &below.leaf("unit-2"), &[]).await.is_ok());
}

#[tokio::test]
async fn case_21_the_same_name_from_another_orgs_authority_is_another_device() {
    let acme = Tenant::new().await;
    let umbra = acme.beside("umbra").await;
    let (ours, theirs) = (Ca::root("fleet"), Ca::root("fleet"));
    acme.register(&ours, Some(10)).await;
    umbra.register(&theirs, Some(10)).await;
    let one = admit(&acme, &ours.leaf("unit-1"), &[]).await.unwrap();
    let two = admit(&acme, &theirs.leaf("unit-1"), &[]).await.unwrap();
    assert_eq!((one.org, two.org), (acme.org, umbra.org));
    assert_ne!(one.device, two.device);
}

#[tokio::test]
async fn case_22_a_key_that_is_bound_in_another_org_is_refused() {
    let acme = Tenant::new().await;
    let umbra = acme.beside("umbra").await;
    let (ours, theirs) = (Ca::root("ours"), Ca::root("theirs"));
    acme.register(&ours, Some(10)).await;
    umbra.register(&theirs, Some(10)).await;
    let device = ours.leaf("unit-1");
    admit(&acme, &device, &[]).await.unwrap();
    let key = KeyPair::from_pem(&device.key.serialize_pem()).unwrap();
    let second = theirs.leaf_for(key, "unit-1", |_| {});
    assert_eq!(admit(&acme, &second, &[]).await, Err(Refusal::Unknown));
    assert!(admit(&acme, &device, &[]).await.is_ok());
}

#[tokio::test]
async fn case_23_a_bad_name_matters_only_to_a_newcomer() {
    let tenant = Tenant::new().await;
    let ca = Ca::root("fleet");
    tenant.register(&ca, Some(10)).await;
    let leaf = ca.leaf("unit\0-1");
    assert_eq!(
        admit(&tenant, &leaf, &[]).await,
        Err(Refusal::BadIdentifier)
    );
    tenant.pin("unit-1", &leaf).await;
    assert!(admit(&tenant, &leaf, &[]).await.is_ok());
}

#[tokio::test]
async fn case_23_a_name_that_is_taken_by_another_key_is_refused() {
    let tenant = Tenant::new().await;
    let ca = Ca::root("fleet");
    tenant.register(&ca, Some(10)).await;
    admit(&tenant, &ca.leaf("unit-1"), &[]).await.unwrap();
    assert_eq!(
        admit(&tenant, &ca.leaf("unit-1"), &[]).await,
        Err(Refusal::BadIdentifier)
    );
}

#[tokio::test]
async fn case_24_look_alikes_registered_first_do_not_hide_the_victim() {
    let attacker = Tenant::new().await;
    let victim = attacker.beside("victim").await;
    let ca = Ca::root("fleet");
    let id = CertificateFacts::read(ca.der())
        .unwrap()
        .subject_key_id
        .unwrap();
    for n in 0..3 * ANCHORS_MAX {
        // Half of them claim the victim's key id as well.
        let fake = Ca::root_with("fleet", |params| {
            if n % 2 == 0 {
                params.key_identifier_method = KeyIdMethod::PreSpecified(id.clone());
            }
        });
        attacker.register(&fake, Some(1000)).await;
    }
    victim.register(&ca, Some(10)).await;
    let identity = admit(&victim, &ca.leaf("unit-1"), &[]).await.unwrap();
    assert_eq!(identity.org, victim.org);
}

#[tokio::test]
async fn certificates_without_a_key_id_are_found_by_their_issuers_name() {
    let tenant = Tenant::new().await;
    let plain = Ca::root("plain");
    let odd = Ca::root_with("odd", |params| {
        params.key_identifier_method = KeyIdMethod::PreSpecified(vec![1, 2, 3])
    });
    tenant.register(&plain, Some(10)).await;
    tenant.register(&odd, Some(10)).await;
    let nameless = plain.leaf_with("unit-1", |params| {
        params.use_authority_key_identifier_extension = false
    });
    assert!(admit(&tenant, &nameless, &[]).await.is_ok());
    assert!(admit(&tenant, &odd.leaf("unit-2"), &[]).await.is_ok());
}

#[tokio::test]
async fn a_revocation_between_verdict_and_admission_is_seen() {
    let tenant = Tenant::new().await;
    let leaf = Ca::root("root").leaf("unit-1");
    let pinned = tenant.pin("unit-1", &leaf).await;
    let chain = chain(&leaf, &[]);
    let [spared, caught] = [
        tenant.verdicts.identify(&chain, now()).await.unwrap(),
        tenant.verdicts.identify(&chain, now()).await.unwrap(),
    ];
    tenant
        .store
        .revoke_certificate(tenant.device("unit-1"), pinned.sha256, now())
        .await
        .unwrap();
    // Nobody heard of it yet.
    tenant.verdicts.admit(spared, &chain, now()).await.unwrap();
    tenant.verdicts.forget_org(tenant.org);
    assert!(matches!(
        tenant.verdicts.admit(caught, &chain, now()).await,
        Err(Denied::Refused(Refusal::CertificateRevoked))
    ));
}

#[tokio::test]
async fn many_at_a_time_get_each_their_own_answer() {
    let tenant = Tenant::new().await;
    let ca = Ca::root("root");
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (name, leaf) = (format!("unit-{number}"), ca.leaf("unit"));
        if number % 3 != 0 {
            tenant.pin(&name, &leaf).await;
        }
        let (verdicts, chain) = (Arc::clone(&tenant.verdicts), chain(&leaf, &[]));
        asked.spawn(async move {
            let judged = verdicts.identify(&chain, now()).await;
            let named = match judged {
                Ok(caller) => Some(
                    verdicts
                        .admit(caller, &chain, now())
                        .await
                        .unwrap()
                        .device_name,
                ),
                Err(_) => None,
            };
            (number, name, named)
        });
    }
    for (number, name, named) in asked.join_all().await {
        let expected = (number % 3 != 0).then_some(name);
        assert_eq!(named.as_deref(), expected.as_deref());
    }
}
