//! Uploads that prove nothing, and the ones that do.

use rcgen::{
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData,
    SignatureAlgorithm, SigningKey,
};
use rustls::pki_types::CertificateDer;

use super::*;
use crate::identity::specimen::{Ca, days, named, now};

const CODE: &str = "f3n1xq7h5t2k9m4r8w6z";

fn proof(ca: &Ca, code: &str) -> String {
    ca.leaf(code).certificate.pem()
}

fn pem_of(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

#[track_caller]
fn refused(certificate: &str, verification: &str, field: &str, code: &str) {
    let error = check_authority(certificate, verification, CODE, now()).unwrap_err();
    assert_eq!((error.field, error.code), (field, code), "{error}");
}

#[test]
fn the_holder_of_the_key_registers_it() {
    let ca = Ca::root("fleet");
    let checked = check_authority(&ca.certificate.pem(), &proof(&ca, CODE), CODE, now()).unwrap();
    let new = checked.into_new(OrgId(3), CODE.into(), None);
    assert_eq!(new.der, ca.der().to_vec());
    assert_eq!(new.subject, "CN=fleet");
    assert!(new.key_id.is_some());
    assert_eq!((new.org, new.code.as_str()), (OrgId(3), CODE));
}

#[test]
fn an_authority_below_another_registers_by_itself() {
    let below = Ca::root("root").intermediate("fleet");
    assert!(check_authority(&below.certificate.pem(), &proof(&below, CODE), CODE, now()).is_ok());
}

#[test]
fn case_25_without_the_key_nothing_is_registered() {
    let (victim, attacker) = (Ca::root("fleet"), Ca::root("fleet"));
    let certificate = victim.certificate.pem();
    refused(
        &certificate,
        &proof(&attacker, CODE),
        VERIFICATION_FIELD,
        "not_signed_by_authority",
    );
    refused(
        &certificate,
        &proof(&Ca::root("other"), CODE),
        VERIFICATION_FIELD,
        "not_signed_by_authority",
    );
    refused(&certificate, &certificate, VERIFICATION_FIELD, "wrong_code");
    refused(&certificate, "", VERIFICATION_FIELD, "no_certificate");
}

#[test]
fn case_25_a_proof_for_another_code_is_none() {
    let ca = Ca::root("fleet");
    refused(
        &ca.certificate.pem(),
        &proof(&ca, "f3n1xq7h5t2k9m4r8w6y"),
        VERIFICATION_FIELD,
        "wrong_code",
    );
    let two = ca.leaf_with(CODE, |params| {
        params
            .distinguished_name
            .push(rcgen::DnType::CustomDnType(vec![2, 5, 4, 3]), "unit-1");
    });
    refused(
        &ca.certificate.pem(),
        &two.certificate.pem(),
        VERIFICATION_FIELD,
        "wrong_code",
    );
    let nameless = ca.leaf_with("x", |params| {
        params.distinguished_name.remove(rcgen::DnType::CommonName);
    });
    let empty = check_authority(
        &ca.certificate.pem(),
        &nameless.certificate.pem(),
        "",
        now(),
    )
    .unwrap_err();
    assert_eq!(empty.code, "wrong_code");
}

#[test]
fn case_25_an_old_proof_is_none() {
    let ca = Ca::root("fleet");
    let old = ca.leaf_with(CODE, |params| {
        params.not_before = days(-3);
        params.not_after = days(-2);
    });
    refused(
        &ca.certificate.pem(),
        &old.certificate.pem(),
        VERIFICATION_FIELD,
        "expired",
    );
}

#[test]
fn case_26_what_is_no_authority_is_refused() {
    let ca = Ca::root("fleet");
    let leaf = ca.leaf("unit-1").certificate.pem();
    refused(
        &leaf,
        &proof(&ca, CODE),
        CERTIFICATE_FIELD,
        "not_an_authority",
    );
    let no_signing = Ca::root_with("fleet", |params| {
        params.key_usages = vec![KeyUsagePurpose::CrlSign]
    });
    refused(
        &no_signing.certificate.pem(),
        &proof(&no_signing, CODE),
        CERTIFICATE_FIELD,
        "not_an_authority",
    );
    let old = Ca::root_with("fleet", |params| {
        params.not_before = days(-3);
        params.not_after = days(-2);
    });
    refused(
        &old.certificate.pem(),
        &proof(&old, CODE),
        CERTIFICATE_FIELD,
        "expired",
    );
    let nameless = Ca::root_with("fleet", |params| {
        params.distinguished_name = rcgen::DistinguishedName::new()
    });
    refused(
        &nameless.certificate.pem(),
        &proof(&nameless, CODE),
        CERTIFICATE_FIELD,
        "no_subject",
    );
}

#[test]
fn case_26_exactly_one_certificate_of_bearable_size() {
    let ca = Ca::root("fleet");
    let (one, proof) = (ca.certificate.pem(), proof(&ca, CODE));
    refused(
        &one.repeat(2),
        &proof,
        CERTIFICATE_FIELD,
        "several_certificates",
    );
    refused(
        &one.repeat(60),
        &proof,
        CERTIFICATE_FIELD,
        "several_certificates",
    );
    refused(&one.repeat(1000), &proof, CERTIFICATE_FIELD, "too_large");
    refused(
        &"x".repeat(10 * 1024 * 1024),
        &proof,
        CERTIFICATE_FIELD,
        "too_large",
    );
    refused(
        &one,
        &proof.repeat(2),
        VERIFICATION_FIELD,
        "several_certificates",
    );
    refused("not pem", &proof, CERTIFICATE_FIELD, "no_certificate");
    refused(
        &pem_of(b"not a certificate"),
        &proof,
        CERTIFICATE_FIELD,
        "bad_certificate",
    );
}

#[test]
fn case_26_a_private_key_is_sent_back() {
    let ca = Ca::root("fleet");
    let both = format!(
        "{}{}",
        ca.certificate.pem(),
        ca.issuer.key().serialize_pem()
    );
    refused(&both, &proof(&ca, CODE), CERTIFICATE_FIELD, "private_key");
}

/// An RSA key of a size the signing library refuses to make: it states a modulus and signs nothing.
struct StatedKey(Vec<u8>);

impl StatedKey {
    /// `SEQUENCE { INTEGER modulus, INTEGER 65537 }`
    fn of_bits(bits: usize) -> Self {
        let bytes = bits / 8;
        let length = |n: usize| {
            vec![
                0x82,
                u8::try_from(n >> 8).unwrap(),
                u8::try_from(n & 255).unwrap(),
            ]
        };
        let mut body = vec![0x02];
        body.extend(length(bytes + 1));
        body.push(0);
        body.extend(std::iter::repeat_n(0xc5, bytes));
        body.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
        let mut der = vec![0x30];
        der.extend(length(body.len()));
        der.extend(body);
        Self(der)
    }
}

impl PublicKeyData for StatedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl SigningKey for StatedKey {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(vec![1; 128])
    }
}

fn rsa_authority(bits: usize) -> Vec<u8> {
    let mut params = named("fleet");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
        .self_signed(&StatedKey::of_bits(bits))
        .unwrap()
        .der()
        .to_vec()
}

#[test]
fn case_26_weak_keys_and_digests_are_refused() {
    let any = proof(&Ca::root("fleet"), CODE);
    refused(
        &pem_of(&rsa_authority(1024)),
        &any,
        CERTIFICATE_FIELD,
        "weak_key",
    );
    refused(
        &pem_of(&rsa_authority(16384)),
        &any,
        CERTIFICATE_FIELD,
        "weak_key",
    );
    // Big enough to get as far as the proof.
    refused(
        &pem_of(&rsa_authority(2048)),
        &any,
        VERIFICATION_FIELD,
        "not_signed_by_authority",
    );

    let (sha256, sha1) = (
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b",
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05",
    );
    let mut der = rsa_authority(2048);
    for at in 0..der.len() - sha256.len() {
        if &der[at..at + sha256.len()] == sha256 {
            der[at..at + sha1.len()].copy_from_slice(sha1);
        }
    }
    refused(&pem_of(&der), &any, CERTIFICATE_FIELD, "weak_signature");
}

#[test]
fn case_26_a_weak_proof_is_none() {
    // The proof's own algorithm field says SHA-1; whatever signed it, that is not verified.
    let ca = Ca::root("fleet");
    let mut der = ca.leaf(CODE).der().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    refused(
        &ca.certificate.pem(),
        &pem_of(&der),
        VERIFICATION_FIELD,
        "not_signed_by_authority",
    );
}

#[test]
fn a_device_certificate_is_pinned_whoever_signed_it() {
    let leaf = Ca::root("anyone").leaf("unit-1");
    let pinned = read_device_certificate(&leaf.certificate.pem(), now()).unwrap();
    assert_eq!(
        pinned.sha256,
        CertificateFacts::read(leaf.der()).unwrap().sha256
    );
    let key = KeyPair::generate().unwrap();
    let own = named("unit-1").self_signed(&key).unwrap();
    assert!(read_device_certificate(&own.pem(), now()).is_ok());
}

#[test]
fn what_no_device_can_use_is_not_pinned() {
    let ca = Ca::root("anyone");
    let code = |pem: &str| read_device_certificate(pem, now()).unwrap_err().code;
    assert_eq!(code(&ca.certificate.pem()), "is_authority");
    let server = ca.leaf_with("unit-1", |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
    });
    assert_eq!(code(&server.certificate.pem()), "wrong_usage");
    let old = ca.leaf_with("unit-1", |p| {
        p.not_before = days(-3);
        p.not_after = days(-2);
    });
    assert_eq!(code(&old.certificate.pem()), "expired");
    let der: CertificateDer<'_> = named("unit-1")
        .self_signed(&StatedKey::of_bits(1024))
        .unwrap()
        .into();
    assert_eq!(code(&pem_of(&der)), "weak_key");
}
