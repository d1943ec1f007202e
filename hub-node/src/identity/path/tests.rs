//! Paths that hold and paths that do not, by the numbers of the catalogue of bad input.

use std::time::Instant;

use hub_proto::id::{DeviceId, OrgId, ProductId};
use rcgen::{
    BasicConstraints, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyIdMethod, NameConstraints,
    SanType,
};
use rustls::CertificateError;

use super::*;
use crate::identity::specimen::{Ca, days, now};

/// Reads the certificates and tries every level against the anchors, nearest first.
fn judge(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[Anchor],
    now: Timestamp,
) -> Result<i64, CertificateFault> {
    let presented = Presented::read(leaf, intermediates)?;
    let mut fault = CertificateFault::Refused(Refusal::Unknown);
    for (_, below) in presented.levels() {
        match presented.verify(below, anchors, now) {
            Ok(anchor) => return Ok(anchor.authority.0),
            Err(found) => fault = more_telling(fault, found),
        }
    }
    Err(fault)
}

fn later(days: i64) -> Timestamp {
    Timestamp(now().0 + days * 86_400_000_000)
}

fn identity_of(presented: &Presented<'_>, refusal: Option<Refusal>) -> Identity {
    Identity {
        org: OrgId(1),
        org_name: "org".parse().unwrap(),
        product: ProductId(1),
        product_name: "product".parse().unwrap(),
        device: DeviceId(1),
        device_name: "unit-1".parse().unwrap(),
        certificate: presented.facts.sha256,
        authority: None,
        refusal,
        not_before: presented.facts.not_before,
        not_after: presented.facts.not_after,
    }
}

#[test]
fn a_device_of_a_registered_authority_is_found() {
    let (ca, other) = (Ca::root("root"), Ca::root("other"));
    let leaf = ca.leaf("unit-1");
    assert_eq!(
        judge(leaf.der(), &[], &[other.anchor(1), ca.anchor(2)], now()).unwrap(),
        2
    );
}

#[test]
fn case_10_an_expired_certificate_is_told_so_known_or_not() {
    let ca = Ca::root_with("root", |params| params.not_after = days(10_000));
    let leaf = ca.leaf("unit-1");
    let fault = judge(leaf.der(), &[], &[ca.anchor(1)], later(400)).unwrap_err();
    assert_eq!(fault.for_handshake(), CertificateError::Expired);
    let presented = Presented::read(leaf.der(), &[]).unwrap();
    let known = identity_of(&presented, None);
    assert!(admit_known(&presented, &known, now()).is_ok());
    let fault = admit_known(&presented, &known, later(400)).unwrap_err();
    assert_eq!(fault.for_handshake(), CertificateError::Expired);
}

#[test]
fn case_11_a_certificate_from_the_future_is_named_apart_and_alerted_alike() {
    let ca = Ca::root("root");
    let leaf = ca.leaf_with("unit-1", |params| params.not_before = days(2));
    let fault = judge(leaf.der(), &[], &[ca.anchor(1)], now()).unwrap_err();
    assert_eq!(fault.refusal(), Some(Refusal::NotYetValid));
    let alert = rustls::AlertDescription::CertificateExpired;
    assert_eq!(rustls::AlertDescription::from(fault.for_handshake()), alert);
    let presented = Presented::read(leaf.der(), &[]).unwrap();
    let fault = admit_known(&presented, &identity_of(&presented, None), now()).unwrap_err();
    assert_eq!(fault.refusal(), Some(Refusal::NotYetValid));
}

#[test]
fn case_12_an_unregistered_authority_is_unknown() {
    let (ca, other) = (Ca::root("root"), Ca::root("root"));
    let fault = judge(ca.leaf("unit-1").der(), &[], &[other.anchor(1)], now()).unwrap_err();
    assert_eq!(
        rustls::AlertDescription::from(fault.for_handshake()),
        rustls::AlertDescription::UnknownCA
    );
    let fault = judge(ca.leaf("unit-1").der(), &[], &[], now()).unwrap_err();
    assert_eq!(
        rustls::AlertDescription::from(fault.for_handshake()),
        rustls::AlertDescription::UnknownCA
    );
}

#[test]
fn case_12_a_revoked_authority_is_unknown_and_nothing_above_it_helps() {
    let root = Ca::root("root");
    let below = root.intermediate("below");
    let revoked = Anchor {
        revoked: true,
        ..below.anchor(1)
    };
    let presented_chain = [below.der().clone()];
    let presented =
        Presented::read(below.leaf("unit-1").der(), &presented_chain).map(|p| p.levels().count());
    assert_eq!(presented.unwrap(), 2);
    let leaf = below.leaf("unit-1");
    let presented = Presented::read(leaf.der(), &presented_chain).unwrap();
    let fault = presented.verify(0, &[revoked], now()).unwrap_err();
    assert_eq!(fault.refusal(), Some(Refusal::AuthorityRevoked));
    assert_eq!(fault.for_handshake(), CertificateError::UnknownIssuer);
}

#[test]
fn case_12_an_expired_authority_admits_no_newcomer() {
    let ca = Ca::root_with("root", |params| params.not_after = days(1));
    let leaf = ca.leaf("unit-1");
    assert!(judge(leaf.der(), &[], &[ca.anchor(1)], now()).is_ok());
    let fault = judge(leaf.der(), &[], &[ca.anchor(1)], later(2)).unwrap_err();
    assert_eq!(fault.refusal(), Some(Refusal::Unknown));
}

#[test]
fn case_13_a_revoked_holder_is_told_so_even_when_expired() {
    let leaf = Ca::root("root").leaf("unit-1");
    let presented = Presented::read(leaf.der(), &[]).unwrap();
    for refusal in [Refusal::CertificateRevoked, Refusal::DeviceRevoked] {
        let fault = admit_known(
            &presented,
            &identity_of(&presented, Some(refusal)),
            later(400),
        )
        .unwrap_err();
        assert_eq!(fault.for_handshake(), CertificateError::Revoked);
    }
}

#[test]
fn case_16_usage_without_client_authentication_is_unsupported() {
    let ca = Ca::root("root");
    let server = ca.leaf_with("unit-1", |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
    });
    let fault = judge(server.der(), &[], &[ca.anchor(1)], now()).unwrap_err();
    let alert = rustls::AlertDescription::from(fault.for_handshake());
    assert_eq!(alert, rustls::AlertDescription::UnsupportedCertificate);
    let silent = ca.leaf_with("unit-1", |params| params.extended_key_usages = vec![]);
    assert!(judge(silent.der(), &[], &[ca.anchor(1)], now()).is_ok());
}

#[test]
fn case_17_an_authority_is_no_device_and_a_device_no_authority() {
    let ca = Ca::root("root");
    let authority = ca.intermediate("unit-1");
    let fault = judge(authority.der(), &[], &[ca.anchor(1)], now()).unwrap_err();
    assert!(matches!(fault, CertificateFault::IsAuthority), "{fault}");

    let pretender = ca.intermediate_with("unit-1", |params| {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![];
    });
    let forged = pretender.leaf("unit-2");
    let fault = judge(
        forged.der(),
        &[pretender.der().clone()],
        &[ca.anchor(1)],
        now(),
    )
    .unwrap_err();
    assert_eq!(fault.for_handshake(), CertificateError::UnknownIssuer);
}

#[test]
fn case_17_an_authority_signs_no_deeper_than_it_may() {
    let ca = Ca::root_with("root", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))
    });
    assert!(judge(ca.leaf("unit-1").der(), &[], &[ca.anchor(1)], now()).is_ok());
    let below = ca.intermediate("below");
    let leaf = below.leaf("unit-1");
    let fault = judge(leaf.der(), &[below.der().clone()], &[ca.anchor(1)], now()).unwrap_err();
    assert_eq!(fault.refusal(), Some(Refusal::Unknown));
}

#[test]
fn case_18_a_crowd_of_intermediates_is_refused_unread() {
    let ca = Ca::root("root");
    let leaf = ca.leaf("unit-1");
    let junk = Ca::root("junk");
    let crowd: Vec<_> = std::iter::repeat_n(junk.der().clone(), 100).collect();
    let before = Instant::now();
    let fault = judge(leaf.der(), &crowd, &[ca.anchor(1)], now()).unwrap_err();
    assert!(matches!(fault, CertificateFault::ChainTooLong), "{fault}");
    assert!(before.elapsed().as_millis() < 5);
    let noise: Vec<_> = (0..100)
        .map(|i| CertificateDer::from(vec![i; 600]))
        .collect();
    assert!(judge(leaf.der(), &noise, &[ca.anchor(1)], now()).is_err());
}

#[test]
fn case_18_junk_within_the_limit_is_passed_over() {
    let ca = Ca::root("root");
    let below = ca.intermediate("below");
    let leaf = below.leaf("unit-1");
    let mut sent: Vec<_> = (0..5).map(|i| CertificateDer::from(vec![i; 600])).collect();
    sent.push(below.der().clone());
    assert_eq!(judge(leaf.der(), &sent, &[ca.anchor(1)], now()).unwrap(), 1);
}

#[test]
fn case_18_authorities_that_sign_each_other_end() {
    // Same names, same claimed key ids, in a circle: the line uses each once.
    let circle = |name: &'static str, issuer: Option<&Ca>| {
        let change = |p: &mut rcgen::CertificateParams| {
            p.key_identifier_method = KeyIdMethod::PreSpecified(vec![9; 20])
        };
        issuer.map_or_else(
            || Ca::root_with(name, change),
            |ca| ca.intermediate_with(name, change),
        )
    };
    let a = circle("a", None);
    let b = circle("b", Some(&a));
    let a2 = circle("a", Some(&b));
    let leaf = a2.leaf("unit-1");
    let sent = [
        a2.der().clone(),
        b.der().clone(),
        a2.der().clone(),
        b.der().clone(),
        a2.der().clone(),
    ];
    let presented = Presented::read(leaf.der(), &sent).unwrap();
    assert!(presented.levels().count() <= sent.len() + 1);
    assert!(
        judge(
            leaf.der(),
            &sent,
            &[Ca::root("a").anchor(1), Ca::root("b").anchor(2)],
            now()
        )
        .is_err()
    );
}

#[test]
fn case_19_a_missing_intermediate_must_be_registered_itself() {
    let root = Ca::root("root");
    let below = root.intermediate("below");
    let leaf = below.leaf("unit-1");
    let fault = judge(leaf.der(), &[], &[root.anchor(1)], now()).unwrap_err();
    assert_eq!(fault.refusal(), Some(Refusal::Unknown));
    assert_eq!(
        judge(leaf.der(), &[], &[root.anchor(1), below.anchor(2)], now()).unwrap(),
        2
    );
    assert_eq!(
        judge(leaf.der(), &[below.der().clone()], &[root.anchor(1)], now()).unwrap(),
        1
    );
    // The root sent along changes nothing.
    let whole = [below.der().clone(), root.der().clone()];
    assert_eq!(
        judge(leaf.der(), &whole, &[root.anchor(1)], now()).unwrap(),
        1
    );
}

#[test]
fn case_20_names_outside_the_constraints_and_wildcards_are_refused() {
    let ca = Ca::root_with("root", |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("inside.example".into())],
            excluded_subtrees: vec![],
        });
    });
    let with = |name: &str| {
        let san = vec![SanType::DnsName(name.try_into().unwrap())];
        ca.leaf_with(name, |params| params.subject_alt_names = san)
    };
    assert!(judge(with("a.inside.example").der(), &[], &[ca.anchor(1)], now()).is_ok());
    for name in ["a.outside.example", "*.inside.example"] {
        let fault = judge(with(name).der(), &[], &[ca.anchor(1)], now()).unwrap_err();
        let alert = rustls::AlertDescription::from(fault.for_handshake());
        assert_eq!(alert, rustls::AlertDescription::BadCertificate, "{name}");
    }
}

#[test]
fn case_24_authorities_that_only_look_alike_do_not_get_in_the_way() {
    let victim = Ca::root("fleet authority");
    let leaf = victim.leaf("unit-1");
    let id = CertificateFacts::read(victim.der())
        .unwrap()
        .subject_key_id
        .unwrap();
    // The look-alikes even claim the victim's key id: such a claim is not stored as one.
    let fake = || {
        Ca::root_with("fleet authority", |p| {
            p.key_identifier_method = KeyIdMethod::PreSpecified(id.clone())
        })
    };
    let fakes: Vec<_> = (0..3).map(|_| fake()).collect();
    assert!(fakes.iter().all(|f| {
        CertificateFacts::read(f.der())
            .unwrap()
            .trusted_key_id()
            .is_none()
    }));
    let mut anchors: Vec<_> = fakes
        .iter()
        .zip(10..)
        .map(|(ca, id)| ca.anchor(id))
        .collect();
    anchors.push(victim.anchor(1));
    assert_eq!(judge(leaf.der(), &[], &anchors, now()).unwrap(), 1);
}

#[test]
fn a_signature_that_does_not_hold_is_an_unknown_authority() {
    let ca = Ca::root("root");
    let mut der = ca.leaf("unit-1").der().to_vec();
    // The signature's last byte: still well-formed, no longer true.
    let last = der.len() - 1;
    der[last] ^= 1;
    let fault = judge(&CertificateDer::from(der), &[], &[ca.anchor(1)], now()).unwrap_err();
    assert_eq!(fault.for_handshake(), CertificateError::UnknownIssuer);
}
