//! A NATS server: clients over plain TCP, and devices by WebSocket over mutual TLS.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::process::{Launch, Program};
use crate::redis::TlsFiles;
use crate::{find, ports, wait};

/// What has to be installed.
const PACKAGE: &str = "nats-server";

/// A running server. It ends with this.
#[derive(Debug)]
pub struct Nats {
    _dir: TempDir,
    program: Program,
    device: SocketAddr,
    client: SocketAddr,
}

impl Nats {
    /// Whether it could be started.
    ///
    /// # Errors
    /// When the server is missing; the message says what to install.
    pub fn check() -> anyhow::Result<()> {
        find::program(PACKAGE, &[], PACKAGE).map(drop)
    }

    /// Starts it; it takes `connections` at most. Clients of its WebSocket must show a certificate.
    ///
    /// # Errors
    /// As [`Nats::check`], and when it does not start in time; the message holds its last words.
    pub async fn start(tls: &TlsFiles, connections: u64) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("hub-nats").tempdir()?;
        let [device, client] =
            ports::free()?.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let file = dir.path().join("nats.conf");
        std::fs::write(
            &file,
            format!(
                "listen: \"{client}\"
max_connections: {connections}
websocket {{
  listen: \"{device}\"
  compression: false
  handshake_timeout: \"30s\"
  tls {{
    cert_file: {:?}
    key_file: {:?}
    ca_file: {:?}
    verify: true
    timeout: 30
  }}
}}
",
                tls.certificate, tls.key, tls.ca
            ),
        )?;
        let mut program = Launch::new(find::program(PACKAGE, &[], PACKAGE)?)
            .arg("-c")
            .arg(&file)
            .dir(dir.path())
            .start(dir.path().join("log"))?;
        program
            .said("Server is ready", wait::PATIENCE)
            .await
            .context("nats-server does not start")?;
        Ok(Self {
            _dir: dir,
            program,
            device,
            client,
        })
    }

    /// Where devices connect by WebSocket.
    #[must_use]
    pub fn device(&self) -> SocketAddr {
        self.device
    }

    /// Where clients connect by plain TCP.
    #[must_use]
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }
}
