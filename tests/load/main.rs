//! `hub-load`: what a node costs per device, measured on the real program with real mutual TLS from other processes.
//!
//! Everything it starts ends with it, also on Ctrl-C and SIGTERM; its state is a temporary directory.

mod bus_cost;
mod commands;
mod compare;
mod crew;
mod device;
mod fleet;
mod floor;
mod gauge;
mod growth;
mod joins;
mod limits;
mod listener;
mod member;
mod nats_wire;
mod orders;
mod peer;
mod progress;
mod report;
mod scenario;
mod server;
mod slow_readers;
mod stalled;
mod swarm;
mod tally;
mod wire;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use bus_cost::BusCost;
use compare::Compare;
use floor::FloorFlags;
use growth::Growth;
use joins::Joins;
use scenario::IdleAndFanout;
use slow_readers::SlowReaders;
use swarm::SwarmFlags;

/// Measures what a hub costs per device: memory, set-up, delivery. Build it and the node in release first.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  cargo build --release -p hub-node -p hub-tests\n  target/release/hub-load idle-and-fanout                              2,000 devices, a table\n  target/release/hub-load idle-and-fanout --devices 10000 --json       a table on stderr, JSON on stdout\n  target/release/hub-load idle-and-fanout --devices 200 --rounds 10 --idle-seconds 5   a quick look\n  target/release/hub-load compare --devices 10000 --turns 5            beside a floor, nchan and NATS\n  target/release/hub-load growth --at 1000,5000,10000,19000            does a device cost the same among many?"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Memory and CPU of idle devices, CPU per set-up, CPU and times of group commands.
    IdleAndFanout {
        #[command(flatten)]
        what: IdleAndFanout,
        /// Print JSON on standard output, and the table on standard error.
        #[arg(long)]
        json: bool,
    },
    /// The same load on the hub and on other servers, in turns, and how they compare. On Debian: apt-get install nginx libnginx-mod-nchan nats-server.
    Compare {
        #[command(flatten)]
        what: Compare,
        /// Print JSON on standard output, and the table on standard error.
        #[arg(long)]
        json: bool,
    },
    /// The same as idle-and-fanout with more and more devices: does a device cost the same among many?
    Growth {
        #[command(flatten)]
        what: Growth,
        /// Print JSON on standard output, and the table on standard error.
        #[arg(long)]
        json: bool,
    },
    /// Known devices that come back in a second, on SQLite and on Postgres.
    Joins {
        #[command(flatten)]
        what: Joins,
        /// Print JSON on standard output, and the table on standard error.
        #[arg(long)]
        json: bool,
    },
    /// What Redis adds to a delivered message, with two nodes on Postgres.
    BusCost {
        #[command(flatten)]
        what: BusCost,
        /// Print JSON on standard output, and the table on standard error.
        #[arg(long)]
        json: bool,
    },
    /// What members that read nothing cost the others, and what becomes of them.
    SlowReaders {
        #[command(flatten)]
        what: SlowReaders,
        /// Print JSON on standard output, and the table on standard error.
        #[arg(long)]
        json: bool,
    },
    /// The least a server can do, to measure others against.
    #[command(hide = true)]
    Floor(FloorFlags),
    /// Plays devices on orders from standard input.
    #[command(hide = true)]
    Swarm(SwarmFlags),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::IdleAndFanout { what, json } => {
            measure(async || what.run().await, |report| report.table(), json)
        }
        Command::Compare { what, json } => {
            measure(async || what.run().await, |report| report.table(), json)
        }
        Command::Growth { what, json } => {
            measure(async || what.run().await, |report| report.table(), json)
        }
        Command::Joins { what, json } => {
            measure(async || what.run().await, |report| report.table(), json)
        }
        Command::SlowReaders { what, json } => {
            measure(async || what.run().await, |report| report.table(), json)
        }
        Command::BusCost { what, json } => {
            measure(async || what.run().await, |report| report.table(), json)
        }
        // Why a floor or a worker failed is told to the measuring process, which says it once.
        Command::Floor(flags) => match floor::run(&flags) {
            Ok(()) => Ok(()),
            Err(_) => return ExitCode::FAILURE,
        },
        Command::Swarm(flags) => match swarm::run(&flags) {
            Ok(()) => Ok(()),
            Err(_) => return ExitCode::FAILURE,
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The logger of this program is its standard error.
            let _ = writeln!(std::io::stderr(), "hub-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure<T: serde::Serialize>(
    run: impl AsyncFnOnce() -> anyhow::Result<T>,
    table: impl FnOnce(&T) -> String,
    json: bool,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(unless_interrupted(run()))?;
    let table = table(&report);
    if json {
        writeln!(std::io::stderr(), "{table}")?;
        writeln!(
            std::io::stdout(),
            "{}",
            serde_json::to_string_pretty(&report)?
        )?;
    } else {
        writeln!(std::io::stdout(), "{table}")?;
    }
    Ok(())
}

/// An interrupted run is dropped, and with it every process and file it made.
async fn unless_interrupted<T>(run: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        biased;
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("told to stop"),
        report = run => report,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_holds_together() {
        super::Cli::command().debug_assert();
    }
}
