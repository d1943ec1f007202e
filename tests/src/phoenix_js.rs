//! The official Phoenix client (npm `phoenix` over `ws`) as a child process with its own certificate.
//!
//! The program is `tests/fixtures/phoenix-js/client.mjs`, whose head lists its commands and what it reports;
//! `npm ci` in that directory must have been run, which `tests/run` does.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::pki::{Authority, Leaf};
use crate::wait;

/// Where the fixture is, from this package.
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/phoenix-js");

/// A running client; dropping it kills it.
#[derive(Debug)]
pub struct PhoenixJs {
    /// Held for its end: killed when dropped.
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// What it reported and nobody has taken yet.
    reported: Vec<Value>,
    _files: tempfile::TempDir,
}

impl PhoenixJs {
    /// Starts a client that connects at once to `address` and beats every `heartbeat`.
    ///
    /// # Errors
    /// When Node.js or the fixture's packages are missing.
    pub fn start(
        address: SocketAddr,
        server_root: &Authority,
        device: &Leaf,
        heartbeat: Duration,
    ) -> anyhow::Result<Self> {
        if !Path::new(FIXTURE).join("node_modules/phoenix").is_dir() {
            bail!("run `npm ci` in tests/fixtures/phoenix-js, or ./tests/run");
        }
        let files = tempfile::tempdir()?;
        let root = files.path().join("root.pem");
        std::fs::write(&root, server_root.pem())?;
        let (certificate, key) = device.write(files.path(), "device")?;
        let mut child = Command::new("node")
            .arg("client.mjs")
            .arg("--url")
            .arg(format!("wss://{address}/socket"))
            .arg("--ca")
            .arg(root)
            .arg("--cert")
            .arg(certificate)
            .arg("--key")
            .arg(key)
            .arg("--heartbeat-ms")
            .arg(heartbeat.as_millis().to_string())
            .arg("--rejoin-ms")
            .arg("50")
            .current_dir(FIXTURE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start node")?;
        let input = child.stdin.take().context("no standard input")?;
        let output = child.stdout.take().context("no standard output")?;
        Ok(Self {
            _child: child,
            input,
            output: BufReader::new(output).lines(),
            reported: Vec::new(),
            _files: files,
        })
    }

    /// Gives one command, as listed in the head of the program.
    ///
    /// # Errors
    /// When the program has ended.
    pub async fn command(&mut self, line: &str) -> anyhow::Result<()> {
        self.input.write_all(line.as_bytes()).await?;
        self.input.write_all(b"\n").await?;
        self.input.flush().await.context("cannot give a command")
    }

    /// Waits for a report of this kind that `wanted` accepts; others stay for later.
    ///
    /// # Errors
    /// When none comes within the time; the message holds what came instead.
    pub async fn expect(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let (reported, output) = (&mut self.reported, &mut self.output);
        let found = wait::within(&format!("a report of {what}"), within, async {
            let mut at = 0;
            loop {
                while at < reported.len() {
                    if reported[at]["what"] == what && wanted(&reported[at]) {
                        return Ok(reported.remove(at));
                    }
                    at += 1;
                }
                let line = output.next_line().await?.context("the client ended")?;
                reported.push(serde_json::from_str(&line)?);
            }
        })
        .await;
        found.with_context(|| format!("reported so far: {:?}", self.reported))
    }
}
