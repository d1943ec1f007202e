//! The update task: one offer from first byte to installed.
//!
//! Owns: everything is verified while it streams (size, SHA-256, signature, every resource), nothing is committed before
//! all of it is good, and the firmware must be the one the offer named. Dropping the task leaves the running firmware.

use std::path::Path;

use bytes::Bytes;
use hub_firmware::{Event, FirmwareError, Limits, PublicKey, StreamVerifier};
use tokio::{fs::File, io::AsyncReadExt as _};

use crate::{
    device::{UpdateSender, explain},
    download::{DownloadError, Downloader, Fetch},
    firmware::Firmware,
    machine::{Stage, UpdateEvent},
    offer::Offer,
    updater::{Install, Updater, UpdaterError, describe},
};

const FILE_CHUNK_BYTES: usize = 64 * 1024;

/// Why an update failed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The file could not be had.
    #[error("download failed")]
    Download(#[from] DownloadError),
    /// The file is not good.
    #[error("firmware refused")]
    Firmware(#[from] FirmwareError),
    /// It is good and could not be installed.
    #[error("installation failed")]
    Updater(#[from] UpdaterError),
    /// It is signed and good, and not what was offered.
    #[error("the file holds firmware {found}, the offer named {offered}")]
    OtherFirmware {
        /// Uuid of the offer.
        offered: String,
        /// Uuid of the file.
        found: String,
    },
}

/// What the update task needs.
pub(crate) struct Job {
    pub(crate) offer: Offer,
    pub(crate) downloader: Downloader,
    pub(crate) updater: Updater,
    pub(crate) public_keys: Vec<PublicKey>,
    pub(crate) seed: u64,
}

/// Runs one update and says how it went; ends early when nobody listens.
pub(crate) async fn run(job: Job, events: UpdateSender) {
    let last = match install(&job, &events).await {
        Ok(()) => UpdateEvent::Installed,
        Err(error) => UpdateEvent::Failed {
            reason: explain(&error),
        },
    };
    events.send(last).await;
}

async fn install(job: &Job, events: &UpdateSender) -> Result<(), InstallError> {
    let mut fetch = job.downloader.fetch(&job.offer, job.seed)?;
    let mut verifier = StreamVerifier::new(&job.public_keys, Limits::default())?;
    let mut place = job.updater.begin().await?;
    let mut percent = None;
    while let Some(chunk) = fetch.next().await? {
        for event in verifier.push(&chunk) {
            let event = event?;
            check_offered(&event, &job.offer)?;
            place.event(&event).await?;
        }
        place.raw(&chunk).await?;
        if percent.is_none() {
            events.send(UpdateEvent::Started).await;
        }
        let now = percent_of(&fetch);
        if percent != Some(now) {
            percent = Some(now);
            events.progress(now, Stage::Downloading);
        }
    }
    let verified = verifier.finish()?;
    commit(place, &verified, events).await
}

/// Installs a file from disk, as a factory does with the first firmware. It runs at the next start.
///
/// # Errors
/// When the file cannot be read, is not signed by one of the keys, or cannot be installed.
pub async fn install_file(
    file: &Path,
    updater: &Updater,
    keys: &[PublicKey],
) -> Result<Firmware, InstallError> {
    let mut file = File::open(file).await.map_err(FirmwareError::Read)?;
    let mut verifier = StreamVerifier::new(keys, Limits::default())?;
    let mut place = updater.begin().await?;
    let mut buffer = vec![0; FILE_CHUNK_BYTES];
    loop {
        let count = file.read(&mut buffer).await.map_err(FirmwareError::Read)?;
        let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        for event in verifier.push(chunk) {
            place.event(&event?).await?;
        }
        place.raw(&Bytes::copy_from_slice(chunk)).await?;
    }
    let verified = verifier.finish()?;
    place.commit(&verified).await?;
    Ok(describe(&verified))
}

/// Finishes, passing on what the updater says of its own progress.
async fn commit(
    place: Install,
    verified: &hub_firmware::Firmware,
    events: &UpdateSender,
) -> Result<(), InstallError> {
    let progress = match &place {
        Install::Fwup(install) => Some(install.progress()),
        Install::Ab(_) | Install::Simulated(_) => None,
    };
    let finish = place.commit(verified);
    let Some(mut progress) = progress else {
        return Ok(finish.await?);
    };
    tokio::pin!(finish);
    loop {
        tokio::select! {
            result = &mut finish => return Ok(result?),
            Ok(()) = progress.changed() => {
                let percent = *progress.borrow_and_update();
                events.progress(percent, Stage::Updating);
            }
            // The program closed its output: only its end is left to wait for.
            else => return Ok(finish.await?),
        }
    }
}

/// Refuses a file as soon as its signed part shows that it is not what was offered.
fn check_offered(event: &Event, offer: &Offer) -> Result<(), InstallError> {
    match event {
        Event::Authentic(announced) if announced.uuid.to_string() != offer.uuid => {
            Err(InstallError::OtherFirmware {
                offered: offer.uuid.clone(),
                found: announced.uuid.to_string(),
            })
        }
        Event::Authentic(_) | Event::ResourceStart(_) | Event::Data(_) | Event::ResourceEnd(_) => {
            Ok(())
        }
    }
}

fn percent_of(fetch: &Fetch) -> u8 {
    let percent = fetch
        .size()
        .filter(|size| *size > 0)
        .map_or(0, |size| fetch.offset().saturating_mul(100) / size);
    u8::try_from(percent.min(100)).unwrap_or(100)
}
