//! Links that are honoured, and links that were bent.

use proptest::prelude::*;

use super::*;

const START: Duration = Duration::from_secs(1_800_000_000);

fn signer() -> LinkSigner {
    LinkSigner::new(
        SigningSecret::from_bytes([5; 32]),
        "https://hub.example:4433/",
    )
}

fn grant() -> Grant {
    Grant {
        org: OrgId(3),
        device: DeviceId(12),
        uuid: Uuid::from_bytes([0xa5; 16]),
    }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + START + Duration::from_secs(seconds)
}

fn check(signer: &LinkSigner, link: &str, now: SystemTime) -> Result<Grant, LinkError> {
    let link = link.strip_prefix("https://hub.example:4433").unwrap();
    let (path, query) = link
        .split_once('?')
        .map_or((link, None), |(path, query)| (path, Some(query)));
    signer.check(path, query, now)
}

#[test]
fn a_link_is_good_until_it_expires() {
    let link = signer().sign(&grant(), at(0));
    assert!(
        link.starts_with("https://hub.example:4433/firmware/a5a5a5a5-"),
        "{link}"
    );
    let ttl = DOWNLOAD_URL_TTL.as_secs();
    assert!(ttl <= 900);
    assert_eq!(check(&signer(), &link, at(0)), Ok(grant()));
    assert_eq!(
        check(&signer(), &link, at(ttl - 1)),
        Ok(grant()),
        "used again"
    );
    assert_eq!(check(&signer(), &link, at(ttl)), Err(LinkError::Expired));
    // Another node's clock may be a little behind, but a link from far in the future is nobody's.
    let behind = UNIX_EPOCH + START - DOWNLOAD_CLOCK_SKEW_MAX;
    assert_eq!(check(&signer(), &link, behind), Ok(grant()));
    assert_eq!(
        check(&signer(), &link, behind - Duration::from_secs(1)),
        Err(LinkError::Expired)
    );
}

#[test]
fn every_part_is_bound() {
    let link = signer().sign(&grant(), at(0));
    for (part, other) in [
        ("org=3", "org=4"),
        ("device=12", "device=13"),
        ("a5a5a5a5-", "a5a5a5a6-"),
        ("expires=1", "expires=2"),
        ("sig=", "sig=A"),
        ("org=3", "org=3&org=3"),
        ("&device=12", ""),
        ("&sig", "&gis"),
        ("expires=", "expires=-"),
    ] {
        assert!(link.contains(part));
        assert_eq!(
            check(&signer(), &link.replacen(part, other, 1), at(0)),
            Err(LinkError::Forged),
            "{part} {other}"
        );
    }
    let stranger = LinkSigner::new(
        SigningSecret::from_bytes([6; 32]),
        "https://hub.example:4433",
    );
    assert_eq!(check(&stranger, &link, at(0)), Err(LinkError::Forged));
}

#[test]
fn other_paths_are_no_links() {
    for path in [
        "/",
        "/firmware",
        "/firmware/",
        "/firmware/x",
        "/firmware/../etc",
        "/Firmware/a5a5a5a5-a5a5-a5a5-a5a5-a5a5a5a5a5a5",
    ] {
        assert_eq!(
            signer().check(path, None, at(0)),
            Err(LinkError::NotALink),
            "{path}"
        );
    }
}

#[test]
fn the_secret_is_made_once_and_kept_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("download.secret");
    let first = SigningSecret::load_or_create(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(first.0, SigningSecret::load_or_create(&path).unwrap().0);
    assert_ne!(
        first.0,
        SigningSecret::load_or_create(&dir.path().join("other"))
            .unwrap()
            .0
    );
    assert_eq!(format!("{first:?}"), "SigningSecret(..)");

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(
        SigningSecret::load_or_create(&path),
        Err(SecretError::Exposed)
    ));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, [1; 33]).unwrap();
    assert!(matches!(
        SigningSecret::load_or_create(&path),
        Err(SecretError::Damaged)
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_request_gets_an_answer(path in ".{0,60}|/firmware/.{0,40}", query in proptest::option::of(".{0,120}")) {
        prop_assert!(signer().check(&path, query.as_deref(), at(0)).is_err());
    }
}
