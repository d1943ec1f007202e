//! The reference device for hub: one socket, one task, and every promise a device makes.
//!
//! [`Device`] is what programs use. Inside, [`machine`] decides (pure), [`ledger`] and [`journal`] remember, [`connect`]
//! and [`download`] reach the hub, and [`updater`] installs.
//!
//! ```no_run
//! use hub_device::{Config, Credentials, Device, Identity, updater::{Updater, ab::AbUpdater}};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let credentials = Credentials::from_files("device.pem".as_ref(), "device-key.pem".as_ref(), "hub-ca.pem".as_ref())?;
//! let updater = Updater::Ab(AbUpdater::new("state"));
//! let mut config = Config::new("wss://hub.example", Identity::Credentials(credentials), updater);
//! config.state = Some("state".into());
//! let device = Device::builder(config)
//!     .command("blink", |args| async move { Ok(format!("blinked {} times", args["times"])) })
//!     .build()?;
//! device.run(CancellationToken::new()).await?;
//! # Ok(())
//! # }
//! ```

pub mod backoff;
pub mod commands;
pub mod config;
pub mod connect;
pub mod credentials;
pub mod device;
pub mod download;
pub mod firmware;
pub mod install;
pub mod journal;
pub mod ledger;
pub mod limits;
pub mod machine;
pub mod offer;
pub mod state;
pub mod updater;

pub use backoff::Window;
pub use commands::{CommandFailure, CommandResult, Commands};
pub use config::{Config, Identity, Reboot};
pub use credentials::Credentials;
pub use device::{BuildError, Builder, Device, RunError};
pub use download::Downloader;
pub use firmware::Firmware;
pub use install::install_file;
pub use ledger::CommandStatus;
pub use machine::Downgrades;
pub use state::{DeviceState, Executed, Phase};
