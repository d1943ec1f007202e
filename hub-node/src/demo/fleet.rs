//! The demo's devices: reference devices in this process, watched through the API as an operator would.

use std::time::Duration;

use anyhow::Context;
use hub_device::updater::Updater;
use hub_device::updater::ab::AbUpdater;
use hub_device::{Credentials, Device, Identity, Reboot, install_file};
use hub_proto::api;
use hub_proto::slug::Slug;
use indicatif::ProgressBar;
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::screen::Screen;
use super::stage::{ORG, PRODUCT, Stage};
use super::wait;

/// How long a device takes to restart.
const REBOOT: Duration = Duration::from_millis(1_500);
/// Days a demo device's certificate is valid.
const DEVICE_DAYS: u32 = 30;
/// Devices listed at once; the demo has four.
const LISTED: usize = 100;

/// The devices that were started.
pub(super) struct Fleet {
    names: Vec<String>,
    url: String,
    running: JoinSet<()>,
    stop: CancellationToken,
}

impl Fleet {
    pub(super) fn new(stage: &Stage) -> Self {
        let url = format!("wss://{}", stage.node.device_addr());
        Self {
            names: Vec::new(),
            url,
            running: JoinSet::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Names of the devices, in the order they were started.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Makes a device's certificate, installs the factory firmware and switches it on.
    pub(super) async fn start(&mut self, stage: &Stage, name: &str) -> anyhow::Result<()> {
        let slug: Slug = name.parse()?;
        let issued = stage
            .authority
            .device(&slug, DEVICE_DAYS, OffsetDateTime::now_utc())?;
        let identity = Identity::Credentials(Credentials {
            certificate_pem: issued.certificate_pem.into_bytes(),
            key_pem: issued.key_pem.into_bytes(),
            ca_pem: stage
                .authority
                .certificate()
                .certificate_pem
                .clone()
                .into_bytes(),
        });
        let dir = stage.dir.join(name);
        tokio::fs::create_dir(&dir).await?;
        let updater = Updater::Ab(AbUpdater::new(dir.join("slots")));
        let keys = vec![stage.signing.public_key()];
        install_file(&stage.factory, &updater, &keys)
            .await
            .context("cannot install the factory firmware")?;
        let mut config = hub_device::Config::new(self.url.clone(), identity, updater);
        config.public_keys = keys;
        config.state = Some(dir);
        config.reboot = Reboot::Simulated(REBOOT);
        let device = Device::builder(config).build()?;
        let (stop, shown) = (self.stop.clone(), name.to_owned());
        self.running.spawn(async move {
            if let Err(error) = device.run(stop).await {
                warn!(device = shown, %error, "a demo device ended");
            }
        });
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Waits until the hub says that every device is connected.
    pub(super) async fn until_online(&self, stage: &Stage, screen: &Screen) -> anyhow::Result<()> {
        let bar = screen.bar("online", self.names.len() as u64);
        wait("every device to connect", async || {
            let online = list(stage)
                .await?
                .iter()
                .filter(|device| device.connection.is_some())
                .count();
            bar.set_position(online as u64);
            Ok(online >= self.names.len())
        })
        .await?;
        bar.finish_and_clear();
        screen.say(&format!("  {} online", self.names.len()));
        Ok(())
    }

    /// Shows every device downloading, applying, rebooting and coming back, until the hub says that all run `uuid`.
    pub(super) async fn until_on(
        &self,
        stage: &Stage,
        uuid: &str,
        screen: &Screen,
    ) -> anyhow::Result<()> {
        let mut bars: Vec<_> = self
            .names
            .iter()
            .map(|name| (screen.bar(name, 100), String::new()))
            .collect();
        wait("every device to run the target", async || {
            let devices = list(stage).await?;
            let mut done = 0;
            for (name, (bar, last)) in self.names.iter().zip(&mut bars) {
                let Some(device) = devices.iter().find(|device| *device.name == **name) else {
                    continue;
                };
                let (percent, text, on) = progress(device, uuid);
                draw(bar, percent, &text);
                if *last != text {
                    screen.say_if_plain(&format!("  {name}  {text}"));
                    *last = text;
                }
                done += usize::from(on);
            }
            Ok(done == self.names.len())
        })
        .await?;
        for (name, (bar, last)) in self.names.iter().zip(&bars) {
            bar.finish_and_clear();
            screen.say_if_live(&format!("  {name}  {last}"));
        }
        Ok(())
    }

    /// Switches all devices off.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        while self.running.join_next().await.is_some() {}
    }
}

async fn list(stage: &Stage) -> anyhow::Result<Vec<api::Device>> {
    let page = hub_cli::PageOf {
        limit: Some(LISTED),
        cursor: None,
    };
    Ok(stage.api.devices(ORG, PRODUCT, &page).await?.items)
}

/// Percent, words, and whether the device is connected and runs `uuid`.
fn progress(device: &api::Device, uuid: &str) -> (u64, String, bool) {
    let version = device
        .firmware
        .get("version")
        .map_or("nothing", String::as_str);
    let runs = device.firmware.get("uuid").is_some_and(|have| have == uuid);
    if runs && device.connection.is_some() {
        return (100, format!("runs {version}"), true);
    }
    if device.connection.is_none() {
        return (100, "rebooting".to_owned(), false);
    }
    let Some(update) = &device.update else {
        return (0, format!("runs {version}"), false);
    };
    let text = match &update.error {
        Some(error) => format!("{}: {error}", update.status),
        None => update.status.clone(),
    };
    (update.progress.unwrap_or_default().into(), text, false)
}

fn draw(bar: &ProgressBar, percent: u64, text: &str) {
    bar.set_position(percent);
    bar.set_message(text.to_owned());
}
