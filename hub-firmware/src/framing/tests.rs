//! Messages as fwup 1.16 sends them, cut anywhere, and junk.

use proptest::prelude::*;

use super::*;

fn frame(kind: &[u8], code: u16, text: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(HEAD_BYTES + text.len())
        .unwrap()
        .to_be_bytes()
        .to_vec();
    bytes.extend_from_slice(kind);
    bytes.extend_from_slice(&code.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

#[test]
fn a_progress_frame_has_these_bytes() {
    assert_eq!(frame(b"PR", 42, ""), [0, 0, 0, 4, b'P', b'R', 0, 42]);
    let mut decoder = Decoder::new();
    assert_eq!(
        decoder.push(&[0, 0, 0, 4, 0x50, 0x52, 0, 0x2a]).unwrap(),
        [Message::Progress(42)]
    );
    decoder.finish().unwrap();
}

#[test]
fn messages_are_the_same_however_they_are_cut() {
    let bytes = [
        frame(b"PR", 0, ""),
        frame(b"WN", 0, "slow disk\n"),
        frame(b"XX", 9, "new"),
        frame(b"PR", 100, ""),
        frame(b"OK", 0, ""),
        frame(b"ER", 0, "no such task"),
    ]
    .concat();
    let whole = Decoder::new().push(&bytes).unwrap();
    assert_eq!(whole.len(), 6);
    assert_eq!(
        whole[1],
        Message::Warning {
            code: 0,
            text: "slow disk".into()
        }
    );
    assert_eq!(whole[2], Message::Unknown(*b"XX"));
    assert_eq!(
        whole[5],
        Message::Failure {
            code: 0,
            text: "no such task".into()
        }
    );
    for size in 1..20 {
        let mut decoder = Decoder::new();
        let cut: Vec<_> = bytes
            .chunks(size)
            .flat_map(|piece| decoder.push(piece).unwrap())
            .collect();
        assert_eq!(cut, whole);
    }
}

#[test]
fn junk_is_an_error_and_stays_one() {
    for (junk, fault) in [
        (
            b"fwup: bad option".to_vec(),
            FramingError::Length { bytes: 0x6677_7570 },
        ),
        (vec![0, 0, 0, 3, 1, 2, 3], FramingError::Length { bytes: 3 }),
        (
            frame(b"PR", 101, ""),
            FramingError::Percent { percent: 101 },
        ),
    ] {
        let mut decoder = Decoder::new();
        let input = [frame(b"PR", 1, ""), junk].concat();
        assert_eq!(
            decoder.push(&input).unwrap(),
            [Message::Progress(1)],
            "good messages are not lost"
        );
        assert_eq!(decoder.push(&frame(b"OK", 0, "")).unwrap_err(), fault);
        assert_eq!(decoder.finish().unwrap_err(), fault);
    }
    let mut decoder = Decoder::new();
    decoder.push(&[0, 0]).unwrap();
    assert_eq!(decoder.finish().unwrap_err(), FramingError::Cut);
}

#[test]
fn chunks_never_end_the_stream_by_accident() {
    assert_eq!(frames(&[]).count(), 0);
    let big = vec![7; CHUNK_BYTES_MAX + 1];
    let heads: Vec<_> = frames(&big)
        .map(|(head, chunk)| (u32::from_be_bytes(head), chunk.len()))
        .collect();
    assert_eq!(heads, [(1 << 20, 1 << 20), (1, 1)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn decoding_is_total(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let mut decoder = Decoder::new();
        for piece in &pieces {
            let _ = decoder.push(piece);
            prop_assert!(decoder.held.len() <= UPDATER_MESSAGE_BYTES_MAX + 4);
        }
        let _ = decoder.finish();
    }
}
