//! A device: its settings checked, its parts put together, and the loop that gives the machine what happens and does
//! what it says, in order.

mod inbox;
mod runner;
mod storage;

use std::error::Error;

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    commands::{CommandResult, Commands},
    config::{Config, Identity},
    connect::{BadUrl, Dialer},
    credentials::{CredentialError, client_config_without_certificate},
    download::{ClientError, Downloader},
    journal::JournalError,
    state::DeviceState,
    updater::UpdaterError,
};

pub(crate) use inbox::UpdateSender;

/// Why a device cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The hub's URL cannot be used.
    #[error("bad hub url")]
    Url(#[from] BadUrl),
    /// The identity cannot be used.
    #[error("bad identity")]
    Credentials(#[from] CredentialError),
    /// No HTTP client.
    #[error("no downloads possible")]
    Client(#[from] ClientError),
}

/// Why a device cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal cannot be opened.
    #[error("no journal")]
    Journal(#[from] JournalError),
    /// What is installed cannot be read.
    #[error("cannot tell what is installed")]
    Updater(#[from] UpdaterError),
    /// The effects log cannot be opened.
    #[error("no effects log")]
    EffectsLog(#[source] std::io::Error),
}

/// Collects what a device needs.
pub struct Builder {
    config: Config,
    commands: Commands,
}

impl Builder {
    /// Adds a command, or replaces a built-in one. The handler gets the arguments as a JSON object; its text goes to the
    /// operator.
    ///
    /// ```
    /// # fn example(config: hub_device::Config) -> Result<hub_device::Device, hub_device::BuildError> {
    /// let device = hub_device::Device::builder(config)
    ///     .command("blink", |args| async move {
    ///         let times = args["times"].as_u64().unwrap_or(1);
    ///         Ok(format!("blinked {times} times"))
    ///     })
    ///     .build()?;
    /// # Ok(device)
    /// # }
    /// ```
    #[must_use]
    pub fn command<F, Fut>(mut self, name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = CommandResult> + Send + 'static,
    {
        self.commands.add(name, handler);
        self
    }

    /// Uses these handlers; those added before are forgotten. For devices that share their handlers.
    #[must_use]
    pub fn commands(mut self, commands: Commands) -> Self {
        self.commands = commands;
        self
    }

    /// Checks the settings and makes the device. Nothing is connected or written yet.
    ///
    /// # Errors
    /// When the URL or the identity cannot be used.
    pub fn build(self) -> Result<Device, BuildError> {
        let (tls, downloader) = match &self.config.identity {
            Identity::Credentials(credentials) => {
                let plain = client_config_without_certificate(&credentials.authorities()?)?;
                (credentials.client_config()?, Downloader::new(&plain)?)
            }
            Identity::Shared { tls, downloader } => (tls.clone(), downloader.clone()),
        };
        let dialer = Dialer::new(&self.config.url, tls)?;
        let (state, _) = watch::channel(DeviceState::default());
        Ok(Device {
            config: self.config,
            commands: self.commands,
            dialer,
            downloader,
            state,
        })
    }
}

/// A device that is ready to run.
pub struct Device {
    config: Config,
    commands: Commands,
    dialer: Dialer,
    downloader: Downloader,
    state: watch::Sender<DeviceState>,
}

impl Device {
    /// Starts a device from its settings.
    #[must_use]
    pub fn builder(config: Config) -> Builder {
        Builder {
            config,
            commands: Commands::default(),
        }
    }

    /// A view of the device that always shows its newest state.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<DeviceState> {
        self.state.subscribe()
    }

    /// Runs until `stop` is cancelled, through every loss of its hub.
    ///
    /// # Errors
    /// Only at the start: when the journal, the effects log or the installed firmware cannot be read.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        runner::run(self, stop).await
    }
}

/// An error and its causes in one line.
pub(crate) fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
