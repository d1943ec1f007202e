//! Good files pass in every layout and every chunking; arbitrary and mutated bytes end in an answer.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::builder::Builder;
use crate::fixture::{META, entries, zip};
use crate::keys::SigningKey;
use crate::verify::verify;

fn key() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

fn limits() -> Limits {
    Limits::default()
}

/// What the streaming verifier says and hands out when the file comes in pieces of the given sizes, in turn.
fn stream(mut bytes: &[u8], sizes: &[usize]) -> Result<(Firmware, Vec<Vec<u8>>), String> {
    let mut verifier = StreamVerifier::new(&[key().public_key()], limits()).unwrap();
    let mut contents: Vec<Vec<u8>> = Vec::new();
    let mut open = None;
    for size in sizes.iter().cycle() {
        let (now, later) = bytes.split_at((*size).min(bytes.len()));
        for event in verifier.push(now) {
            match event.map_err(|fault| fault.to_string())? {
                Event::Authentic(announced) => {
                    contents = vec![Vec::new(); announced.resources.len()]
                }
                Event::ResourceStart(index) => assert_eq!(open.replace(index), None),
                Event::Data(data) => contents[open.unwrap()].extend(data),
                Event::ResourceEnd(index) => assert_eq!(open.take(), Some(index)),
            }
        }
        bytes = later;
        if bytes.is_empty() {
            break;
        }
    }
    verifier
        .finish()
        .map(|firmware| (firmware, contents))
        .map_err(|fault| fault.to_string())
}

fn noise(bytes: usize) -> Vec<u8> {
    // A linear congruence is noise enough to defeat deflate.
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(bytes)
    .collect()
}

#[test]
fn the_layout_of_fwup_is_read() {
    let big = noise(100_000);
    let mut raw = entries(
        &key(),
        META,
        &[
            ("rootfs.img", &big),
            ("/boot/zImage", b"kernel"),
            ("empty", b""),
        ],
    );
    for (descriptor, deflate) in [(true, true), (true, false), (false, true), (false, false)] {
        for entry in &mut raw[2..] {
            (entry.descriptor, entry.deflate) = (descriptor, deflate);
        }
        let (firmware, contents) = stream(&zip(&raw), &[1000]).unwrap();
        assert_eq!(contents, [big.clone(), b"kernel".to_vec(), Vec::new()]);
        assert_eq!(firmware.metadata.product, "p");
        assert_eq!(firmware.uuid, meta::firmware_uuid(&raw[1].content));
    }
    raw.swap(2, 3);
    stream(&zip(&raw), &[1000]).expect("resources may come in any order");
}

#[test]
fn the_key_that_verified_is_named() {
    let bytes = Builder::new("p", "1", "x", "y")
        .resource("a", "content")
        .to_vec(&key())
        .unwrap();
    let keys = [SigningKey::generate().public_key(), key().public_key()];
    let firmware = verify(&bytes[..], &keys, &limits()).unwrap();
    assert_eq!((firmware.key, firmware.size), (1, bytes.len() as u64));
    assert_eq!(firmware.sha256[..], Sha256::digest(&bytes)[..]);
}

#[test]
fn the_same_build_gives_the_same_bytes_and_any_zip_reader_reads_them() {
    let builder = Builder::new("acme-sensor", "1.0.0", "rpi4", "arm")
        .misc("a \"b\" \\ c")
        .resource("a", noise(5000));
    let bytes = builder.to_vec(&key()).unwrap();
    assert_eq!(bytes, builder.to_vec(&key()).unwrap());
    let mut archive = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    let names: Vec<_> = (0..archive.len())
        .map(|index| {
            archive
                .by_index(index)
                .unwrap()
                .name()
                .unwrap()
                .into_owned()
        })
        .collect();
    assert_eq!(names, ["meta.conf.ed25519", "meta.conf", "data/a"]);
    let other = builder.to_vec(&SigningKey::generate()).unwrap();
    let uuid = |bytes: &[u8], key: PublicKey| {
        verify(bytes, &[key], &limits()).map(|firmware| firmware.uuid)
    };
    assert_eq!(
        uuid(&bytes, key().public_key()).unwrap(),
        builder.write(Cursor::new(Vec::new()), None).unwrap()
    );
    assert!(uuid(&other, key().public_key()).is_err());
}

#[test]
fn builds_that_could_not_be_read_are_not_written() {
    for bad in [
        Builder::new("", "1", "x", "y"),
        Builder::new("p", "1\u{1b}", "x", "y"),
        Builder::new("p", "1", "x", "y").resource("../a", "x"),
        Builder::new("p", "1", "x", "y")
            .resource("a", "x")
            .resource("a", "x"),
        Builder::new("p", "1", "x", "y").misc(&"m".repeat(60_000)),
    ] {
        assert!(bad.to_vec(&key()).is_err());
    }
}

#[test]
fn chunks_of_data_are_bounded() {
    let bytes = zip(&entries(&key(), META, &[("a", &vec![0; 1_000_000])]));
    let mut verifier = StreamVerifier::new(&[key().public_key()], limits()).unwrap();
    for event in verifier.push(&bytes) {
        if let Event::Data(data) = event.unwrap() {
            assert!(data.len() <= crate::limits::CHUNK_BYTES_MAX);
        }
    }
    verifier.finish().unwrap();
}

fn text() -> impl Strategy<Value = String> {
    "[ -~äß\n]{1,40}".prop_filter("empty values are left out", |text| !text.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_built_verifies_in_every_chunking(
        values in proptest::array::uniform6(text()),
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2000), 0..4),
        sizes in proptest::collection::vec(1_usize..700, 1..8),
    ) {
        let [product, version, platform, author, description, misc] = &values;
        let mut builder = Builder::new(product, version, platform, "arm").author(author).description(description).misc(misc);
        for (index, content) in contents.iter().enumerate() {
            builder = builder.resource(&format!("r {index}"), content.clone());
        }
        let bytes = builder.to_vec(&key()).unwrap();
        let whole = verify(&bytes[..], &[key().public_key()], &limits()).unwrap();
        let (streamed, read) = stream(&bytes, &sizes).unwrap();
        prop_assert_eq!(&whole, &streamed);
        prop_assert_eq!(read, contents);
        prop_assert_eq!(&whole.metadata.product, product);
        prop_assert_eq!(whole.metadata.misc.as_ref(), Some(misc));
    }

    #[test]
    fn any_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..600), marked: bool) {
        let bytes = if marked { [b"PK\x03\x04", &bytes[..]].concat() } else { bytes };
        prop_assert!(verify(&bytes[..], &[key().public_key()], &limits()).is_err());
    }

    #[test]
    fn mutated_files_get_the_same_answer_in_every_chunking(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        sizes in proptest::collection::vec(1_usize..300, 1..5),
        descriptor: bool,
    ) {
        let mut raw = entries(&key(), META, &[("a", &noise(700)), ("b", &[0; 5000])]);
        raw.iter_mut().for_each(|entry| entry.descriptor = descriptor);
        let good = zip(&raw);
        let mut bytes = good.clone();
        for (index, value) in &changes {
            let index = index.index(bytes.len());
            bytes[index] = *value;
        }
        let whole = verify(&bytes[..], &[key().public_key()], &limits()).map_err(|fault| fault.to_string());
        let streamed = stream(&bytes, &sizes);
        prop_assert_eq!(whole.clone(), streamed.clone().map(|(firmware, _)| firmware));
        // Whatever still passes carries exactly what was signed.
        if let Ok((_, contents)) = streamed {
            prop_assert_eq!(contents, [noise(700), vec![0; 5000]]);
        }
    }
}
