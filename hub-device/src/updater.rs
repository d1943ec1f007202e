//! What takes a verified stream and makes it the firmware of the next start.
//!
//! Owns the order of an installation: events while the signature is good, raw bytes beside them, and `commit` only after
//! the whole file was verified. Three kinds: [`ab`] keeps two directories, [`fwup`] feeds the program that writes a real
//! device, and [`simulated`] keeps the metadata only.

pub mod ab;
pub mod fwup;
pub mod simulated;

use std::{io, path::PathBuf};

use bytes::Bytes;
use hub_firmware::{Announced, Event, Firmware as Verified};

use crate::firmware::Firmware;
use ab::{AbInstall, AbUpdater};
use fwup::{FwupInstall, FwupUpdater};
use simulated::SimulatedUpdater;

/// Why an installation failed.
#[derive(Debug, thiserror::Error)]
pub enum UpdaterError {
    /// The disk refused.
    #[error("cannot {action} {}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the device's own state cannot be understood.
    #[error("cannot understand {}", path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The firmware holds more resources than a slot takes.
    #[error("the firmware holds more resources than a slot takes")]
    TooManyResources,
    /// The program that writes the device cannot be started.
    #[error("cannot start {program}")]
    Start {
        /// Program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The program reported an error.
    #[error("fwup: {text}")]
    Refused {
        /// Its words.
        text: String,
    },
    /// The program ended, or stopped taking bytes, without a word.
    #[error("fwup {what}")]
    Broken {
        /// What happened.
        what: &'static str,
    },
}

/// The updater of a device.
#[derive(Debug, Clone)]
pub enum Updater {
    /// Two directories and a marker.
    Ab(AbUpdater),
    /// The `fwup` program.
    Fwup(FwupUpdater),
    /// Metadata in memory.
    Simulated(SimulatedUpdater),
}

/// An installation in progress. Dropping it leaves the running firmware as it was.
pub enum Install {
    /// Into the slot that is not active.
    Ab(AbInstall),
    /// Into a program's input.
    Fwup(Box<FwupInstall>),
    /// Nowhere.
    Simulated(SimulatedUpdater),
}

impl Updater {
    /// The firmware that runs, read anew as a start would.
    ///
    /// # Errors
    /// When the state on disk cannot be read.
    pub async fn running(&self) -> Result<Option<Firmware>, UpdaterError> {
        match self {
            Self::Ab(updater) => updater.running().await,
            Self::Fwup(updater) => updater.running().await,
            Self::Simulated(updater) => Ok(updater.running()),
        }
    }

    /// Starts an installation.
    ///
    /// # Errors
    /// When the place cannot be prepared or the program cannot be started.
    pub async fn begin(&self) -> Result<Install, UpdaterError> {
        Ok(match self {
            Self::Ab(updater) => Install::Ab(updater.begin().await?),
            Self::Fwup(updater) => Install::Fwup(Box::new(updater.begin()?)),
            Self::Simulated(updater) => Install::Simulated(updater.clone()),
        })
    }
}

impl Install {
    /// Takes what the verifier found.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn event(&mut self, event: &Event) -> Result<(), UpdaterError> {
        match self {
            Self::Ab(install) => install.event(event).await,
            Self::Fwup(_) | Self::Simulated(_) => Ok(()),
        }
    }

    /// Takes the bytes of the file themselves, after their events.
    ///
    /// # Errors
    /// When the program does not take them.
    pub async fn raw(&mut self, chunk: &Bytes) -> Result<(), UpdaterError> {
        match self {
            Self::Fwup(install) => install.raw(chunk).await,
            Self::Ab(_) | Self::Simulated(_) => Ok(()),
        }
    }

    /// The file is whole and verified: it runs at the next start.
    ///
    /// # Errors
    /// When the last step fails; the running firmware stays.
    pub async fn commit(self, verified: &Verified) -> Result<(), UpdaterError> {
        let firmware = describe(verified);
        match self {
            Self::Ab(install) => install.commit(&firmware).await,
            Self::Fwup(install) => install.commit(&firmware).await,
            Self::Simulated(updater) => {
                updater.install(firmware);
                Ok(())
            }
        }
    }
}

/// What a verified file is, in the words of the join payload.
#[must_use]
pub fn describe(verified: &Verified) -> Firmware {
    let meta = &verified.metadata;
    Firmware {
        uuid: verified.uuid.to_string(),
        version: meta.version.clone(),
        product: meta.product.clone(),
        platform: meta.platform.clone(),
        architecture: meta.architecture.clone(),
        author: meta.author.clone(),
        description: meta.description.clone(),
        vcs_identifier: meta.vcs.clone(),
        misc: meta.misc.clone(),
    }
}

/// Name of a resource's file inside a slot: its place, then what is harmless of its name.
pub(crate) fn resource_file(announced: &Announced, index: usize) -> String {
    let name = announced
        .resources
        .get(index)
        .map_or("", |resource| resource.name.as_str());
    let harmless = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') {
            c
        } else {
            '_'
        }
    };
    format!(
        "{index:04}-{}",
        name.chars().map(harmless).take(128).collect::<String>()
    )
}
