//! Drives the `fwup` program: bytes in, progress and verdict out.
//!
//! Owns: the program is given the device's public keys, so that it checks the signature a second time; the last part of
//! the file is held back until this device has verified all of it, so that the program cannot finish a wrong file; a
//! program that goes silent, or ends without a verdict, is a failure, and one that is no longer wanted is ended.
//! The real `fwup` is in no package registry this project builds from: tests drive a small script that speaks the same
//! framing, and the framing itself was checked against the real program.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    process::Stdio,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hub_firmware::{
    PublicKey,
    framing::{self, Decoder, Message},
};
use tokio::{
    fs,
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use super::{
    UpdaterError,
    ab::{disk, replace},
};
use crate::{
    firmware::Firmware,
    limits::{FWUP_FINISH_TIMEOUT, FWUP_HOLD_BACK_BYTES, FWUP_WRITE_TIMEOUT},
};

const INSTALLED: &str = "fwup-installed.json";

/// How to run the program.
#[derive(Debug, Clone)]
pub struct FwupUpdater {
    /// Program, found through `PATH` unless it holds a slash.
    pub program: PathBuf,
    /// Device file or image it writes.
    pub devpath: PathBuf,
    /// Task of the firmware it applies, usually `upgrade`.
    pub task: String,
    /// Directory that remembers which firmware was applied last: that is what the next start is taken to run.
    pub state: PathBuf,
    /// Keys the program checks the signature with.
    pub public_keys: Vec<PublicKey>,
}

impl FwupUpdater {
    pub(super) async fn running(&self) -> Result<Option<Firmware>, UpdaterError> {
        let path = self.state.join(INSTALLED);
        match fs::read(&path).await {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|source| UpdaterError::State { path, source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(disk("read", &path)(source)),
        }
    }

    pub(super) fn begin(&self) -> Result<FwupInstall, UpdaterError> {
        let start = |source| UpdaterError::Start {
            program: self.program.display().to_string(),
            source,
        };
        let mut command = Command::new(&self.program);
        command
            .args([
                "--apply",
                "--framing",
                "--no-unmount",
                "--no-eject",
                "--task",
                &self.task,
            ])
            .arg("-d");
        command.arg(&self.devpath);
        for key in &self.public_keys {
            command
                .arg("--public-key")
                .arg(STANDARD.encode(key.to_bytes()));
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(start)?;
        let missing = || start(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        let (percent, progress) = watch::channel(0);
        let verdict = tokio::spawn(read_output(output, percent));
        let held = VecDeque::new();
        Ok(FwupInstall {
            child,
            input,
            progress,
            verdict,
            held,
            held_bytes: 0,
            state: self.state.clone(),
        })
    }
}

/// The program at work. Dropping it ends the program.
pub struct FwupInstall {
    child: Child,
    input: ChildStdin,
    progress: watch::Receiver<u8>,
    verdict: JoinHandle<Result<(), UpdaterError>>,
    held: VecDeque<Bytes>,
    held_bytes: usize,
    state: PathBuf,
}

impl FwupInstall {
    /// Percent the program reports.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<u8> {
        self.progress.clone()
    }

    /// Takes bytes; passes on those that more than the held back amount follows.
    pub(super) async fn raw(&mut self, chunk: &Bytes) -> Result<(), UpdaterError> {
        self.held_bytes += chunk.len();
        self.held.push_back(chunk.clone());
        while let Some(first) = self.held.front()
            && self.held_bytes - first.len() >= FWUP_HOLD_BACK_BYTES
        {
            self.pass_on().await?;
        }
        Ok(())
    }

    /// Passes on the rest and waits for the verdict.
    pub(super) async fn commit(mut self, firmware: &Firmware) -> Result<(), UpdaterError> {
        while !self.held.is_empty() {
            self.pass_on().await?;
        }
        if self.write(&framing::END).await.is_err() {
            return Err(self.verdict_or("closed its input early").await);
        }
        match timeout(FWUP_FINISH_TIMEOUT, &mut self.verdict).await {
            Ok(Ok(verdict)) => verdict?,
            Ok(Err(_)) => {
                return Err(UpdaterError::Broken {
                    what: "could not be watched",
                });
            }
            Err(_) => {
                return Err(UpdaterError::Broken {
                    what: "did not finish in time",
                });
            }
        }
        match timeout(FWUP_FINISH_TIMEOUT, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => remember(&self.state, firmware).await,
            Ok(Ok(_)) => Err(UpdaterError::Broken {
                what: "exited with an error",
            }),
            Ok(Err(_)) | Err(_) => Err(UpdaterError::Broken {
                what: "did not exit",
            }),
        }
    }

    async fn pass_on(&mut self) -> Result<(), UpdaterError> {
        let Some(chunk) = self.held.pop_front() else {
            return Ok(());
        };
        self.held_bytes -= chunk.len();
        for (header, part) in framing::frames(&chunk) {
            if self.write(&header).await.is_err() || self.write(part).await.is_err() {
                return Err(self.verdict_or("closed its input early").await);
            }
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ()> {
        match timeout(FWUP_WRITE_TIMEOUT, self.input.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }

    /// A program that refuses a file closes its input first and says why on its output.
    async fn verdict_or(&mut self, what: &'static str) -> UpdaterError {
        match timeout(FWUP_WRITE_TIMEOUT, &mut self.verdict).await {
            Ok(Ok(Err(error))) => error,
            Ok(Ok(Ok(())) | Err(_)) | Err(_) => UpdaterError::Broken { what },
        }
    }
}

async fn remember(state: &Path, firmware: &Firmware) -> Result<(), UpdaterError> {
    let path = state.join(INSTALLED);
    let text = serde_json::to_vec_pretty(firmware).map_err(|source| UpdaterError::State {
        path: path.clone(),
        source,
    })?;
    fs::create_dir_all(state)
        .await
        .map_err(disk("make", state))?;
    replace(state, INSTALLED, &text).await
}

/// Reads the program's messages until its verdict. Progress goes to a watch, which holds one value however fast it comes.
async fn read_output(
    mut output: ChildStdout,
    percent: watch::Sender<u8>,
) -> Result<(), UpdaterError> {
    let mut decoder = Decoder::new();
    let mut buffer = [0; 1024];
    loop {
        let count = output.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            return Err(UpdaterError::Broken {
                what: "ended without a verdict",
            });
        }
        let junk = |_| UpdaterError::Broken {
            what: "wrote something that is not its framing",
        };
        for message in decoder
            .push(buffer.get(..count).unwrap_or_default())
            .map_err(junk)?
        {
            match message {
                Message::Progress(value) => {
                    percent.send_replace(value);
                }
                Message::Success(_) => return Ok(()),
                Message::Failure { text, .. } => return Err(UpdaterError::Refused { text }),
                Message::Warning { text, .. } => tracing::warn!(%text, "fwup warns"),
                Message::Unknown(kind) => tracing::debug!(?kind, "fwup says something new"),
            }
        }
    }
}
