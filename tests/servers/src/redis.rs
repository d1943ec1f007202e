//! A Redis server of a test's own.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::process::{Launch, Program};
use crate::{find, ports, wait};

/// Files of a server that speaks TLS.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Authorities that vouch for clients, PEM. Clients of Redis need no certificate; those of the others do.
    pub ca: PathBuf,
}

/// A server, on a port that stays the same from start to start. It keeps nothing on disk and ends with this.
#[derive(Debug)]
pub struct Redis {
    dir: TempDir,
    port: u16,
    server: PathBuf,
    cli: PathBuf,
    tls: Option<TlsFiles>,
    /// The address it listens on.
    host: IpAddr,
    program: Option<Program>,
}

impl Redis {
    /// A server without TLS or passwords.
    ///
    /// # Errors
    /// When the program is missing (the message says what to install) or does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(None).await
    }

    /// A server on another address than loopback: of a network namespace of the test's own.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub async fn start_on(host: IpAddr) -> anyhow::Result<Self> {
        Self::make(None, host).await
    }

    /// A server, with TLS when there are files for it.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub async fn start_with(tls: Option<TlsFiles>) -> anyhow::Result<Self> {
        Self::make(tls, Ipv4Addr::LOCALHOST.into()).await
    }

    async fn make(tls: Option<TlsFiles>, host: IpAddr) -> anyhow::Result<Self> {
        let [port] = ports::free()?;
        let mut redis = Self {
            dir: tempfile::Builder::new().prefix("hub-redis").tempdir()?,
            port,
            server: find::program("redis-server", &[], "redis-server")?,
            cli: find::program("redis-cli", &[], "redis-tools")?,
            tls,
            host,
            program: None,
        };
        redis.start_again().await?;
        Ok(redis)
    }

    /// Starts the server after [`Redis::kill`], on the same port and without any memory.
    ///
    /// # Errors
    /// When it does not accept connections in time; the message holds its last words.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        let port = self.port.to_string();
        let mut launch = Launch::new(&self.server)
            .args(["--bind", &self.host.to_string(), "--protected-mode", "no"])
            .args(["--save", "", "--appendonly", "no"])
            .dir(self.dir.path());
        launch = match &self.tls {
            None => launch.args(["--port", &port]),
            Some(files) => launch
                .args(["--port", "0", "--tls-port", &port])
                .args(["--tls-auth-clients", "no", "--tls-cert-file"])
                .arg(&files.certificate)
                .arg("--tls-key-file")
                .arg(&files.key)
                .arg("--tls-ca-cert-file")
                .arg(&files.ca),
        };
        let log = self.dir.path().join("log");
        let _ = std::fs::remove_file(&log);
        let mut program = launch.start(log)?;
        program
            .said("Ready to accept connections", wait::PATIENCE)
            .await?;
        self.program = Some(program);
        Ok(())
    }

    /// Where to connect, without a user.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as("")
    }

    /// Where to connect as `user:password@`, or nobody.
    #[must_use]
    pub fn url_as(&self, user: &str) -> String {
        let scheme = if self.tls.is_some() {
            "rediss"
        } else {
            "redis"
        };
        format!("{scheme}://{user}{}:{}", self.host, self.port)
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> anyhow::Result<u32> {
        let program = self.program.as_ref().context("the server does not run")?;
        Ok(program.pid())
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs one command through `redis-cli`; what it printed.
    ///
    /// # Errors
    /// The server's.
    pub fn command(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut cli = Command::new(&self.cli);
        cli.args(["-h", &self.host.to_string(), "-p", &self.port.to_string()]);
        if let Some(files) = &self.tls {
            cli.arg("--tls").arg("--cacert").arg(&files.ca);
        }
        let output = cli.args(words).output().context("cannot start redis-cli")?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() || text.starts_with("ERR") || text.starts_with("NOAUTH") {
            bail!(
                "redis-cli {words:?}: {text} {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(text)
    }

    /// Ends the server with SIGKILL.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut program) = self.program.take() {
            program.kill()?;
        }
        Ok(())
    }

    /// Freezes the server: clients see silence, not closed sockets.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&mut self) -> anyhow::Result<()> {
        self.running()?.freeze()
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&mut self) -> anyhow::Result<()> {
        self.running()?.thaw()
    }

    fn running(&mut self) -> anyhow::Result<&mut Program> {
        self.program.as_mut().context("the server does not run")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_starts_answers_and_forgets() {
        let mut redis = Redis::start().await.unwrap();
        redis.command(&["SET", "a", "1"]).unwrap();
        assert_eq!(redis.command(&["GET", "a"]).unwrap(), "1");
        redis.kill().unwrap();
        assert!(redis.command(&["PING"]).is_err());
        redis.start_again().await.unwrap();
        assert_eq!(redis.command(&["GET", "a"]).unwrap(), "");
    }
}
