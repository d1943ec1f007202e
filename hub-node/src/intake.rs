//! Takes a firmware upload: writes it to disk and verifies it while it arrives.
//!
//! Owns no rule about firmware (`hub-firmware` does) and none about rows (the store does). A file that is refused,
//! too large, stalled or broken off leaves nothing behind, also when the caller's future is dropped: the blocking
//! half then sees its channel close without an end mark and throws the draft away.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hub_core::limits::{UPLOAD_IDLE_MAX, UPLOAD_QUEUED_CHUNKS_MAX};
use hub_firmware::{Firmware, FirmwareError, Limits, PublicKey, StreamVerifier};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::blobs::{BlobId, Blobs, HeldBlob};

#[cfg(test)]
mod tests;

/// A verified upload, on disk. Write its row while holding it, or discard the blob.
#[derive(Debug)]
pub(crate) struct Intaken {
    /// What the upload turned out to be.
    pub(crate) firmware: Firmware,
    /// Its file.
    pub(crate) blob: HeldBlob,
}

/// Why an upload was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    /// The content is not acceptable firmware.
    #[error("the upload is refused")]
    Refused(#[source] FirmwareError),
    /// More bytes than allowed.
    #[error("the upload has more than {limit} bytes; make it smaller or raise the limit")]
    TooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// The client stopped sending without closing.
    #[error("no more bytes came; upload it again")]
    Stalled,
    /// As many uploads as allowed are running.
    #[error("too many uploads are running; try again later")]
    Busy,
    /// The client's connection failed.
    #[error("the upload was broken off")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// The disk failed or is full.
    #[error("the upload cannot be stored")]
    Storage(#[source] io::Error),
}

/// What the async half tells the blocking half.
enum Piece {
    Bytes(Bytes),
    /// The upload is complete; a channel that closes without it means that it is not.
    End,
}

/// Takes an upload of at most `limit` bytes, signed by one of `keys`.
pub(crate) async fn intake<S, E>(
    stream: S,
    limit: u64,
    keys: &[PublicKey],
    blobs: &Blobs,
) -> Result<Intaken, IntakeError>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    intake_within(stream, limit, UPLOAD_IDLE_MAX, keys, blobs).await
}

async fn intake_within<S, E>(
    stream: S,
    limit: u64,
    idle_max: Duration,
    keys: &[PublicKey],
    blobs: &Blobs,
) -> Result<Intaken, IntakeError>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let _slot = blobs.upload_slot().ok_or(IntakeError::Busy)?;
    // The byte limit is enforced here; the verifier's own must not be the smaller one.
    let limits = Limits {
        container_bytes_max: limit,
        ..Limits::default()
    };
    let verifier = StreamVerifier::new(keys, limits).map_err(IntakeError::Refused)?;
    let (pieces, queue) = mpsc::channel(UPLOAD_QUEUED_CHUNKS_MAX);
    let blobs = blobs.clone();
    let mut verdict = tokio::task::spawn_blocking(move || take(queue, verifier, &blobs));
    let fed = tokio::select! {
        biased;
        // The verdict comes before the end only when it is bad: the rest need not be sent.
        early = &mut verdict => return flatten(early),
        fed = feed(stream, limit, idle_max, pieces) => fed,
    };
    // On an error the sender is gone, so the blocking half ends too; its opinion no longer matters, but wait for
    // it, so that the draft is gone when the client reads the answer.
    let verdict = verdict.await;
    fed?;
    flatten(verdict)
}

async fn feed<S, E>(
    stream: S,
    limit: u64,
    idle_max: Duration,
    pieces: mpsc::Sender<Piece>,
) -> Result<(), IntakeError>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let mut stream = std::pin::pin!(stream);
    let mut size = 0_u64;
    while let Some(bytes) = timeout(idle_max, stream.next())
        .await
        .map_err(|_| IntakeError::Stalled)?
    {
        let bytes = bytes.map_err(|error| IntakeError::Broken(error.into()))?;
        size = size.saturating_add(bytes.len() as u64);
        if size > limit {
            return Err(IntakeError::TooLarge { limit });
        }
        if pieces.send(Piece::Bytes(bytes)).await.is_err() {
            // The blocking half has its verdict already.
            return Ok(());
        }
    }
    // Nobody listening is the same case as above.
    let _ = pieces.send(Piece::End).await;
    Ok(())
}

/// The blocking half. `None` when the upload was not completed.
fn take(
    mut queue: mpsc::Receiver<Piece>,
    mut verifier: StreamVerifier,
    blobs: &Blobs,
) -> Result<Option<Intaken>, IntakeError> {
    let mut draft = blobs.draft().map_err(IntakeError::Storage)?;
    loop {
        match queue.blocking_recv() {
            Some(Piece::Bytes(bytes)) => {
                for event in verifier.push(&bytes) {
                    event.map_err(IntakeError::Refused)?;
                }
                draft.write(&bytes).map_err(IntakeError::Storage)?;
            }
            Some(Piece::End) => {
                let firmware = verifier.finish().map_err(IntakeError::Refused)?;
                let blob = draft
                    .keep(BlobId(firmware.sha256))
                    .map_err(IntakeError::Storage)?;
                return Ok(Some(Intaken { firmware, blob }));
            }
            None => return Ok(None),
        }
    }
}

fn flatten(
    verdict: Result<Result<Option<Intaken>, IntakeError>, tokio::task::JoinError>,
) -> Result<Intaken, IntakeError> {
    match verdict {
        Ok(Ok(Some(intaken))) => Ok(intaken),
        Ok(Ok(None)) => Err(IntakeError::Broken(
            "the upload ended without its end".into(),
        )),
        Ok(Err(error)) => Err(error),
        Err(error) => Err(IntakeError::Storage(io::Error::other(error))),
    }
}
