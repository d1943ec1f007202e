//! `hub-device`: the reference device as a program.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Args, Parser, ValueEnum};
use hub_device::{
    Config, Credentials, Device, Downgrades, Identity, Reboot, install_file,
    updater::{Updater, ab::AbUpdater, fwup::FwupUpdater},
};
use hub_firmware::PublicKey;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

const EXAMPLES: &str = "\
Examples:
  Connect with the built-in A/B updater, keeping everything below ./device:
    hub-device --url wss://hub.example --cert device.pem --key device-key.pem --ca hub-ca.pem \\
      --state ./device --public-key fwup-key.pub

  Start with a firmware installed, as from a factory:
    hub-device ... --install sensor-1.0.0.fw

  Let the real fwup write an image, and reboot the machine afterwards:
    hub-device ... --updater fwup --fwup-devpath /dev/mmcblk0 --reboot-command reboot";

/// The reference device: connects to a hub, follows its groups, installs firmware and runs commands.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Options {
    /// Where the hub is; without a path, /socket/websocket is taken.
    #[arg(long, env = "DEVICE_HUB_URL", value_name = "WSS-URL")]
    url: String,
    /// Certificate of the device, PEM, with its chain.
    #[arg(long, env = "DEVICE_CERT", value_name = "FILE")]
    cert: PathBuf,
    /// Private key of the device, PEM.
    #[arg(long, env = "DEVICE_KEY", value_name = "FILE")]
    key: PathBuf,
    /// Authorities that may have signed the hub's certificate, PEM.
    #[arg(long, env = "DEVICE_CA", value_name = "FILE")]
    ca: PathBuf,
    /// Directory for slots, the journal and everything else that must survive.
    #[arg(long, env = "DEVICE_STATE", value_name = "DIR")]
    state: PathBuf,
    /// Key that may have signed firmware: base64 text, or a file that holds it. Repeat for more.
    #[arg(long, value_name = "KEY-OR-FILE")]
    public_key: Vec<String>,
    /// Install this file before connecting, if nothing is installed yet.
    #[arg(long, value_name = "FILE.fw")]
    install: Option<PathBuf>,
    /// Refuse firmware with an older version than the one that runs.
    #[arg(long)]
    refuse_downgrades: bool,
    /// Write one synced line with the id of each command just before it takes effect.
    #[arg(long, value_name = "FILE")]
    effects_log: Option<PathBuf>,
    /// Program that restarts the machine, with arguments. Without it a reboot is simulated.
    #[arg(long, value_name = "COMMAND")]
    reboot_command: Option<String>,
    /// How long a simulated reboot takes, in milliseconds.
    #[arg(long, default_value_t = 1_000, value_name = "MS")]
    reboot_ms: u64,
    #[command(flatten)]
    updater: UpdaterOptions,
    /// Log as JSON lines. RUST_LOG chooses what is logged.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct UpdaterOptions {
    /// What installs firmware.
    #[arg(long, value_enum, default_value_t = UpdaterKind::Ab)]
    updater: UpdaterKind,
    /// Device file or image that fwup writes.
    #[arg(long, value_name = "PATH", required_if_eq("updater", "fwup"))]
    fwup_devpath: Option<PathBuf>,
    /// Task of the firmware that fwup applies.
    #[arg(long, default_value = "upgrade", value_name = "TASK")]
    fwup_task: String,
    /// The fwup program.
    #[arg(long, default_value = "fwup", value_name = "PROGRAM")]
    fwup_program: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum UpdaterKind {
    /// Two directories below the state directory.
    Ab,
    /// The fwup program.
    Fwup,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // Colours are for terminals: in a file or a journal they are rubbish.
    let logs = if std::io::stderr().is_terminal() {
        logs
    } else {
        logs.with_ansi(false)
    };
    if options.json {
        logs.json().init();
    } else {
        logs.init();
    }
    match start(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: Options) -> anyhow::Result<()> {
    // One device is one task: one thread is enough for it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(run(options))
}

async fn run(options: Options) -> anyhow::Result<()> {
    let keys = options
        .public_key
        .iter()
        .map(|key| public_key(key))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let updater = updater(&options, &keys)?;
    if let Some(file) = &options.install {
        seed(file, &updater, &keys).await?;
    }
    let credentials = Credentials::from_files(&options.cert, &options.key, &options.ca)?;
    let mut config = Config::new(&options.url, Identity::Credentials(credentials), updater);
    config.public_keys = keys;
    config.state = Some(options.state);
    config.effects_log = options.effects_log;
    config.reboot = match &options.reboot_command {
        Some(command) => Reboot::Command(command.split_whitespace().map(str::to_owned).collect()),
        None => Reboot::Simulated(Duration::from_millis(options.reboot_ms)),
    };
    if options.refuse_downgrades {
        config.downgrades = Downgrades::Refuse;
    }
    let device = Device::builder(config).build()?;
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    Ok(device.run(stop).await?)
}

fn updater(options: &Options, keys: &[PublicKey]) -> anyhow::Result<Updater> {
    let chosen = &options.updater;
    Ok(match chosen.updater {
        UpdaterKind::Ab => Updater::Ab(AbUpdater::new(&options.state)),
        UpdaterKind::Fwup => Updater::Fwup(FwupUpdater {
            program: chosen.fwup_program.clone(),
            devpath: chosen
                .fwup_devpath
                .clone()
                .context("--fwup-devpath is missing")?,
            task: chosen.fwup_task.clone(),
            state: options.state.clone(),
            public_keys: keys.to_vec(),
        }),
    })
}

/// Installs the first firmware; what is installed already stays, so that a restart does not undo an update.
async fn seed(file: &std::path::Path, updater: &Updater, keys: &[PublicKey]) -> anyhow::Result<()> {
    if let Some(firmware) = updater.running().await? {
        tracing::info!(
            uuid = firmware.uuid,
            version = firmware.version,
            "already installed"
        );
        return Ok(());
    }
    let firmware = install_file(file, updater, keys)
        .await
        .with_context(|| format!("cannot install {}", file.display()))?;
    tracing::info!(
        uuid = firmware.uuid,
        version = firmware.version,
        "installed"
    );
    Ok(())
}

/// A key as text, or the content of the file of that name.
fn public_key(text: &str) -> anyhow::Result<PublicKey> {
    let path = std::path::Path::new(text);
    let content = if path.is_file() {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {text}"))?
    } else {
        text.to_owned()
    };
    content
        .trim()
        .parse()
        .with_context(|| format!("{text} is neither a public key nor a file that holds one"))
}

async fn stop_on_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return tracing::error!("cannot listen for SIGTERM");
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    stop.cancel();
}
