//! One simulated device on a server that is no hub: it connects, says what that server wants to hear, and counts what it gets.

use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::device::{Device, Kind, Socket};
use crate::gauge::monotonic_ns;
use crate::limits::ARRIVAL_MAX;
use crate::member::{departure, farewell};
use crate::nats_wire::{self, Said, Stream};
use crate::orders::Speech;
use crate::wire::CommandHead;

/// A device that is connected and will get every message.
pub(crate) struct Listener {
    socket: Socket,
    /// What NATS has said so far, if it is NATS.
    nats: Option<Stream>,
}

impl Listener {
    /// Connects a device and has it subscribe.
    ///
    /// # Errors
    /// When any of it is refused, or not done in time; the message names the device.
    pub(crate) async fn subscribe(
        device: &Device,
        server: SocketAddr,
        speech: Speech,
        kind: &Kind,
    ) -> anyhow::Result<Self> {
        let name = &device.name;
        let subscribed = async {
            let (socket, _) = device.upgrade(server, kind, false, None).await?;
            let mut listener = Self { socket, nats: None };
            match speech {
                Speech::Nothing => {}
                Speech::Nats => listener.greet_nats().await?,
            }
            anyhow::Ok(listener)
        };
        match timeout(ARRIVAL_MAX, subscribed).await {
            Ok(listener) => listener.with_context(|| format!("{name} cannot subscribe")),
            Err(_) => bail!("{name} did not subscribe within {ARRIVAL_MAX:?}"),
        }
    }

    /// Subscribes, and waits until the server has taken it: it answers a ping after all that came before.
    async fn greet_nats(&mut self) -> anyhow::Result<()> {
        let mut stream = Stream::default();
        let hello = format!(
            "{}{}{}",
            nats_wire::CONNECT,
            nats_wire::SUBSCRIBE,
            nats_wire::PING
        );
        self.socket.send(Message::Binary(hello.into())).await?;
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Binary(bytes))) => stream.take(&bytes)?,
                Some(Ok(Message::Close(frame))) => bail!("closed by the server: {frame:?}"),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => bail!("the server ended the connection"),
            }
            while let Some(said) = stream.next()? {
                match said {
                    Said::Pong => {
                        self.nats = Some(stream);
                        return Ok(());
                    }
                    Said::Ping => {
                        let pong = Message::Binary(nats_wire::PONG.into());
                        self.socket.send(pong).await?;
                    }
                    Said::Info | Said::Ok | Said::Message(_) => {}
                }
            }
        }
    }

    /// Lives: counts messages. Returns when all are told to depart and it has.
    ///
    /// # Errors
    /// Why the connection was lost.
    pub(crate) async fn stay(mut self, kind: Rc<Kind>) -> anyhow::Result<()> {
        let mut depart = kind.depart.subscribe();
        loop {
            let message = tokio::select! {
                message = self.socket.next() => message,
                departs = departure(&mut depart) => {
                    departs?;
                    return farewell(self.socket).await;
                }
            };
            match message {
                Some(Ok(Message::Text(text))) => count(text.as_bytes(), &kind)?,
                Some(Ok(Message::Binary(bytes))) => self.hear_nats(&bytes, &kind).await?,
                Some(Ok(Message::Close(frame))) => bail!("closed by the server: {frame:?}"),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => bail!("the server ended the connection"),
            }
        }
    }

    async fn hear_nats(&mut self, bytes: &[u8], kind: &Kind) -> anyhow::Result<()> {
        let Some(stream) = &mut self.nats else {
            bail!("the server sent a binary message");
        };
        stream.take(bytes)?;
        let mut asked = false;
        while let Some(said) = stream.next()? {
            match said {
                Said::Message(payload) => count(&payload, kind)?,
                Said::Ping => asked = true,
                Said::Info | Said::Ok | Said::Pong => {}
            }
        }
        if asked {
            let pong = self.socket.send(Message::Binary(nats_wire::PONG.into()));
            timeout(ARRIVAL_MAX, pong)
                .await
                .context("the server does not read")??;
        }
        Ok(())
    }
}

/// Counts one message as delivered.
fn count(payload: &[u8], kind: &Kind) -> anyhow::Result<()> {
    let at = monotonic_ns()?;
    let CommandHead { id } = serde_json::from_slice(payload).context("a message without an id")?;
    kind.tally.delivered(id, at);
    Ok(())
}
