//! What the commands write is what a hub accepts.

use std::os::unix::fs::PermissionsExt;

use clap::Parser;
use hub_proto::time::Timestamp;

use super::*;
use crate::identity::path::Presented;
use crate::identity::registration::{check_authority, read_device_certificate};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    pki: PkiCommand,
}

fn run(dir: &std::path::Path, args: &[&str]) -> Result<String, PkiError> {
    let out = dir.to_str().unwrap();
    let program = Program::try_parse_from([&["pki"], args, &["--out", out]].concat()).unwrap();
    let mut output = Vec::new();
    program.pki.run(OffsetDateTime::now_utc(), &mut output)?;
    Ok(String::from_utf8(output).unwrap())
}

fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

#[test]
fn an_authority_and_its_device_pass_the_hubs_own_checks() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["ca", "--name", "fleet"]).unwrap();
    let said = run(dir.path(), &["device", "unit-1"]).unwrap();
    run(dir.path(), &["code-proof", "--code", "abc123"]).unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();

    let authority =
        check_authority(&read("ca.pem"), &read("code-proof.pem"), "abc123", now()).unwrap();
    let pinned = read_device_certificate(&read("unit-1.pem"), now()).unwrap();
    assert!(said.contains(&hex::encode(pinned.sha256)), "{said}");

    let leaf = CertificateDer::from_pem_slice(read("unit-1.pem").as_bytes()).unwrap();
    let presented = Presented::read(&leaf, &[]).unwrap();
    assert_eq!(presented.facts.name.as_deref(), Ok("unit-1"));
    assert_eq!(
        presented.facts.authority_key_id.as_deref(),
        authority.facts().trusted_key_id()
    );
    let new = authority.into_new(hub_proto::id::OrgId(1), "abc123".into(), None);
    let anchor = crate::store::records::Anchor {
        authority: hub_proto::id::CaId(1),
        org: new.org,
        der: new.der.into(),
        revoked: false,
        provisions: true,
    };
    assert!(presented.verify(0, &[anchor], now()).is_ok());
}

#[test]
fn keys_are_their_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["ca"]).unwrap();
    let mode = |name: &str| {
        std::fs::metadata(dir.path().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("ca-key.pem"), 0o600);
    assert_eq!(mode("ca.pem") & 0o400, 0o400);
}

#[test]
fn nothing_is_replaced_unless_asked() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["ca"]).unwrap();
    let first = std::fs::read(dir.path().join("ca.pem")).unwrap();
    assert!(matches!(
        run(dir.path(), &["ca"]),
        Err(PkiError::Exists { .. })
    ));
    assert_eq!(std::fs::read(dir.path().join("ca.pem")).unwrap(), first);
    run(dir.path(), &["ca", "--force"]).unwrap();
    assert_ne!(std::fs::read(dir.path().join("ca.pem")).unwrap(), first);
}

#[test]
fn a_server_certificate_has_its_names_and_at_most_a_year() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["ca"]).unwrap();
    run(
        dir.path(),
        &[
            "server",
            "--san",
            "hub.example",
            "--san",
            "127.0.0.1",
            "--days",
            "9999",
        ],
    )
    .unwrap();
    let pem = std::fs::read(dir.path().join("server.pem")).unwrap();
    let der = CertificateDer::from_pem_slice(&pem).unwrap();
    let server = webpki::EndEntityCert::try_from(&der).unwrap();
    for name in ["hub.example", "127.0.0.1"] {
        let name = rustls::pki_types::ServerName::try_from(name).unwrap();
        assert!(server.verify_is_valid_for_subject_name(&name).is_ok());
    }
    let facts = crate::identity::certificate::CertificateFacts::read(&der).unwrap();
    assert!(facts.not_after.0 - now().0 <= i64::from(SERVER_DAYS_MAX) * 86_400_000_000);
}

#[test]
fn no_certificate_outlives_its_authority() {
    let start = OffsetDateTime::now_utc();
    let authority = Authority::generate("fleet", start).unwrap();
    let late = start + time::Duration::days(i64::from(AUTHORITY_DAYS) - 10);
    let name: Slug = "unit-1".parse().unwrap();
    let end = |issued: &Issued| {
        let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
        crate::identity::certificate::CertificateFacts::read(&der)
            .unwrap()
            .not_after
            .0
    };
    let device = authority.device(&name, 3650, late).unwrap();
    assert_eq!(end(&device), end(authority.certificate()));
    let after = late + time::Duration::days(11);
    assert!(matches!(
        authority.device(&name, 1, after),
        Err(PkiError::AuthorityExpired)
    ));
}

#[test]
fn a_key_that_is_not_the_certificates_is_noticed() {
    let now = OffsetDateTime::now_utc();
    let (one, two) = (
        Authority::generate("a", now).unwrap(),
        Authority::generate("b", now).unwrap(),
    );
    let mixed = Authority::from_pem(
        &one.certificate().certificate_pem,
        &two.certificate().key_pem,
    );
    assert!(matches!(mixed, Err(PkiError::NotAnAuthority(_))));
    let device = one.device(&"unit-1".parse().unwrap(), 1, now).unwrap();
    assert!(Authority::from_pem(&device.certificate_pem, &device.key_pem).is_err());
}

#[test]
fn a_server_has_names_that_a_client_can_match() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["ca"]).unwrap();
    for name in ["two words", "", "https://hub", "hub:4443", "*", "a.*.b"] {
        let refused = run(dir.path(), &["server", "--san", name]);
        assert!(matches!(refused, Err(PkiError::Host { .. })), "{name:?}");
    }
    for name in [
        "localhost",
        "hub.example.org",
        "*.example.org",
        "::1",
        "192.0.2.1",
    ] {
        run(dir.path(), &["--force", "server", "--san", name]).unwrap();
    }
}
