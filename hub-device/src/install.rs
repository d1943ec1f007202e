//! The update task: one offer from first byte to installed.
//!
//! Owns: everything is verified while it streams (size, SHA-256, signature, every resource), nothing is committed before
//! all of it is good, and the firmware must be the one the offer named. Dropping the task leaves the running firmware.

use hub_firmware::{Event, FirmwareError, Limits, PublicKey, StreamVerifier};
use tokio::sync::mpsc;

use crate::{
    download::{DownloadError, Downloader, Fetch},
    machine::{Stage, UpdateEvent},
    offer::Offer,
    updater::{Install, Updater, UpdaterError},
};

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
pub(crate) async fn run(job: Job, events: mpsc::Sender<UpdateEvent>) {
    let last = match install(&job, &events).await {
        Ok(()) => UpdateEvent::Installed,
        Err(error) => UpdateEvent::Failed { reason: crate::device::explain(&error) },
    };
    // A receiver that is gone cancelled the update.
    let _ = events.send(last).await;
}

async fn install(job: &Job, events: &mpsc::Sender<UpdateEvent>) -> Result<(), InstallError> {
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
            let _ = events.send(UpdateEvent::Started).await;
        }
        let now = percent_of(&fetch);
        if percent != Some(now) {
            percent = Some(now);
            // Merged by the machine and may be dropped: a full queue only means that one is on its way already.
            let _ = events.try_send(UpdateEvent::Progress { percent: now, stage: Stage::Downloading });
        }
    }
    let verified = verifier.finish()?;
    commit(place, &verified, events).await
}

/// Finishes, passing on what the updater says of its own progress.
async fn commit(
    place: Install,
    verified: &hub_firmware::Firmware,
    events: &mpsc::Sender<UpdateEvent>,
) -> Result<(), InstallError> {
    let progress = match &place {
        Install::Fwup(install) => Some(install.progress()),
        Install::Ab(_) | Install::Simulated(_) => None,
    };
    let finish = place.commit(verified);
    let Some(mut progress) = progress else { return Ok(finish.await?) };
    tokio::pin!(finish);
    loop {
        tokio::select! {
            result = &mut finish => return Ok(result?),
            Ok(()) = progress.changed() => {
                let percent = *progress.borrow_and_update();
                let _ = events.try_send(UpdateEvent::Progress { percent, stage: Stage::Updating });
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
            Err(InstallError::OtherFirmware { offered: offer.uuid.clone(), found: announced.uuid.to_string() })
        }
        Event::Authentic(_) | Event::ResourceStart(_) | Event::Data(_) | Event::ResourceEnd(_) => Ok(()),
    }
}

fn percent_of(fetch: &Fetch) -> u8 {
    let percent = fetch.size().filter(|size| *size > 0).map_or(0, |size| fetch.offset().saturating_mul(100) / size);
    u8::try_from(percent.min(100)).unwrap_or(100)
}
