//! Servers that are no hub and carry the same load: started, published to and stopped by the measuring process.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::ensure;
use clap::ValueEnum;
use hub_proto::id::CommandId;
use hub_servers::redis::TlsFiles;
use hub_servers::{Nats, Nchan};
use serde::Serialize;
use uuid::Uuid;

use crate::commands::{Call, since};
use crate::gauge::{Gauge, monotonic_ns};
use crate::limits::{ARGS_BYTES, FILES_KEPT, PUBLISH_MAX};
use crate::orders::Speech;
use floor::Floor;
use publisher::NatsPublisher;

mod floor;
mod publisher;

/// A server to measure the hub against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Peer {
    /// One thread of epoll and rustls without any protocol: the limit.
    Floor,
    /// nginx with the nchan module.
    Nchan,
    /// The NATS server by WebSocket.
    Nats,
}

impl Peer {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Nchan => "nchan",
            Self::Nats => "nats",
        }
    }

    /// What it is and what it leaves out, in one line.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Floor => {
                "floor: one thread of epoll and rustls, mutual TLS; no join, no store, no acknowledgement, no deadline, no slow-reader bound"
            }
            Self::Nchan => {
                "nchan: nginx with the nchan module, a worker per core, mutual TLS; subscribes by URL: no join, nothing on disk, no acknowledgement"
            }
            Self::Nats => {
                "nats: nats-server by WebSocket, mutual TLS; CONNECT and SUB instead of joins, nothing on disk, no acknowledgement"
            }
        }
    }

    /// Whether it could be started.
    ///
    /// # Errors
    /// When something is missing; the message says what to install.
    pub(crate) fn check(self) -> anyhow::Result<()> {
        match self {
            Self::Floor => Ok(()),
            Self::Nchan => Nchan::check(),
            Self::Nats => Nats::check(),
        }
    }

    fn speech(self) -> Speech {
        match self {
            Self::Floor | Self::Nchan => Speech::Nothing,
            Self::Nats => Speech::Nats,
        }
    }
}

/// A peer that runs. It ends with this.
pub(crate) struct Running {
    program: Program,
    /// Where devices connect.
    pub(crate) server: SocketAddr,
    /// What devices have to say to it.
    pub(crate) speech: Speech,
    /// Reads what it costs.
    pub(crate) gauge: Gauge,
}

enum Program {
    Floor(Floor),
    Nchan(Nchan, reqwest::Client),
    Nats {
        publisher: NatsPublisher,
        /// Ends with this.
        _server: Nats,
    },
}

impl Running {
    /// Starts a peer with the certificates of this folder, for so many devices.
    ///
    /// # Errors
    /// When it is missing or does not start.
    pub(crate) async fn start(peer: Peer, pki: &Path, devices: u32) -> anyhow::Result<Self> {
        let tls = TlsFiles {
            certificate: pki.join("server.pem"),
            key: pki.join("server-key.pem"),
            ca: pki.join("ca.pem"),
        };
        // Each worker of nginx may get them all.
        let connections = u64::from(devices) + FILES_KEPT / 2;
        let (program, server, gauge) = match peer {
            Peer::Floor => {
                let floor = Floor::start(pki).await?;
                let (server, gauge) = (floor.device, Gauge::new(floor.pid()?)?);
                (Program::Floor(floor), server, gauge)
            }
            Peer::Nchan => {
                let cores = std::thread::available_parallelism()?.get();
                let nchan = Nchan::start(&tls, cores, connections).await?;
                let (server, gauge) = (nchan.device(), Gauge::of(nchan.pids())?);
                let client = reqwest::Client::builder().timeout(PUBLISH_MAX).build()?;
                (Program::Nchan(nchan, client), server, gauge)
            }
            Peer::Nats => {
                let nats = Nats::start(&tls, connections).await?;
                let (server, gauge) = (nats.device(), Gauge::new(nats.pid())?);
                let publisher = NatsPublisher::connect(nats.client()).await?;
                let program = Program::Nats {
                    publisher,
                    _server: nats,
                };
                (program, server, gauge)
            }
        };
        Ok(Self {
            program,
            server,
            speech: peer.speech(),
            gauge,
        })
    }

    /// Sends one message to every device.
    ///
    /// # Errors
    /// When the server refuses it, or does not answer in time.
    pub(crate) async fn publish(&mut self) -> anyhow::Result<Call> {
        let id = CommandId(Uuid::now_v7());
        let text = message(id);
        let began = monotonic_ns()?;
        match &mut self.program {
            Program::Floor(floor) => floor.send(text).await?,
            Program::Nchan(nchan, client) => {
                let posted = client.post(nchan.publish_url()).body(text).send().await?;
                let status = posted.status();
                ensure!(status.is_success(), "nchan refused a message: {status}");
            }
            Program::Nats { publisher, .. } => publisher.publish(&text).await?,
        }
        Ok(Call {
            id,
            began,
            took: since(monotonic_ns()?, began),
        })
    }

    /// Stops it.
    ///
    /// # Errors
    /// When the system refuses to end it.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        match self.program {
            Program::Floor(floor) => floor.stop().await,
            // They end when they are dropped.
            Program::Nchan(..) | Program::Nats { .. } => Ok(()),
        }
    }
}

/// A message of [`ARGS_BYTES`] bytes that names its id.
fn message(id: CommandId) -> String {
    let mut text = String::with_capacity(ARGS_BYTES);
    // Writing into a String cannot fail.
    let _ = write!(text, "{{\"id\":\"{id}\",\"data\":\"");
    let rest = ARGS_BYTES.saturating_sub(text.len() + 2);
    text.extend(std::iter::repeat_n('x', rest));
    text.push_str("\"}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::CommandHead;

    #[test]
    fn a_message_has_its_size_and_its_id() {
        let id = CommandId(Uuid::now_v7());
        let text = message(id);
        assert_eq!(text.len(), ARGS_BYTES);
        let head: CommandHead = serde_json::from_str(&text).unwrap();
        assert_eq!(head.id, id);
    }
}
