//! An HAProxy of a test's own.

use std::path::Path;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::process::{Launch, Program};
use crate::{find, wait};

/// A running load balancer. It ends with this.
#[derive(Debug)]
pub struct Haproxy {
    _dir: TempDir,
    program: Program,
}

impl Haproxy {
    /// Starts it on a configuration file; what the file takes from the environment is in `env`.
    ///
    /// # Errors
    /// When the program is missing (the message says what to install), or the configuration is refused.
    pub async fn start(config: &Path, env: &[(&str, String)]) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("hub-haproxy").tempdir()?;
        let mut launch = Launch::new(find::program("haproxy", &[], "haproxy")?)
            .args(["-W", "-db", "-f"])
            .arg(config)
            .dir(dir.path());
        for (key, value) in env {
            launch = launch.env(*key, value);
        }
        let mut program = launch.start(dir.path().join("log"))?;
        program
            .said("Loading success", wait::PATIENCE)
            .await
            .context("haproxy does not start")?;
        Ok(Self { _dir: dir, program })
    }

    /// All it has said so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        self.program.log()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        // The master ends its worker; killed, it could not.
        let _ = self.program.signal(nix::sys::signal::Signal::SIGTERM);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(2);
        while std::time::Instant::now() < deadline {
            if matches!(self.program.exited(), Ok(Some(_)) | Err(_)) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
