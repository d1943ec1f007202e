//! `hub-counts`: instructions per operation of the hot paths, counted by callgrind and held against a kept file.
//!
//! callgrind runs this program itself with two numbers of repetitions; the difference of the two counts is the
//! operation's own, since everything around it is the same in both. Only a release build says anything.

mod kept;
mod paths;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};

/// Repetitions of the shorter run: enough that what is only done once is done.
const SHORT: usize = 100;
/// Repetitions of the longer run.
const LONG: usize = paths::REPETITIONS_MAX;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["repeat", path, times] => repeat(path, times),
        ["check", file] => check(Path::new(file)),
        ["rewrite", file] => rewrite(Path::new(file)),
        _ => Err(anyhow::anyhow!("usage: hub-counts check|rewrite FILE")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "hub-counts: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The measured half: runs one path so many times.
fn repeat(path: &str, times: &str) -> anyhow::Result<()> {
    let times: usize = times.parse().context("how many times?")?;
    ensure!(times <= LONG, "at most {LONG} times");
    let run = paths::ALL.iter().find(|(name, _)| *name == path);
    let (_, run) = run.with_context(|| format!("no path {path}"))?;
    run(times);
    Ok(())
}

fn check(file: &Path) -> anyhow::Result<()> {
    let verdict = kept::compare(&kept::read(file)?, &measure()?);
    write!(std::io::stdout(), "{}", verdict.text)?;
    if !verdict.passed {
        bail!(
            "the counts differ; if that is intended: cargo run --release -p hub-counts -- rewrite {}",
            file.display()
        );
    }
    Ok(())
}

fn rewrite(file: &Path) -> anyhow::Result<()> {
    kept::write(file, &measure()?)
}

fn measure() -> anyhow::Result<kept::Counts> {
    ensure!(
        !cfg!(debug_assertions),
        "counts of a debug build say nothing: cargo run --release -p hub-counts"
    );
    let mut counts = kept::Counts::new();
    for (name, _) in paths::ALL {
        let difference = instructions(name, LONG)?
            .checked_sub(instructions(name, SHORT)?)
            .with_context(|| format!("{name}: the longer run took fewer instructions"))?;
        counts.insert(name.to_owned(), difference / (LONG - SHORT) as u64);
    }
    Ok(counts)
}

/// Instructions of a whole run.
fn instructions(path: &str, times: usize) -> anyhow::Result<u64> {
    let directory = tempfile::tempdir()?;
    let mut out = std::ffi::OsString::from("--callgrind-out-file=");
    out.push(directory.path().join("out"));
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(out)
        .arg(std::env::current_exe()?)
        .args(["repeat", path, &times.to_string()])
        .output()
        .context("valgrind could not be started; on Debian: apt-get install valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{path}: {said}");
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, count) = collected.with_context(|| format!("{path}: no count in {said}"))?;
    count.trim().parse().context("the count is no number")
}
