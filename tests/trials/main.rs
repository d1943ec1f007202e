//! `hub-trials`: what faults cost a cluster. Prints the figure that the documentation claims, and fails when it is another.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser;
use hub_tests::cluster::Launcher;
use hub_tests::trials::cluster::{BRISK, Outcome, Trials, run};
use hub_tests::trials::rolling::{Rolling, roll};
use indicatif::{ProgressBar, ProgressStyle};

/// Kills, freezes and cuts off the parts of a cluster again and again, and judges what became of every command.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  cargo run --release -p hub-tests --bin hub-trials -- --trials 200\n  cargo run --release -p hub-tests --bin hub-trials -- --trials 20 --seed 7 --json\n  cargo run --release -p hub-tests --bin hub-trials -- --rolling --devices 1000"
)]
struct Flags {
    /// Trials; each has one fault, or two at a time.
    #[arg(long, default_value_t = 200)]
    trials: u32,
    /// Trials go on, up to four times as many, until so many commands are accepted.
    #[arg(long, default_value_t = 20_000)]
    commands: u64,
    /// What the faults follow from; a random one when none is given.
    #[arg(long)]
    seed: Option<u64>,
    /// Devices, all members of one group; 1,000 at most.
    #[arg(long, default_value_t = 16)]
    devices: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// No faults, but a polite restart of each node in turn; says how long devices were away and how many came back at a time.
    #[arg(long)]
    rolling: bool,
    /// Seconds over which a node that is restarted politely sends its devices away.
    #[arg(long, default_value_t = 20)]
    window_s: u32,
    /// Seconds between two commands to all devices while nodes are restarted politely, on the average.
    #[arg(long, default_value_t = 10)]
    to_all_s: u32,
    /// What the program runs itself as.
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    node: Vec<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    // A node is this program again, so that one command builds and runs everything.
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|first| first == "node") {
        return Ok(hub_node::cli::main_from(std::env::args_os().skip(1)));
    }
    let flags = Flags::parse();
    if flags.rolling {
        let runtime = tokio::runtime::Runtime::new()?;
        return runtime.block_on(rolling(&flags));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(trials(flags))
}

#[expect(clippy::print_stderr, reason = "progress")]
async fn rolling(flags: &Flags) -> anyhow::Result<ExitCode> {
    let rolling = Rolling {
        devices: flags.devices.clamp(2, 1_000),
        window_s: flags.window_s,
        to_all_s: flags.to_all_s,
        program: Some(itself()?),
    };
    let rolled = roll(rolling, |what| eprintln!("{what}")).await?;
    let mut out = std::io::stdout();
    serde_json::to_writer_pretty(&mut out, &rolled.to_json())?;
    writeln!(out)?;
    Ok(if rolled.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A node is this program again.
fn itself() -> anyhow::Result<Launcher> {
    Ok(Launcher {
        program: std::env::current_exe()?,
        args: vec!["node".to_owned()],
    })
}

async fn trials(flags: Flags) -> anyhow::Result<ExitCode> {
    let trials = Trials {
        trials: flags.trials,
        commands: flags.commands,
        seed: flags.seed.unwrap_or_else(rand::random),
        devices: flags.devices.clamp(2, 1_000),
        pace: BRISK,
        nodes: 3,
        apart: None,
        program: Some(itself()?),
    };
    let mut out = std::io::stdout();
    let bar = ProgressBar::new(trials.trials.into());
    bar.set_style(ProgressStyle::with_template(
        "{elapsed_precise} {wide_bar} {pos}/{len} {eta} {msg}",
    )?);
    if !flags.json {
        writeln!(out, "seed {}", trials.seed)?;
    }
    let outcome = run(trials, |trial, faults| {
        let names: Vec<&str> = faults.iter().map(|fault| fault.name()).collect();
        bar.set_length(bar.length().unwrap_or(0).max(trial.into()));
        bar.set_position(u64::from(trial) - 1);
        bar.set_message(names.join(" + "));
        if !std::io::stderr().is_terminal() {
            tracing_line(trial, &names);
        }
    })
    .await?;
    bar.finish_and_clear();
    if flags.json {
        writeln!(out, "{}", outcome.to_json())?;
    } else {
        print(&outcome, &mut out)?;
    }
    Ok(if outcome.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Where nobody sees a bar, a line for each trial says how far it is.
#[expect(clippy::print_stderr, reason = "progress")]
fn tracing_line(trial: u32, names: &[&str]) {
    eprintln!("trial {trial}: {}", names.join(" + "));
}

fn print(outcome: &Outcome, out: &mut impl std::io::Write) -> std::io::Result<()> {
    let commands = outcome.verdict.accepted();
    let effects = outcome.verdict.effects_wanted();
    writeln!(
        out,
        "{} trials in {:.0} min, {} devices, {} joins, {} calls repeated",
        outcome.made(),
        outcome.took.as_secs_f64() / 60.0,
        outcome.trials.devices,
        outcome.joins,
        outcome.repeated
    )?;
    for (fault, times) in &outcome.faults {
        writeln!(out, "  {fault:<18} {times:>5}")?;
    }
    let json = outcome.to_json();
    writeln!(
        out,
        "presence right after a fault: p50 {} ms, p99 {} ms",
        json["converged_ms"]["p50"], json["converged_ms"]["p99"]
    )?;
    // with none of n found, the true rate is below 3/n with 95 % confidence
    let row = |what: &str, found: &[String], of: usize| {
        let bound = if of > 0 { 3.0 / of as f64 } else { 1.0 };
        format!(
            "{what:<12} {:>6} of {of:>8}   95 % bound {bound:.1e}",
            found.len()
        )
    };
    writeln!(out, "{}", row("lost", outcome.verdict.lost(), commands))?;
    writeln!(
        out,
        "{}",
        row("doubled", outcome.verdict.doubled(), effects)
    )?;
    writeln!(
        out,
        "{}",
        row("inverted", outcome.verdict.inverted(), effects)
    )?;
    writeln!(
        out,
        "{}",
        row("strange", outcome.verdict.strange(), effects)
    )?;
    let trials = outcome.made();
    writeln!(out, "{}", row("presence", &outcome.wrong_presence, trials))?;
    let found = [
        outcome.verdict.lost(),
        outcome.verdict.doubled(),
        outcome.verdict.inverted(),
        outcome.verdict.strange(),
        &outcome.wrong_presence,
    ];
    for line in found.into_iter().flatten().take(40) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}
