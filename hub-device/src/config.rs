//! What a device is told about itself and its hub.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hub_firmware::PublicKey;
use rustls::ClientConfig;

use crate::{
    backoff::Window, credentials::Credentials, download::Downloader, machine::Downgrades,
    updater::Updater,
};

/// Who the device is to its hub.
#[derive(Clone)]
pub enum Identity {
    /// PEM text; the device makes its own TLS configuration and downloader from it.
    Credentials(Credentials),
    /// A TLS configuration and a downloader that other devices share: for many devices in one process.
    Shared {
        /// Presents the device's certificate.
        tls: Arc<ClientConfig>,
        /// Fetches firmware.
        downloader: Downloader,
    },
}

/// How the device restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reboot {
    /// The socket is dropped, this time passes, and the device comes back on what is then installed.
    Simulated(Duration),
    /// A program and its arguments, which end this process.
    Command(Vec<String>),
}

/// Settings of one device.
#[derive(Clone)]
pub struct Config {
    /// Where the hub is, `wss://…`.
    pub url: String,
    /// Who the device is.
    pub identity: Identity,
    /// What installs firmware.
    pub updater: Updater,
    /// Keys that may have signed firmware; with none, every update is refused.
    pub public_keys: Vec<PublicKey>,
    /// Directory of the journal; without one, commands and reports are remembered only while the device runs.
    pub state: Option<PathBuf>,
    /// How it restarts.
    pub reboot: Reboot,
    /// Whether it takes older firmware than it runs.
    pub downgrades: Downgrades,
    /// How long it waits before it connects again. Shorter than the default suits a hub that comes back at once and has
    /// few devices; a fleet with short pauses falls on its hub all together.
    pub reconnect: Window,
    /// A file that gets one synced line, the id, for each command just before it takes effect.
    pub effects_log: Option<PathBuf>,
}

impl Config {
    /// Settings with no journal, no keys, and a simulated reboot of one second.
    #[must_use]
    pub fn new(url: impl Into<String>, identity: Identity, updater: Updater) -> Self {
        Self {
            url: url.into(),
            identity,
            updater,
            public_keys: Vec::new(),
            state: None,
            reboot: Reboot::Simulated(Duration::from_secs(1)),
            downgrades: Downgrades::default(),
            reconnect: Window::RECONNECT,
            effects_log: None,
        }
    }
}
