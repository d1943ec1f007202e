//! Names that are no names, key ids that prove nothing, and bytes that are no certificate.

use proptest::prelude::*;
use rcgen::string::{BmpString, PrintableString};
use rcgen::{CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, KeyIdMethod, SanType};

use super::*;
use crate::identity::specimen::{Ca, extension, subject};

fn facts_of(change: impl FnOnce(&mut CertificateParams)) -> CertificateFacts {
    CertificateFacts::read(Ca::root("root").leaf_with("unit-1", change).der()).unwrap()
}

fn name_of(value: impl Into<DnValue>) -> Result<Slug, NameFault> {
    facts_of(|params| params.distinguished_name = subject(value)).name
}

#[test]
fn reads_what_decides() {
    let ca = Ca::root("root");
    let leaf = ca.leaf("unit-1");
    let (facts, issuer) = (
        CertificateFacts::read(leaf.der()).unwrap(),
        CertificateFacts::read(ca.der()).unwrap(),
    );
    assert_eq!(facts.name.as_deref(), Ok("unit-1"));
    assert_eq!(facts.issuer_der, issuer.subject_der);
    assert_eq!(facts.authority_key_id, issuer.subject_key_id);
    assert!(issuer.key_id_is_derived);
    assert_eq!(facts.usage, Usage::ClientAuth);
    assert_eq!(facts.authority, None);
    assert_eq!(
        issuer.authority,
        Some(AuthorityFacts {
            path_length: None,
            signs_certificates: true
        })
    );
    assert!(facts.not_before < facts.not_after);
    assert_eq!(facts.sha256, <[u8; 32]>::from(Sha256::digest(leaf.der())));
}

#[test]
fn case_23_only_a_plain_common_name_proposes_a_device_name() {
    assert_eq!(name_of("unit-1").as_deref(), Ok("unit-1"));
    let printable = PrintableString::try_from("unit-1").unwrap();
    assert_eq!(
        name_of(DnValue::PrintableString(printable)).as_deref(),
        Ok("unit-1")
    );

    assert_eq!(name_of("unit\0-1"), Err(NameFault::NotASlug));
    assert_eq!(name_of("unit-\u{202e}1"), Err(NameFault::NotASlug));
    assert_eq!(name_of("un\u{131}t-1"), Err(NameFault::NotASlug));
    assert_eq!(name_of("../unit-1"), Err(NameFault::NotASlug));
    assert_eq!(name_of("phoenix"), Err(NameFault::NotASlug));
    assert_eq!(name_of("x".repeat(64)), Err(NameFault::NotASlug));
    let utf16 = BmpString::try_from("unit-1").unwrap();
    assert_eq!(
        name_of(DnValue::BmpString(utf16)),
        Err(NameFault::StringType)
    );
}

#[test]
fn case_23_two_common_names_or_none_propose_nothing() {
    let two = facts_of(|params| {
        params
            .distinguished_name
            .push(DnType::CustomDnType(vec![2, 5, 4, 3]), "unit-2");
    });
    assert_eq!(two.name, Err(NameFault::Several));
    let none = facts_of(|params| {
        params.distinguished_name.remove(DnType::CommonName);
    });
    assert_eq!(none.name, Err(NameFault::Missing));
}

#[test]
fn case_23_a_contradicting_alternative_name_spoils_the_common_name() {
    let with = |names: &[&str]| {
        let names: Vec<_> = names
            .iter()
            .map(|name| SanType::DnsName((*name).try_into().unwrap()))
            .collect();
        facts_of(|params| params.subject_alt_names = names).name
    };
    assert_eq!(with(&["unit-1"]).as_deref(), Ok("unit-1"));
    assert_eq!(with(&["unit-2"]), Err(NameFault::Contradicted));
    assert_eq!(with(&["unit-1", "unit-2"]), Err(NameFault::Contradicted));
}

#[test]
fn usage_is_read_as_it_is_written() {
    assert_eq!(
        facts_of(|params| params.extended_key_usages = vec![]).usage,
        Usage::Unrestricted
    );
    let server =
        facts_of(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert_eq!(server.usage, Usage::OtherOnly);
}

#[test]
fn a_key_id_that_does_not_follow_from_the_key_is_not_trusted() {
    let claim = vec![7; 20];
    let ca = Ca::root_with("root", |params| {
        params.key_identifier_method = KeyIdMethod::PreSpecified(claim.clone())
    });
    let facts = CertificateFacts::read(ca.der()).unwrap();
    assert_eq!(facts.subject_key_id, Some(claim));
    assert_eq!(facts.trusted_key_id(), None);
}

#[test]
fn the_usual_ways_to_derive_a_key_id_are_trusted() {
    let key = rcgen::KeyPair::generate().unwrap();
    let bits = key.public_key_raw();
    let ways = [
        Sha1::digest(bits).to_vec(),
        Sha256::digest(bits)[..20].to_vec(),
        Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key)).to_vec(),
    ];
    for id in ways {
        let mut params = crate::identity::specimen::named("root");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_identifier_method = KeyIdMethod::PreSpecified(id.clone());
        let certificate = params.self_signed(&key).unwrap();
        let facts = CertificateFacts::read(certificate.der()).unwrap();
        assert_eq!(facts.trusted_key_id(), Some(id.as_slice()));
    }
}

#[test]
fn doubled_or_broken_extensions_make_it_unreadable() {
    // Extended key usage a second time, this time with client authentication.
    let usage = [
        0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02,
    ];
    let doubled = Ca::root("root").leaf_with("unit-1", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.custom_extensions = vec![extension(&[2, 5, 29, 37], &usage)];
    });
    assert_eq!(CertificateFacts::read(doubled.der()), Err(Unreadable));
    let broken = Ca::root("root").leaf_with("unit-1", |params| {
        params.custom_extensions = vec![extension(&[2, 5, 29, 19], &[0x30, 0x7f])];
    });
    assert_eq!(CertificateFacts::read(broken.der()), Err(Unreadable));
}

#[test]
fn bytes_after_the_certificate_make_it_unreadable() {
    let mut der = Ca::root("root").leaf("unit-1").der().to_vec();
    der.push(0);
    assert_eq!(CertificateFacts::read(&der), Err(Unreadable));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_bytes_are_facts_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = CertificateFacts::read(&bytes);
    }

    #[test]
    fn a_damaged_certificate_is_facts_or_an_error(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        static GOOD: std::sync::LazyLock<Vec<u8>> =
            std::sync::LazyLock::new(|| Ca::root("root").leaf("unit-1").der().to_vec());
        let mut der = GOOD.clone();
        let at = at.index(der.len());
        der[at] = byte;
        let _ = CertificateFacts::read(&der);
    }
}
