//! Uploads that are taken, and uploads that leave nothing behind.

use std::convert::Infallible;
use std::fs;
use std::path::Path;

use futures_util::stream;
use hub_firmware::{Builder, SigningKey};

use super::*;

struct Desk {
    dir: tempfile::TempDir,
    blobs: Blobs,
    key: SigningKey,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_dir(dir.path()).unwrap();
        Self {
            dir,
            blobs,
            key: SigningKey::generate(),
        }
    }

    fn build(&self, content: &[u8]) -> Vec<u8> {
        Builder::new("acme", "1.0.0", "rpi4", "arm")
            .resource("image", content)
            .to_vec(&self.key)
            .unwrap()
    }

    async fn upload(&self, bytes: &[u8], limit: u64) -> Result<Intaken, IntakeError> {
        let pieces: Vec<_> = bytes
            .chunks(100)
            .map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)))
            .collect();
        intake(
            stream::iter(pieces),
            limit,
            &[self.key.public_key()],
            &self.blobs,
        )
        .await
    }

    fn files(&self) -> usize {
        files(self.dir.path())
    }
}

fn files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|path| if path.is_dir() { files(&path) } else { 1 })
        .sum()
}

const LIMIT: u64 = 1_000_000;

#[tokio::test]
async fn good_firmware_is_stored_whole() {
    let desk = Desk::new();
    let bytes = desk.build(&[7; 5000]);
    let intaken = desk.upload(&bytes, LIMIT).await.unwrap();
    assert_eq!(intaken.firmware.metadata.product, "acme");
    assert_eq!(
        (intaken.firmware.size, intaken.firmware.key),
        (bytes.len() as u64, 0)
    );
    let (_, size) = desk.blobs.open(intaken.blob.id()).await.unwrap().unwrap();
    assert_eq!(size, bytes.len() as u64);
    assert_eq!(desk.files(), 1);
    let again = desk.upload(&bytes, LIMIT).await.unwrap();
    assert_eq!(again.blob.id(), intaken.blob.id());
    assert_eq!(desk.files(), 1, "the same content is one file");
}

#[tokio::test]
async fn refused_firmware_leaves_nothing_behind() {
    let desk = Desk::new();
    let mut bytes = desk.build(&[7; 5000]);
    let foreign = Builder::new("acme", "1", "x", "y")
        .to_vec(&SigningKey::generate())
        .unwrap();
    let refused = |result: Result<Intaken, IntakeError>| match result {
        Err(IntakeError::Refused(fault)) => fault,
        other => panic!("{other:?}"),
    };
    assert!(matches!(
        refused(desk.upload(&foreign, LIMIT).await),
        FirmwareError::ForeignKey { .. }
    ));
    assert!(matches!(
        refused(desk.upload(b"", LIMIT).await),
        FirmwareError::NotFirmware
    ));
    assert!(matches!(
        refused(desk.upload(&bytes[..bytes.len() - 1], LIMIT).await),
        FirmwareError::Truncated { .. }
    ));
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    refused(desk.upload(&bytes, LIMIT).await);
    assert_eq!(desk.files(), 0);
}

#[tokio::test]
async fn the_size_limit_holds_to_the_byte() {
    let desk = Desk::new();
    let bytes = desk.build(&[7; 5000]);
    let size = bytes.len() as u64;
    assert!(matches!(
        desk.upload(&bytes, size - 1).await,
        Err(IntakeError::TooLarge { .. })
    ));
    assert_eq!(desk.files(), 0);
    desk.upload(&bytes, size).await.unwrap();
}

#[tokio::test]
async fn a_bad_signature_ends_an_endless_upload() {
    let desk = Desk::new();
    let foreign = Builder::new("acme", "1", "x", "y")
        .to_vec(&SigningKey::generate())
        .unwrap();
    let endless = stream::repeat(Ok::<_, Infallible>(Bytes::from(foreign)));
    let result = intake(endless, u64::MAX, &[desk.key.public_key()], &desk.blobs).await;
    assert!(matches!(result, Err(IntakeError::Refused(_))));
    assert_eq!(desk.files(), 0);
}

#[tokio::test]
async fn a_broken_connection_leaves_nothing_behind() {
    let desk = Desk::new();
    let bytes = Bytes::from(desk.build(&[7; 5000]));
    let broken = stream::iter([Ok(bytes.slice(..200)), Err(io::Error::other("reset"))]);
    let result = intake(broken, LIMIT, &[desk.key.public_key()], &desk.blobs).await;
    assert!(matches!(result, Err(IntakeError::Broken(_))));
    assert_eq!(desk.files(), 0);
}

#[tokio::test]
async fn a_silent_client_is_cut() {
    let desk = Desk::new();
    let silent = stream::pending::<Result<Bytes, Infallible>>();
    let keys = [desk.key.public_key()];
    let result = intake_within(silent, LIMIT, Duration::from_millis(10), &keys, &desk.blobs).await;
    assert!(matches!(result, Err(IntakeError::Stalled)));
    assert_eq!(desk.files(), 0);
}

#[tokio::test]
async fn a_dropped_upload_leaves_nothing_behind() {
    let desk = Desk::new();
    let bytes = Bytes::from(desk.build(&[7; 5000]));
    let (taken, seen) = tokio::sync::oneshot::channel();
    let first = stream::once(async { Ok::<_, Infallible>(bytes.slice(..200)) });
    let then = stream::once(async {
        let _ = taken.send(());
        std::future::pending().await
    });
    let (keys, blobs) = ([desk.key.public_key()], desk.blobs.clone());
    tokio::select! {
        result = intake(first.chain(then), LIMIT, &keys, &blobs) => panic!("{result:?}"),
        _ = seen => {}
    }
    // The blocking half notices on its own thread; its slot being free again does not tell that, the folder does.
    while desk.files() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn uploads_beyond_the_bound_are_turned_away() {
    let desk = Desk::new();
    let slots: Vec<_> = std::iter::from_fn(|| desk.blobs.upload_slot()).collect();
    assert!(matches!(
        desk.upload(b"", LIMIT).await,
        Err(IntakeError::Busy)
    ));
    drop(slots);
    assert!(matches!(
        desk.upload(b"", LIMIT).await,
        Err(IntakeError::Refused(_))
    ));
}
