//! The text of `meta.conf` as fwup writes it, and as it should not be.

use proptest::prelude::*;

use super::*;

const GOOD: &str = r#"meta-product="acme-sensor"
meta-description="A \"fine\" sensor"
meta-version=1.0.0
# meta-author=""
meta-platform=rpi4
meta-architecture=arm
meta-vcs-identifier="deadbeef/main"
meta-creation-date="2026-01-02T03:04:05Z"
require-fwup-version="1.0.0"
file-resource "rootfs.img" {
  length=5
  blake2b-256="000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
}
file-resource "holes.img" {
  length = {3, 100, 4}
  blake2b-256=ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
}
task "complete" {
  on-resource "rootfs.img" {
    funlist = {"2", "raw_write", "0"}
  }
}
"#;

fn read(text: &str) -> Result<(Metadata, Vec<Resource>), FirmwareError> {
    parse(text.as_bytes(), &Limits::default())
}

#[test]
fn quoted_and_bare_values_are_read() {
    let (metadata, resources) = read(GOOD).unwrap();
    assert_eq!(
        (metadata.product.as_str(), metadata.version.as_str()),
        ("acme-sensor", "1.0.0")
    );
    assert_eq!(metadata.description.as_deref(), Some("A \"fine\" sensor"));
    assert_eq!(metadata.author, None);
    assert_eq!(metadata.vcs.as_deref(), Some("deadbeef/main"));
    assert_eq!(metadata.extra["creation-date"], "2026-01-02T03:04:05Z");
    assert_eq!(metadata.fwup_version.as_deref(), Some("1.0.0"));
    assert_eq!(
        (resources[0].length, resources[0].length_with_holes),
        (5, 5)
    );
    assert_eq!(resources[0].blake2b_256[..3], [0, 1, 2]);
    assert_eq!(
        (resources[1].length, resources[1].length_with_holes),
        (7, 107)
    );
}

#[test]
fn uuid_has_version_five_and_depends_on_every_byte() {
    let uuid = firmware_uuid(GOOD.as_bytes());
    assert_eq!(uuid.get_version_num(), 5);
    assert_ne!(uuid, firmware_uuid(&GOOD.as_bytes()[1..]));
}

#[test]
fn faults_are_named_with_their_line() {
    let base = "meta-product=a\nmeta-version=1\nmeta-platform=p\nmeta-architecture=x\n";
    for (more, line, word) in [
        ("meta-product=b\n", 5, "twice"),
        ("a {\n", 6, "not closed"),
        ("a = \"x\n", 6, "quote"),
        ("}\n", 5, "name"),
        ("a = {1 2}\n", 5, "list"),
        ("a b c\n", 5, "title"),
        ("a =\n", 6, "value"),
        ("file-resource x {\nlength=5\n}\n", 5, "blake2b-256"),
        ("file-resource x {\nlength=-5\n}\n", 5, "length"),
        (
            "file-resource x {\nlength={18446744073709551615, 1}\n}\n",
            5,
            "length",
        ),
        ("file-resource {\n}\n", 5, "no name"),
        ("meta-misc=\"a\u{7}\"\n", 5, "control"),
    ] {
        let Err(FirmwareError::Meta(fault)) = read(&format!("{base}{more}")) else {
            panic!("{more:?} was accepted")
        };
        assert!(fault.what.contains(word), "{more:?}: {fault}");
        assert_eq!(fault.line, line, "{more:?}: {fault}");
    }
    assert!(
        matches!(read("meta-product=a"), Err(FirmwareError::Meta(fault)) if fault.what.contains("meta-version"))
    );
}

#[test]
fn sizes_depth_and_names_are_bounded() {
    assert!(matches!(read("a=1"), Err(FirmwareError::MetaSize)));
    assert!(matches!(
        read(&"#".repeat(META_BYTES_MAX + 1)),
        Err(FirmwareError::MetaSize)
    ));
    assert!(matches!(
        read(&"a {".repeat(2000)),
        Err(FirmwareError::Meta(_))
    ));
    let resource = |name: &str| {
        format!(
            "{GOOD}file-resource \"{name}\" {{\nblake2b-256={}\n}}\n",
            "0".repeat(64)
        )
    };
    assert!(matches!(
        read(&resource("../../etc/passwd")),
        Err(FirmwareError::UnsafePath { .. })
    ));
    assert!(matches!(
        read(&resource("//etc")),
        Err(FirmwareError::UnsafePath { .. })
    ));
    assert!(matches!(
        read(&resource("rootfs.img")),
        Err(FirmwareError::Duplicate { .. })
    ));
    assert!(read(&resource("/boot/zImage")).is_ok());
    let limits = Limits {
        resources_max: 1,
        ..Limits::default()
    };
    assert!(matches!(
        parse(GOOD.as_bytes(), &limits),
        Err(FirmwareError::TooLarge { .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn reading_ends_on_any_text(text in "[ -~\n]{0,400}|[a-z={}\",# \n\\\\]{0,400}") {
        let _ = text::parse(&text);
    }

    #[test]
    fn reading_ends_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes, &Limits::default());
    }
}
