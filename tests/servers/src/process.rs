//! Programs under test: found in the target directory, started, watched, signalled and ended by pid.
//!
//! A [`Program`] owns its child: it is the only one that reaps it, so the pid cannot come to name a stranger
//! while a signal is on its way, and dropping it ends the child at once. Output goes to a file that survives
//! a failed test, because the last words of a killed node are what one wants to read.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
pub use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::wait;

/// Where a program of this workspace was built: beside the running test, in the same profile.
///
/// # Errors
/// When it was not built; cargo builds the programs of other packages only when asked to.
pub fn built(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe().context("the running test has no path")?;
    let profile = test
        .ancestors()
        .skip(1)
        .find(|dir| dir.file_name().is_some_and(|leaf| leaf != "deps"))
        .context("the running test is not in a target directory")?;
    let program = profile.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !program.is_file() {
        bail!(
            "{} is not built: run `cargo build --workspace --all-targets`, or ./tests/run",
            program.display()
        );
    }
    Ok(program)
}

/// What to start, and with which surroundings.
#[derive(Debug)]
pub struct Launch {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    user: Option<(u32, u32)>,
}

impl Launch {
    /// A program by path.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
            user: None,
        }
    }

    /// Runs it under this account, which only root can.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets one environment variable.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Starts it in this directory.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Starts the program with both of its outputs appended to `log`.
    ///
    /// Settings of the person who runs the tests (`HUB_*`, `OTEL_*`, `RUST_LOG`) do not reach it.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn start(self, log: impl Into<PathBuf>) -> anyhow::Result<Program> {
        let log = log.into();
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let mut command = Command::new(&self.program);
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if name.starts_with("HUB_") || name.starts_with("OTEL_") || name == "RUST_LOG" {
                command.env_remove(&key);
            }
        }
        command
            .args(self.args)
            .envs(self.env)
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out);
        if let Some(dir) = self.dir {
            command.current_dir(dir);
        }
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        Ok(Program { child, log })
    }
}

/// A running program that belongs to one test.
#[derive(Debug)]
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// All it has said so far, on both outputs.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        let said = fs::read(&self.log)?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// Its exit status, if it has ended.
    ///
    /// # Errors
    /// When the system refuses to say.
    pub fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it has already ended: its pid may name someone else by now.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if let Some(status) = self.exited()? {
            bail!("cannot send {signal}: it has ended with {status}");
        }
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)
            .with_context(|| format!("cannot send {signal}"))
    }

    /// Asks it to stop (SIGTERM) and waits for the end.
    ///
    /// # Errors
    /// When it has not ended `within` that time.
    pub async fn stop(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.ended(within).await
    }

    /// Kills it (SIGKILL) and waits for the end: after this its port and its files are free.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// Freezes it (SIGSTOP): the peers of a frozen process see silence, not a closed socket.
    ///
    /// # Errors
    /// When it has already ended.
    pub fn freeze(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen process go on (SIGCONT).
    ///
    /// # Errors
    /// When it has already ended.
    pub fn thaw(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it runs on past the deadline; the message holds the end of its log.
    pub async fn ended(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let ended = wait::until("the end of the program", within, async || {
            self.child.try_wait().ok().flatten()
        })
        .await;
        ended.with_context(|| self.last_words())
    }

    /// Waits until its output holds `needle` and gives the line it stands in.
    ///
    /// # Errors
    /// When it ends first or the deadline passes; the message holds the end of its log.
    pub async fn said(&mut self, needle: &str, within: Duration) -> anyhow::Result<String> {
        let what = format!("the program saying {needle:?}");
        let answer = wait::until(&what, within, async || {
            // Looked at before the log: what a program said before it ended must still be found.
            let ended = self.child.try_wait().ok().flatten();
            let said = self.log().unwrap_or_default();
            let line = said.lines().find(|line| line.contains(needle));
            match (line, ended) {
                (Some(line), _) => Some(Ok(line.to_owned())),
                (None, Some(status)) => Some(Err(status)),
                (None, None) => None,
            }
        })
        .await
        .with_context(|| self.last_words())?;
        answer.map_err(|status| {
            anyhow::anyhow!("{what}: it ended with {status}\n{}", self.last_words())
        })
    }

    /// The end of its log, for messages.
    fn last_words(&self) -> String {
        /// Lines of the log that a failure shows.
        const LINES: usize = 30;
        let said = self.log().unwrap_or_default();
        let lines: Vec<_> = said.lines().collect();
        let from = lines.len().saturating_sub(LINES);
        format!("{}:\n{}", self.log.display(), lines[from..].join("\n"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only when it has ended already. SIGKILL also ends a frozen process.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes whose parent is this one.
///
/// # Errors
/// When there is no such process.
pub fn children(parent: u32) -> anyhow::Result<Vec<u32>> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(text
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Program, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let program = Launch::new("/bin/sh")
            .arg("-c")
            .arg(script)
            .dir(dir.path())
            .start(dir.path().join("log"))
            .unwrap();
        (program, dir)
    }

    #[tokio::test]
    async fn output_is_found_and_sigterm_ends() {
        let (mut program, _dir) =
            shell("trap 'echo bye; exit 7' TERM; echo ready; read x; while :; do sleep 0.05; done");
        assert_eq!(
            program.said("ready", wait::PATIENCE).await.unwrap(),
            "ready"
        );
        let status = program.stop(wait::PATIENCE).await.unwrap();
        assert_eq!(status.code(), Some(7));
        assert!(program.log().unwrap().contains("bye"));
        assert!(program.signal(Signal::SIGTERM).is_err());
    }

    #[tokio::test]
    async fn an_early_end_is_told_with_its_last_words() {
        let (mut program, _dir) = shell("echo broken >&2; exit 3");
        let error = program.said("ready", wait::PATIENCE).await.unwrap_err();
        assert!(format!("{error:#}").contains("broken"), "{error:#}");
    }

    #[test]
    fn drop_ends_even_a_frozen_program() {
        let (mut program, _dir) = shell("while :; do sleep 0.05; done");
        program.freeze().unwrap();
        let pid = Pid::from_raw(program.pid().cast_signed());
        drop(program);
        assert!(kill(pid, None).is_err());
    }

    #[test]
    fn a_program_that_was_not_built_is_named() {
        let error = built("no-such-program").unwrap_err();
        assert!(error.to_string().contains("no-such-program"));
    }
}
