//! One simulated device on a hub: what it does while it is connected. Its only state is the ref of its last acknowledgement.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use hub_proto::id::CommandId;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::device::{Device, Kind, Socket};
use crate::gauge::monotonic_ns;
use crate::limits::{ARRIVAL_MAX, HEARTBEAT_EVERY};
use crate::orders::Note;
use crate::tally::tell;
use crate::wire::{self, CommandHead, Heard};

/// What all devices say they run.
const FIRMWARE: &str = "6e0d2ae9-7cd3-5f6b-9d5e-0a1b2c3d4e5f";

/// A device that is connected and has joined its own channel.
pub(crate) struct Joined {
    socket: Socket,
    groups: Vec<String>,
    /// Whether it resumed a TLS session.
    pub(crate) resumed: bool,
}

#[derive(Deserialize)]
struct JoinReply {
    groups: Vec<String>,
}

/// The hub cannot commit something now.
#[derive(Deserialize)]
struct Refusal {
    retry_after_ms: u64,
}

impl Joined {
    /// Connects a device, upgrades and joins its channel.
    ///
    /// # Errors
    /// When any of it is refused, or not done in time; the message names the device.
    pub(crate) async fn join(
        device: &Device,
        hub: SocketAddr,
        kind: &Kind,
        resume: bool,
    ) -> anyhow::Result<Self> {
        Self::join_within(device, hub, kind, resume, None).await
    }

    /// The same with a window of so many bytes.
    ///
    /// # Errors
    /// As [`Joined::join`].
    pub(crate) async fn join_within(
        device: &Device,
        hub: SocketAddr,
        kind: &Kind,
        resume: bool,
        window: Option<u32>,
    ) -> anyhow::Result<Self> {
        let name = &device.name;
        match timeout(
            ARRIVAL_MAX,
            Self::try_join(device, hub, kind, resume, window),
        )
        .await
        {
            Ok(joined) => joined.with_context(|| format!("{name} cannot join")),
            Err(_) => bail!("{name} did not join within {ARRIVAL_MAX:?}"),
        }
    }

    async fn try_join(
        device: &Device,
        hub: SocketAddr,
        kind: &Kind,
        resume: bool,
        window: Option<u32>,
    ) -> anyhow::Result<Self> {
        let (socket, resumed) = device.upgrade(hub, kind, resume, window).await?;
        let mut joined = Self {
            socket,
            groups: Vec::new(),
            resumed,
        };
        joined.say(wire::join_device(FIRMWARE)).await?;
        let response = joined.answer(wire::DEVICE_REF).await?;
        joined.groups = serde_json::from_str::<JoinReply>(&response)?.groups;
        Ok(joined)
    }

    async fn say(&mut self, text: String) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::Text(text.into())).await?)
    }

    /// Waits for the reply to a join and gives its response.
    async fn answer(&mut self, reference: &str) -> anyhow::Result<String> {
        loop {
            let text = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(frame))) => bail!("closed at join: {frame:?}"),
                Some(Ok(
                    Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
                )) => continue,
                Some(Err(error)) => return Err(error.into()),
                None => bail!("the connection ended at join"),
            };
            let heard = Heard::read(&text)?;
            if let Some(reply) = heard.reply_to(reference) {
                if reply.status == "ok" {
                    return Ok(reply.response.get().to_owned());
                }
                bail!("join refused: {}", reply.response);
            }
        }
    }

    /// The bare connection.
    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Closes, and waits until the hub has, too.
    ///
    /// # Errors
    /// When that takes too long.
    pub(crate) async fn leave(self) -> anyhow::Result<()> {
        farewell(self.socket).await
    }

    /// Joins the one group the device is a member of.
    ///
    /// # Errors
    /// When it is a member of none or several, or is refused, or nothing comes in time.
    pub(crate) async fn join_group(&mut self) -> anyhow::Result<()> {
        let joined = async {
            self.ask_group().await?;
            self.answer(wire::GROUP_REF).await
        };
        match timeout(ARRIVAL_MAX, joined).await {
            Ok(answer) => answer.map(drop).context("cannot join the group"),
            Err(_) => bail!("the group did not answer within {ARRIVAL_MAX:?}"),
        }
    }

    /// The same without reading the answer, or anything else.
    ///
    /// # Errors
    /// When it is a member of none or several, or the connection is over.
    pub(crate) async fn ask_group(&mut self) -> anyhow::Result<()> {
        let [topic] = &self.groups[..] else {
            bail!("the hub named {} groups instead of 1", self.groups.len());
        };
        let join = wire::join_group(topic);
        self.say(join).await
    }

    /// Lives: heartbeats, takes commands, acknowledges them. Returns when all are told to depart and it has.
    ///
    /// # Errors
    /// Why the connection was lost.
    pub(crate) async fn stay(mut self, kind: Rc<Kind>) -> anyhow::Result<()> {
        let (mut hold, mut depart) = (kind.hold.subscribe(), kind.depart.subscribe());
        // Devices that came together must not beat together.
        let first = HEARTBEAT_EVERY.mul_f64(rand::random());
        let mut beat = interval_at(Instant::now() + first, HEARTBEAT_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut acks = Acks::default();
        loop {
            let due = tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => acks.hear(&text, &kind)?,
                    Some(Ok(Message::Close(frame))) => bail!("closed by the hub: {frame:?}"),
                    Some(Ok(_)) => None,
                    Some(Err(error)) => return Err(error.into()),
                    None => bail!("the hub ended the connection"),
                },
                departs = departure(&mut depart) => {
                    departs?;
                    return self.leave().await;
                }
                _ = beat.tick() => Some(wire::heartbeat()),
                changed = hold.changed() => {
                    changed.context("the worker ends")?;
                    acks.release(*hold.borrow_and_update())
                }
                () = sleep_until(acks.again.unwrap_or_else(Instant::now)), if acks.again.is_some() => {
                    acks.again = None;
                    acks.said.clone()
                }
            };
            if let Some(text) = due {
                timeout(ARRIVAL_MAX, self.say(text))
                    .await
                    .context("the hub does not read")??;
            }
        }
    }
}

/// Waits until all are told to depart.
///
/// # Errors
/// When the worker ends.
pub(crate) async fn departure(depart: &mut watch::Receiver<bool>) -> anyhow::Result<()> {
    let told = depart.wait_for(|depart| *depart).await;
    told.map(drop).context("the worker ends")
}

/// Closes, and waits until the server has, too.
///
/// # Errors
/// When that takes too long.
pub(crate) async fn farewell(mut socket: Socket) -> anyhow::Result<()> {
    let farewell = async {
        socket.close(None).await?;
        while let Some(Ok(_)) = socket.next().await {}
        anyhow::Ok(())
    };
    timeout(ARRIVAL_MAX, farewell)
        .await
        .context("the server does not close")?
}

/// The acknowledgement of the last command, and where it stands.
#[derive(Default)]
struct Acks {
    /// The command that was seen last, and the ref of its acknowledgement.
    last: Option<(CommandId, u32)>,
    /// The acknowledgement of it.
    said: Option<String>,
    /// Whether it is kept back.
    held: bool,
    /// When a refused one is said again, as the hub asked for.
    again: Option<Instant>,
    /// The ref used last; above those of the joins.
    reference: u32,
}

impl Acks {
    /// Takes a message of the hub and gives what is to be said now.
    fn hear(&mut self, text: &str, kind: &Kind) -> anyhow::Result<Option<String>> {
        let at = monotonic_ns()?;
        let heard = Heard::read(text)?;
        match &*heard.3 {
            "phx_reply" => {
                let Some((id, reference)) = self.last else {
                    return Ok(None);
                };
                if let Some(reply) = heard.reply_to(&reference.to_string()) {
                    if reply.status == "ok" {
                        kind.tally.acked(id, at);
                    } else {
                        let refusal: Refusal = serde_json::from_str(reply.response.get())
                            .with_context(|| {
                                format!("an acknowledgement was refused: {}", reply.response)
                            })?;
                        tell(&Note::Refused);
                        let after = Duration::from_millis(refusal.retry_after_ms);
                        self.again = Some(Instant::now() + after);
                    }
                }
                Ok(None)
            }
            event if event.starts_with("phx_") => bail!("the hub said {event}"),
            _ => self.command(&heard, at, kind),
        }
    }

    fn command(
        &mut self,
        heard: &Heard<'_>,
        at: u64,
        kind: &Kind,
    ) -> anyhow::Result<Option<String>> {
        let CommandHead { id } = serde_json::from_str(heard.4.get())
            .with_context(|| format!("not a command: {}", heard.3))?;
        if self.last.is_some_and(|(last, _)| last == id) {
            tell(&Note::Repeated);
        } else {
            kind.tally.delivered(id, at);
        }
        self.reference = self.reference.max(FIRST_ACK_REF) + 1;
        self.last = Some((id, self.reference));
        let join_ref = heard.0.as_deref().unwrap_or(wire::GROUP_REF);
        let ack = wire::ack(self.reference, join_ref, &heard.2, id);
        self.said = Some(ack);
        self.again = None;
        self.held = *kind.hold.borrow();
        Ok(self.said.clone().filter(|_| !self.held))
    }

    fn release(&mut self, hold: bool) -> Option<String> {
        if hold || !self.held {
            return None;
        }
        self.held = false;
        self.said.clone()
    }
}

/// Refs of acknowledgements are above this, so that none is a join's.
const FIRST_ACK_REF: u32 = 100;
