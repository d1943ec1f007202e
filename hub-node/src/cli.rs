//! The command line of `hub-node`.

use std::io::Write as _;
use std::process::ExitCode;

use crate::config::{Config, ConfigError, ConfigFlags, schema};
use crate::healthcheck::HealthcheckFlags;
use crate::reload::SetFilter;
use crate::telemetry::{Telemetry, listing, logging};
use crate::{Node, demo, firmware, pki, tables, token};
use anyhow::Context;
use clap::{Parser, Subcommand};
use hub_core::limits::TELEMETRY_STOP_MAX;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

/// Exit code of a configuration that makes no sense (`EX_CONFIG` is 78; 64, `EX_USAGE`, is what proxies use for it).
const EXIT_CONFIG: u8 = 64;

/// A device hub: devices hold one mutually authenticated WebSocket each; you tell them what to run and what to do.
#[derive(Parser)]
#[command(
    name = "hub-node",
    version,
    after_help = "Examples:\n  hub-node demo                       a whole hub with devices, on nothing but itself\n  hub-node pki server --help          make a server certificate\n  hub-node run --config hub.toml      run a node\n  hub-node token create --org acme    a token for the API, printed once"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node until SIGTERM or Ctrl-C.
    Run(ConfigFlags),
    /// Show hub at work: a hub, four devices, an update, a group and a command, all on this machine.
    Demo(demo::DemoFlags),
    /// Make certificates: an authority, a server's, a device's.
    Pki(pki::PkiCommand),
    /// Make a signing key, or firmware signed with it.
    Firmware(firmware::FirmwareCommand),
    /// Make an API token; works on the state directory, whether a node runs on it or not.
    Token(token::TokenCommand),
    /// Bring the tables of a Postgres database up to date.
    Migrate(tables::MigrateCommand),
    /// Move a hub into Postgres, or declare a restored database a new history.
    Store(tables::StoreCommand),
    Healthcheck(HealthcheckFlags),
    /// Look at what a node counts.
    Metrics {
        #[command(subcommand)]
        command: MetricsCommand,
    },
    /// Look at the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check it, print what is in effect, and say everything that is wrong at once.
    Check(Box<ConfigFlags>),
    /// Print every key as JSON: type, default, variable, flag, whether it is reloaded.
    Schema,
}

#[derive(Subcommand)]
enum MetricsCommand {
    /// List every metric of a node: its name in a Prometheus, kind, unit, attributes and what it says.
    List {
        /// As JSON, with the dotted names of OpenTelemetry.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the program with these arguments, the first of which is its name; what the process should exit with.
#[must_use]
pub fn main_from(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let cli = Cli::parse_from(arguments);
    let outcome = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(dispatch(cli.command)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "hub-node: {error:#}");
            if error.is::<ConfigError>() {
                ExitCode::from(EXIT_CONFIG)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

async fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(flags) => run(flags).await,
        Command::Healthcheck(flags) => flags.run(&mut std::io::stdout()).await,
        Command::Demo(flags) => demo::run(flags).await,
        Command::Pki(command) => {
            Ok(command.run(time::OffsetDateTime::now_utc(), &mut std::io::stdout())?)
        }
        Command::Firmware(command) => command.run(&mut std::io::stdout()),
        Command::Token(command) => command.run(&mut std::io::stdout()).await,
        Command::Migrate(command) => command.run(&mut std::io::stdout()).await,
        Command::Store(command) => command.run(&mut std::io::stdout()).await,
        Command::Metrics {
            command: MetricsCommand::List { json },
        } => Ok(listing::print(json, &mut std::io::stdout())?),
        Command::Config {
            command: ConfigCommand::Check(flags),
        } => {
            let config = Config::load(&flags)?;
            let text = toml_text(&config)?;
            std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())?;
            Ok(())
        }
        Command::Config {
            command: ConfigCommand::Schema,
        } => Ok(schema::print(&mut std::io::stdout())?),
    }
}

/// The configuration as its file would say it, without its secrets.
fn toml_text(config: &Config) -> anyhow::Result<String> {
    toml::to_string_pretty(&config.shown()).context("cannot print the configuration")
}

async fn run(flags: ConfigFlags) -> anyhow::Result<()> {
    let config = Config::load(&flags)?;
    let telemetry = Telemetry::from_env(&config.node_name).context("telemetry")?;
    let set_filter = logging::start(&config.log, config.log_json, &telemetry)?;
    let served = serve(&config, &flags, &telemetry, &set_filter).await;
    telemetry.stop(TELEMETRY_STOP_MAX).await;
    served
}

async fn serve(
    config: &Config,
    flags: &ConfigFlags,
    telemetry: &Telemetry,
    set_filter: &SetFilter,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let node = Node::start_with(config, telemetry).await?;
    let reload = || {
        let new = Config::load(flags).inspect_err(|error| warn!(%error, "not reloaded"));
        new.map(|new| node.reload(new, set_filter))
    };
    loop {
        tokio::select! {
            _ = hangup.recv() => { let _ = reload(); },
            asked = node.reload_asked() => {
                let _ = asked.send(reload().map_err(|ConfigError(problems)| problems));
            }
            _ = terminate.recv() => {
                drain(&node, &mut terminate).await;
                break;
            }
            // Whoever sits in front of it does not want to wait.
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                break;
            }
            () = node.drain_asked() => {
                drain(&node, &mut terminate).await;
                // Gone are the devices; when the process ends is for whoever asked to say.
                terminate.recv().await;
                break;
            }
            () = node.replaced() => {
                node.stop().await;
                anyhow::bail!("another node runs under the name {}; give each node a node_name of its own", config.node_name);
            }
        }
    }
    node.stop().await;
    Ok(())
}

/// Sends the devices away at the configured pace; a SIGTERM meanwhile cuts it short.
async fn drain(node: &Node, terminate: &mut Signal) {
    tokio::select! {
        () = node.drain() => {}
        _ = terminate.recv() => {}
    }
}
