//! Lists that revoke, that are for somebody else, that are too old, and that are none.

use std::time::Duration;

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use time::OffsetDateTime;

use super::*;
use crate::identity::specimen::{Ca, Leaf, days, now};

fn list(ca: &Ca, revoked: &[&Leaf], next_update: OffsetDateTime) -> String {
    let entry = |leaf: &&Leaf| RevokedCertParams {
        serial_number: SerialNumber::from_slice(&hex::decode(facts(leaf).serial).unwrap()),
        revocation_time: days(-1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: days(-9),
        next_update,
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&ca.issuer).unwrap().pem().unwrap()
}

fn facts(leaf: &Leaf) -> CertificateFacts {
    CertificateFacts::read(leaf.der()).unwrap()
}

fn revoked(revocations: &Revocations, leaf: &Leaf) -> bool {
    let judged = revocations.judge(&facts(leaf), now());
    match judged {
        Ok(()) => false,
        Err(CertificateFault::Refused(Refusal::CertificateRevoked)) => true,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_list_revokes_what_it_names_and_of_its_issuer_only() {
    let (ca, other) = (Ca::root("devices"), Ca::root("devices"));
    let (good, bad, namesake) = (ca.leaf("good"), ca.leaf("bad"), other.leaf("bad"));
    let dir = tempfile::tempdir().unwrap();
    let write = |revoked: &[&Leaf]| {
        let text = list(&ca, revoked, days(1));
        std::fs::write(dir.path().join("devices.pem"), text).unwrap();
    };
    write(&[]);
    let revocations = Revocations::load(Some(dir.path().to_owned())).unwrap();
    let (sockets, metrics) = (Sockets::new(std::time::Instant::now()), Metrics::default());
    assert!(!revoked(&revocations, &bad));
    assert!(!revocations.look(&sockets, &metrics).unwrap());
    write(&[&bad]);
    assert!(revocations.look(&sockets, &metrics).unwrap());
    assert!(revoked(&revocations, &bad));
    assert!(!revoked(&revocations, &good) && !revoked(&revocations, &namesake));
    // what is no list changes nothing
    std::fs::write(dir.path().join("other.pem"), "nonsense").unwrap();
    assert!(revocations.look(&sockets, &metrics).is_err());
    assert!(revoked(&revocations, &bad));
    let issued = revocations.issued(Some(&[bad.der().clone()])).unwrap();
    let lists = revocations.lists.load();
    assert!(lists.iter().any(|list| issued.is_revoked_by(list, now())));
}

#[test]
fn case_15_a_list_past_its_next_update_holds_for_a_day() {
    let ca = Ca::root("devices");
    let (good, bad) = (ca.leaf("good"), ca.leaf("bad"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("devices.pem");
    std::fs::write(
        &file,
        list(&ca, &[&bad], days(-1) + Duration::from_secs(3_600)),
    )
    .unwrap();
    let late = Revocations::load(Some(file.clone())).unwrap();
    assert!(!revoked(&late, &good) && revoked(&late, &bad));
    std::fs::write(&file, list(&ca, &[&bad], days(-2))).unwrap();
    let too_late = Revocations::load(Some(file)).unwrap();
    assert!(revoked(&too_late, &good) && revoked(&too_late, &bad));
}

#[test]
fn without_lists_nothing_is_revoked_or_remembered() {
    let none = Revocations::load(None).unwrap();
    let leaf = Ca::root("devices").leaf("d");
    assert!(!revoked(&none, &leaf));
    assert!(none.issued(Some(&[leaf.der().clone()])).is_none());
    let error = Revocations::load(Some("missing".into())).unwrap_err();
    assert!(format!("{error:#}").contains("device_crls: missing"));
}
