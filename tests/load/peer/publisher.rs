//! A client of NATS over plain TCP that publishes.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits::{PUBLISH_MAX, READ_BUFFER_BYTES};
use crate::nats_wire::{self, Said, Stream};

/// A connection that publishes to the one subject.
pub(super) struct NatsPublisher {
    socket: TcpStream,
    stream: Stream,
}

impl NatsPublisher {
    /// Connects.
    ///
    /// # Errors
    /// When the server refuses, or does not answer in time.
    pub(super) async fn connect(server: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(server)
            .await
            .context("connect to NATS")?;
        socket.set_nodelay(true)?;
        let mut publisher = Self {
            socket,
            stream: Stream::default(),
        };
        let hello = format!("{}{}", nats_wire::CONNECT, nats_wire::PING);
        publisher.say(&hello).await?;
        Ok(publisher)
    }

    /// Publishes, and waits until the server has taken it.
    ///
    /// # Errors
    /// As [`NatsPublisher::connect`].
    pub(super) async fn publish(&mut self, text: &str) -> anyhow::Result<()> {
        self.say(&nats_wire::publish(text)).await
    }

    /// Says something that ends with a ping, and waits for the pong.
    async fn say(&mut self, text: &str) -> anyhow::Result<()> {
        let taken = async {
            self.socket.write_all(text.as_bytes()).await?;
            let mut buffer = [0; READ_BUFFER_BYTES];
            loop {
                while let Some(said) = self.stream.next()? {
                    match said {
                        Said::Pong => return anyhow::Ok(()),
                        Said::Ping => self.socket.write_all(nats_wire::PONG.as_bytes()).await?,
                        Said::Info | Said::Ok | Said::Message(_) => {}
                    }
                }
                let count = self.socket.read(&mut buffer).await?;
                if count == 0 {
                    bail!("NATS ended the publisher's connection");
                }
                self.stream.take(buffer.get(..count).unwrap_or_default())?;
            }
        };
        timeout(PUBLISH_MAX, taken)
            .await
            .context("NATS does not answer")?
    }
}
