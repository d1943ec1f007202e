//! Files appear complete or not at all, and are not deleted from under an upload.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn blobs() -> (tempfile::TempDir, Blobs) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_dir(dir.path()).unwrap();
    (dir, blobs)
}

fn keep(blobs: &Blobs, id: BlobId) -> HeldBlob {
    let mut draft = blobs.draft().unwrap();
    draft.write(b"con").unwrap();
    draft.write(b"tent").unwrap();
    draft.keep(id).unwrap()
}

fn files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|path| if path.is_dir() { files(&path) } else { 1 })
        .sum()
}

const ID: BlobId = BlobId([0xab; 32]);

#[tokio::test]
async fn a_kept_file_is_found_and_deleted() {
    let (dir, blobs) = blobs();
    assert!(blobs.open(ID).await.unwrap().is_none());
    drop(keep(&blobs, ID));
    assert_eq!(blobs.open(ID).await.unwrap().unwrap().1, 7);
    assert_eq!(
        fs::metadata(dir.path().join(FOLDER))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        FOLDER_MODE
    );
    assert!(blobs.delete(ID).await.unwrap());
    assert!(
        blobs.delete(ID).await.unwrap(),
        "deleting twice is the same as once"
    );
    assert_eq!(files(dir.path()), 0);
}

#[tokio::test]
async fn drafts_leave_nothing_behind() {
    let (dir, blobs) = blobs();
    let mut draft = blobs.draft().unwrap();
    draft.write(b"half").unwrap();
    assert_eq!(files(dir.path()), 1);
    drop(draft);
    assert_eq!(files(dir.path()), 0);
    let left = dir.path().join(DRAFTS).join("left by a crash");
    fs::write(&left, "x").unwrap();
    Blobs::open_dir(dir.path()).unwrap();
    // another node may be writing it
    assert_eq!(files(dir.path()), 1);
    let long_ago = std::time::SystemTime::now() - 2 * API_UPLOAD_MAX;
    File::options()
        .write(true)
        .open(&left)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    Blobs::open_dir(dir.path()).unwrap();
    assert_eq!(files(dir.path()), 0);
}

#[tokio::test]
async fn a_held_file_is_not_deleted() {
    let (_dir, blobs) = blobs();
    let held = keep(&blobs, ID);
    assert!(!blobs.delete(ID).await.unwrap());
    drop(held);
    assert!(blobs.delete(ID).await.unwrap());
    assert!(blobs.open(ID).await.unwrap().is_none());
}

#[tokio::test]
async fn a_file_is_taken_back_only_by_the_one_who_brought_it() {
    let (_dir, blobs) = blobs();
    keep(&blobs, ID).discard().await.unwrap();
    assert!(blobs.open(ID).await.unwrap().is_none());

    drop(keep(&blobs, ID));
    keep(&blobs, ID).discard().await.unwrap();
    assert!(
        blobs.open(ID).await.unwrap().is_some(),
        "it was there before"
    );

    blobs.delete(ID).await.unwrap();
    let first = keep(&blobs, ID);
    drop(keep(&blobs, ID));
    first.discard().await.unwrap();
    assert!(
        blobs.open(ID).await.unwrap().is_some(),
        "a second upload counts on it"
    );
    assert!(blobs.holds().is_empty());
}

#[test]
fn uploads_at_the_same_time_are_bounded() {
    let (_dir, blobs) = blobs();
    let slots: Vec<_> = std::iter::from_fn(|| blobs.upload_slot()).collect();
    assert_eq!(slots.len(), UPLOADS_MAX);
    drop(slots);
    assert!(blobs.upload_slot().is_some());
}
