//! Files that must not pass, each refused for its own reason.

use super::*;
use crate::fixture::{META, Raw, declare, entries, zip};
use crate::keys::SigningKey;
use crate::verify::verify;

const IMAGE: &[u8] = b"the image of a root file system, long enough to be cut somewhere";

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

fn good() -> Vec<Raw> {
    entries(&key(), META, &[("a", IMAGE), ("b", b"second")])
}

fn refusal(bytes: &[u8]) -> FirmwareError {
    verify(bytes, &[key().public_key()], &Limits::default()).expect_err("a bad file was accepted")
}

/// Pushes everything and counts the resource bytes handed out before the refusal.
fn leaked(bytes: &[u8], keys: &[PublicKey]) -> (usize, FirmwareError) {
    let mut verifier = StreamVerifier::new(keys, Limits::default()).unwrap();
    let mut leaked = 0;
    for piece in bytes.chunks(11) {
        for event in verifier.push(piece) {
            match event {
                Ok(Event::Data(data)) => leaked += data.len(),
                Ok(Event::Authentic(_) | Event::ResourceStart(_) | Event::ResourceEnd(_)) => {}
                Err(fault) => return (leaked, fault),
            }
        }
    }
    (
        leaked,
        verifier.finish().expect_err("a bad file was accepted"),
    )
}

#[test]
fn unsigned_firmware_is_refused_before_any_resource() {
    let (leaked, fault) = leaked(&zip(&good()[1..]), &[key().public_key()]);
    assert!(matches!(fault, FirmwareError::Unsigned));
    assert_eq!(leaked, 0);
}

#[test]
fn foreign_key_is_refused_before_any_resource() {
    let strangers = [
        SigningKey::generate().public_key(),
        SigningKey::generate().public_key(),
    ];
    let (leaked_bytes, fault) = leaked(&zip(&good()), &strangers);
    assert!(matches!(fault, FirmwareError::ForeignKey { tried: 2 }));
    assert_eq!(leaked_bytes, 0);
    assert!(matches!(
        leaked(&zip(&good()), &[]).1,
        FirmwareError::ForeignKey { tried: 0 }
    ));
}

#[test]
fn signature_of_other_metadata_is_refused() {
    let mut swapped = good();
    swapped[1].content.extend_from_slice(b"# harmless\n");
    assert!(matches!(
        refusal(&zip(&swapped)),
        FirmwareError::ForeignKey { .. }
    ));
    let mut short = good();
    short[0].content.pop();
    assert!(matches!(
        refusal(&zip(&short)),
        FirmwareError::SignatureSize
    ));
    let mut long = good();
    long[0].content.push(0);
    assert!(matches!(refusal(&zip(&long)), FirmwareError::SignatureSize));
}

#[test]
fn too_many_keys_are_not_tried() {
    let keys = vec![key().public_key(); KEYS_MAX + 1];
    assert!(matches!(
        verify(&zip(&good())[..], &keys, &Limits::default()),
        Err(FirmwareError::TooManyKeys { .. })
    ));
}

#[test]
fn zip_slip_is_refused() {
    for name in [
        "../../etc/passwd",
        "/etc/passwd",
        "data/../../x",
        "data\\..\\x",
        "c:x",
        "data/",
        "",
    ] {
        let mut slip = good();
        slip.push(Raw::new(name, b"x"));
        assert!(
            matches!(refusal(&zip(&slip)), FirmwareError::UnsafePath { .. }),
            "{name}"
        );
    }
    let slip = entries(&key(), META, &[("../../etc/passwd", b"x")]);
    assert!(
        matches!(refusal(&zip(&slip)), FirmwareError::UnsafePath { .. }),
        "declared and signed"
    );
    let mut link = good();
    link[2].mode = 0o120_777;
    assert!(matches!(
        refusal(&zip(&link)),
        FirmwareError::Unsupported { .. }
    ));
}

#[test]
fn zip_bomb_is_refused() {
    let zeros = vec![0; 200_000];
    let bomb = zip(&entries(&key(), META, &[("a", &zeros)]));
    let keys = [key().public_key()];
    let low = Limits {
        ratio_max: 20,
        ratio_floor_bytes: 1000,
        ..Limits::default()
    };
    assert!(matches!(
        verify(&bomb[..], &keys, &low),
        Err(FirmwareError::Bomb { ratio: 20 })
    ));
    let small = Limits {
        unpacked_bytes_max: 100_000,
        ..Limits::default()
    };
    assert!(matches!(
        verify(&bomb[..], &keys, &small),
        Err(FirmwareError::TooLarge { .. })
    ));
    let tiny = Limits {
        container_bytes_max: 300,
        ..Limits::default()
    };
    assert!(matches!(
        verify(&bomb[..], &keys, &tiny),
        Err(FirmwareError::TooLarge { limit: 300, .. })
    ));
    verify(&bomb[..], &keys, &Limits::default()).expect("an image of zeros is no attack by itself");
}

#[test]
fn metadata_bomb_is_refused_while_inflating() {
    let mut bomb = good();
    bomb[1].content = vec![b'#'; META_BYTES_MAX + 1];
    bomb[0].content = key().sign(&bomb[1].content).to_vec();
    assert!(matches!(refusal(&zip(&bomb)), FirmwareError::MetaSize));
    bomb[1].content = vec![b'#'; 50_000_000];
    assert!(matches!(refusal(&zip(&bomb)), FirmwareError::MetaSize));
}

#[test]
fn cut_archive_is_refused_at_every_byte() {
    let bytes = zip(&good());
    assert!(matches!(refusal(&[]), FirmwareError::NotFirmware));
    for end in 1..bytes.len() {
        let fault = refusal(&bytes[..end]);
        assert!(
            matches!(fault, FirmwareError::Truncated { size } if size == end as u64),
            "{end}: {fault}"
        );
    }
}

#[test]
fn duplicate_entries_are_refused() {
    for again in 0..3 {
        let mut twice = good();
        twice.push(twice[again].clone());
        assert!(matches!(
            refusal(&zip(&twice)),
            FirmwareError::Duplicate { .. }
        ));
    }
    let declared = entries(
        &key(),
        &format!("{META}{}", declare("a", IMAGE)),
        &[("a", IMAGE)],
    );
    assert!(matches!(
        refusal(&zip(&declared)),
        FirmwareError::Duplicate { .. }
    ));
}

#[test]
fn entries_out_of_order_are_refused() {
    let order = |order: [usize; 4]| refusal(&zip(&order.map(|index| good()[index].clone())));
    assert!(matches!(order([1, 0, 2, 3]), FirmwareError::Unsigned));
    assert!(matches!(
        order([2, 0, 1, 3]),
        FirmwareError::Order {
            expected: SIGNATURE_ENTRY,
            ..
        }
    ));
    assert!(matches!(
        order([0, 2, 1, 3]),
        FirmwareError::Order {
            expected: META_ENTRY,
            ..
        }
    ));
    assert!(matches!(
        refusal(&zip(&good()[..1])),
        FirmwareError::Order {
            expected: META_ENTRY,
            ..
        }
    ));
}

#[test]
fn missing_and_undeclared_resources_are_refused() {
    assert!(matches!(refusal(&zip(&good()[..3])), FirmwareError::Missing { name } if name == "b"));
    let mut more = good();
    more.push(Raw::new("data/c", b"x"));
    assert!(matches!(refusal(&zip(&more)), FirmwareError::Undeclared { name } if name == "data/c"));
}

#[test]
fn altered_resources_are_refused() {
    let mut altered = good();
    altered[2].content[5] ^= 1;
    assert!(matches!(refusal(&zip(&altered)), FirmwareError::Digest { name } if name == "a"));
    altered[2].content.pop();
    assert!(matches!(
        refusal(&zip(&altered)),
        FirmwareError::Length { expected: 64, .. }
    ));
    let mut longer = good();
    longer[2].content.push(0);
    assert!(matches!(
        refusal(&zip(&longer)),
        FirmwareError::Length { expected: 64, .. }
    ));
}

#[test]
fn archives_that_contradict_themselves_are_refused() {
    let mut listed = good();
    listed[2].listed_as = Some(b"data/z".to_vec());
    assert!(matches!(
        refusal(&zip(&listed)),
        FirmwareError::Damaged { .. }
    ));
    let mut size = good();
    size[2].size = Some(5);
    assert!(matches!(
        refusal(&zip(&size)),
        FirmwareError::Damaged { .. }
    ));
    let mut without_end = good();
    without_end[2] = without_end[2].clone().stored();
    without_end[2].size = Some(0);
    assert!(matches!(
        refusal(&zip(&without_end)),
        FirmwareError::Damaged { .. }
    ));
    let bytes = zip(&good());
    assert!(matches!(
        refusal(&[&bytes[..], b"x"].concat()),
        FirmwareError::Trailing
    ));
    assert!(matches!(
        refusal(&[b"x", &bytes[..]].concat()),
        FirmwareError::NotFirmware
    ));
    assert!(matches!(refusal(&zip(&[])), FirmwareError::NotFirmware));
    let mut comment = bytes.clone();
    let last = comment.len() - 2;
    comment[last] = 1;
    comment.push(b'x');
    assert!(matches!(
        refusal(&comment),
        FirmwareError::Unsupported { .. }
    ));
}

#[test]
fn encryption_and_huge_entries_are_refused() {
    for flags in [1, 1 << 6, 1 << 13, 1 << 5] {
        let mut odd = good();
        odd[2].flags = flags;
        assert!(matches!(
            refusal(&zip(&odd)),
            FirmwareError::Unsupported { .. }
        ));
    }
    let mut huge = good();
    huge[2].size = Some(u32::MAX);
    assert!(matches!(
        refusal(&zip(&huge)),
        FirmwareError::Unsupported { .. }
    ));
}

#[test]
fn a_check_that_was_broken_off_never_passes() {
    let bytes = zip(&good());
    let mut verifier = StreamVerifier::new(&[key().public_key()], Limits::default()).unwrap();
    verifier.push(&bytes).next().unwrap().unwrap();
    assert!(!verifier.is_authentic());
    assert!(matches!(
        verifier.push(&bytes).next(),
        Some(Err(FirmwareError::Abandoned))
    ));
    assert!(matches!(verifier.finish(), Err(FirmwareError::Abandoned)));
}
