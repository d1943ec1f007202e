//! The reference device as tests run it: in the test's process, with slots, journal and effects log in a directory of its own.
//!
//! Owns where such a device keeps its files, so that a second start on the same [`Setup`] is the same device coming back.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use hub_device::updater::{Updater, ab::AbUpdater};
use hub_device::{
    Config, Credentials, Device, DeviceState, Firmware, Identity, Reboot, RunError, Window,
    install_file,
};
use hub_firmware::PublicKey;
use hub_proto::id::CommandId;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::pki::{Authority, Leaf};
use crate::wait;

/// How long a simulated reboot takes; short, because tests wait for it.
const REBOOT: Duration = Duration::from_millis(100);
/// A lone device may come back at once.
const RECONNECT: Window = Window {
    base: Duration::from_millis(20),
    cap: Duration::from_millis(100),
};

/// Everything a reference device needs to start.
#[derive(Clone)]
pub struct Setup {
    /// Where the hub is, `wss://…`.
    pub url: String,
    /// Who the device is, and whom it trusts.
    pub credentials: Credentials,
    /// Who may have signed its firmware.
    pub public_key: PublicKey,
    /// A directory of its own.
    pub dir: PathBuf,
    /// How long it waits before it connects again.
    pub reconnect: Window,
}

impl Setup {
    /// The device of this certificate, for a hub that `server_root` vouches for.
    #[must_use]
    pub fn new(
        url: String,
        leaf: &Leaf,
        server_root: &Authority,
        public_key: PublicKey,
        dir: PathBuf,
    ) -> Self {
        let credentials = Credentials {
            certificate_pem: leaf.chain_pem().into_bytes(),
            key_pem: leaf.key_pem().into_bytes(),
            ca_pem: server_root.pem().into_bytes(),
        };
        Self {
            url,
            credentials,
            public_key,
            dir,
            reconnect: RECONNECT,
        }
    }

    /// Where it notes each command just before the command takes effect.
    #[must_use]
    pub fn effects_log(&self) -> PathBuf {
        self.dir.join("effects")
    }

    /// Installs a firmware as a factory does, before the first start.
    ///
    /// # Errors
    /// When the file is not good or the disk refuses.
    pub async fn install(&self, file: &std::path::Path) -> anyhow::Result<Firmware> {
        Ok(install_file(
            file,
            &self.updater(),
            std::slice::from_ref(&self.public_key),
        )
        .await?)
    }

    /// Starts the device, with two commands beside the built-in ones: `blink {times}` says how often it did, and `nap {ms}`
    /// takes that long.
    ///
    /// # Errors
    /// When its directory cannot be made or its identity cannot be used.
    pub fn start(&self) -> anyhow::Result<Reference> {
        std::fs::create_dir_all(&self.dir)?;
        let identity = Identity::Credentials(self.credentials.clone());
        let mut config = Config::new(self.url.clone(), identity, self.updater());
        config.public_keys = vec![self.public_key];
        config.state = Some(self.dir.clone());
        config.effects_log = Some(self.effects_log());
        config.reboot = Reboot::Simulated(REBOOT);
        config.reconnect = self.reconnect;
        let device = Device::builder(config)
            .command("blink", |args| async move {
                let times = args["times"].as_u64().unwrap_or(1);
                Ok(format!("blinked {times} times"))
            })
            .command("nap", |args| async move {
                let millis = args["ms"].as_u64().unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Ok(String::new())
            })
            .build()?;
        let (state, stop) = (device.state(), CancellationToken::new());
        let task = tokio::spawn(device.run(stop.clone()));
        Ok(Reference {
            setup: self.clone(),
            state,
            stop,
            task,
        })
    }

    /// Ids of the commands that took effect, in order, over all starts.
    ///
    /// # Errors
    /// A log that cannot be read, or holds something else than ids.
    pub fn effects(&self) -> anyhow::Result<Vec<CommandId>> {
        let text = std::fs::read_to_string(self.effects_log())?;
        text.lines()
            .map(|line| {
                line.parse()
                    .map_err(|_| anyhow!("no command id in the effects log: {line:?}"))
            })
            .collect()
    }

    fn updater(&self) -> Updater {
        Updater::Ab(AbUpdater::new(self.dir.join("slots")))
    }
}

/// A running reference device. It ends with this value.
pub struct Reference {
    /// What it was started with.
    pub setup: Setup,
    /// Always shows its newest state.
    pub state: watch::Receiver<DeviceState>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

impl Reference {
    /// Waits until its state is as wanted, and gives it.
    ///
    /// # Errors
    /// When `within` passes first; the message holds the state it was in.
    pub async fn until(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl FnMut(&DeviceState) -> bool,
    ) -> anyhow::Result<DeviceState> {
        let found = tokio::time::timeout(within, self.state.wait_for(wanted)).await;
        let found = found.map(|state| state.map(|state| state.clone()));
        match found {
            Ok(state) => state.context("the device has ended"),
            Err(_) => Err(anyhow!(
                "{what}: not so within {within:?}, the device is {:?}",
                *self.state.borrow()
            )),
        }
    }

    /// Waits until it has joined and runs this firmware.
    ///
    /// # Errors
    /// When the usual patience is over.
    pub async fn runs(&mut self, uuid: &str) -> anyhow::Result<DeviceState> {
        self.until(&format!("running {uuid}"), wait::PATIENCE, |state| {
            is_on(state, uuid)
        })
        .await
    }

    /// Ends it and waits for the end.
    ///
    /// # Errors
    /// When it had ended by itself with one.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        (&mut self.task).await??;
        Ok(())
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Whether a device is joined, at rest, and runs this firmware.
#[must_use]
pub fn is_on(state: &DeviceState, uuid: &str) -> bool {
    state.phase == hub_device::Phase::Online
        && state
            .firmware
            .as_ref()
            .is_some_and(|firmware| firmware.uuid == uuid)
}
