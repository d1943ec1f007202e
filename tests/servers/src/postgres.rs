//! A Postgres server of a test's own.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use tempfile::TempDir;

use crate::process::{Launch, Program, children};
use crate::{find, ports};

/// The superuser of the test's cluster.
const SUPERUSER: &str = "hub";
/// How long the server may take to start, recovery included.
const START_MAX: Duration = Duration::from_secs(60);

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ends sessions first.
    Fast,
    /// Ends at once; recovers at the next start, as after a crash.
    Immediate,
}

/// A server, on a port that stays the same from start to start. It ends with this.
#[derive(Debug)]
pub struct Postgres {
    dir: TempDir,
    port: u16,
    bin: PathBuf,
    psql: PathBuf,
    user: Option<User>,
    /// Writes are synced to disk.
    durable: bool,
    /// The address it listens on.
    host: IpAddr,
    program: Option<Program>,
}

impl Postgres {
    /// A server that loses nothing when it is killed.
    ///
    /// # Errors
    /// When the programs are missing (the message says what to install) or the server does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(true).await
    }

    /// A server that loses nothing when it is killed, on another address than loopback: of a network namespace of the test's own.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn start_on(host: IpAddr) -> anyhow::Result<Self> {
        Self::make(true, host).await
    }

    /// A server; one that is not `durable` is faster and must not be killed by a test that looks at what is left.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn start_with(durable: bool) -> anyhow::Result<Self> {
        Self::make(durable, Ipv4Addr::LOCALHOST.into()).await
    }

    async fn make(durable: bool, host: IpAddr) -> anyhow::Result<Self> {
        let bin = bin_dir()?;
        let user = find::unprivileged()?;
        let dir = tempfile::Builder::new().prefix("hub-pg").tempdir()?;
        fs::create_dir(dir.path().join("run"))?;
        if let Some(user) = &user {
            find::give(dir.path(), user)?;
        }
        let [port] = ports::free()?;
        let mut server = Self {
            dir,
            port,
            bin,
            psql: find::program("psql", &debian(), "postgresql-client")?,
            user,
            durable,
            host,
            program: None,
        };
        server.init()?;
        server.start_again().await?;
        Ok(server)
    }

    fn init(&self) -> anyhow::Result<()> {
        let mut init = Command::new(self.bin.join("initdb"));
        init.arg("-D").arg(self.data());
        init.args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8"]);
        init.args(["--locale=C.UTF-8", "--no-sync", "--no-instructions"]);
        init.current_dir(self.dir.path());
        if let Some(user) = &self.user {
            use std::os::unix::process::CommandExt as _;
            init.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let output = init.output().context("cannot start initdb")?;
        if !output.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&output.stderr));
        }
        // whoever reaches a server of a test may use it: only the test can
        let hosts = format!("host all {SUPERUSER} {}/24 trust\n", self.host);
        let file = fs::OpenOptions::new()
            .append(true)
            .open(self.data().join("pg_hba.conf"))?;
        std::io::Write::write_all(&mut &file, hosts.as_bytes())?;
        Ok(())
    }

    /// Starts the server after [`Postgres::stop`], on the same data and port.
    ///
    /// # Errors
    /// When it does not accept connections in time; the message holds its last words.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        let sync = if self.durable { "on" } else { "off" };
        let mut launch = Launch::new(self.bin.join("postgres"))
            .arg("-D")
            .arg(self.data())
            .args([
                "-p",
                &self.port.to_string(),
                "-h",
                &self.host.to_string(),
                "-k",
            ])
            .arg(self.dir.path().join("run"))
            .args(["-c", "max_connections=200", "-c", "shared_buffers=64MB"])
            .args([
                "-c",
                &format!("fsync={sync}"),
                "-c",
                "autovacuum_naptime=5s",
            ])
            .dir(self.dir.path());
        if let Some(user) = &self.user {
            launch = launch.user(user.uid.as_raw(), user.gid.as_raw());
        }
        let log = self.dir.path().join("log");
        // `said` looks for the words of this start, so those of earlier ones must not be there
        let _ = fs::remove_file(&log);
        let mut program = launch.start(log)?;
        program
            .said("database system is ready to accept connections", START_MAX)
            .await?;
        self.program = Some(program);
        Ok(())
    }

    /// Where to connect, for a client of this database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://{SUPERUSER}@{}:{}/{database}",
            self.host, self.port
        )
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes a database.
    ///
    /// # Errors
    /// The server's.
    pub fn create_database(&self, name: &str) -> anyhow::Result<()> {
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(())
    }

    /// Runs SQL through `psql`; unaligned rows without headings.
    ///
    /// # Errors
    /// The server's, and its silence after ten seconds.
    pub fn sql(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let output = Command::new(&self.psql)
            .env("PGCONNECT_TIMEOUT", "10")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(self.url(database))
            .args(["-c", sql])
            .output()
            .context("cannot start psql")?;
        if !output.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Stops the server.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&mut self, how: Stop) -> anyhow::Result<()> {
        let Some(mut program) = self.program.take() else {
            return Ok(());
        };
        let signal = match how {
            Stop::Fast => Signal::SIGINT,
            Stop::Immediate => Signal::SIGQUIT,
        };
        program.signal(signal)?;
        program.ended(START_MAX).await?;
        Ok(())
    }

    /// Stops and starts the server.
    ///
    /// # Errors
    /// When it does not end or come back.
    pub async fn restart(&mut self, how: Stop) -> anyhow::Result<()> {
        self.stop(how).await?;
        self.start_again().await
    }

    /// Freezes all processes of the server: clients see silence, not closed sockets.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal_all(Signal::SIGSTOP)
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal_all(Signal::SIGCONT)
    }

    fn signal_all(&self, signal: Signal) -> anyhow::Result<()> {
        let program = self.program.as_ref().context("the server does not run")?;
        let postmaster = Pid::from_raw(program.pid().cast_signed());
        // The postmaster first, so that it starts no process that would be missed.
        kill(postmaster, signal)?;
        for child in children(program.pid())? {
            // one that has ended meanwhile needs no signal
            let _ = kill(Pid::from_raw(child.cast_signed()), signal);
        }
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(program) = &mut self.program {
            // Its children end when they notice; frozen ones must be able to.
            let children = children(program.pid()).unwrap_or_default();
            let _ = program.kill();
            for child in children {
                let _ = kill(Pid::from_raw(child.cast_signed()), Signal::SIGKILL);
            }
        }
    }
}

/// Where the server's programs are: on the search path, or where Debian keeps them, the newest version first.
fn bin_dir() -> anyhow::Result<PathBuf> {
    let initdb = find::program("initdb", &debian(), "postgresql")?;
    // a link leads to where the server's other files are
    let initdb = initdb.canonicalize()?;
    initdb
        .parent()
        .map(Path::to_owned)
        .context("initdb is in no directory")
}

/// Where Debian keeps the programs of each version, the newest first.
fn debian() -> Vec<PathBuf> {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    versions.sort();
    versions.reverse();
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_starts_answers_and_comes_back_with_its_data() {
        let mut server = Postgres::start().await.unwrap();
        server.create_database("hub").unwrap();
        server
            .sql("hub", "CREATE TABLE t (n INT); INSERT INTO t VALUES (7)")
            .unwrap();
        server.freeze().unwrap();
        server.thaw().unwrap();
        server.restart(Stop::Immediate).await.unwrap();
        assert_eq!(server.sql("hub", "SELECT n FROM t").unwrap(), "7");
    }
}
