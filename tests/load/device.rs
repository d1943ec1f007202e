//! One simulated device: its certificate, its connection, and what it does while it is connected.
//!
//! It is built to cost little, because it shares the machine with what is measured: small buffers, one task, no
//! state but the ref of its last acknowledgement.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use hub_node::pki::Authority;
use hub_proto::id::CommandId;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::gauge::monotonic_ns;
use crate::limits::{ARRIVAL_MAX, HEARTBEAT_EVERY, READ_BUFFER_BYTES, WRITE_BUFFER_BYTES_MAX};
use crate::orders::Note;
use crate::tally::{Tally, tell};
use crate::wire::{self, CommandHead, Heard};

/// What all devices say they run.
const FIRMWARE: &str = "6e0d2ae9-7cd3-5f6b-9d5e-0a1b2c3d4e5f";

/// The name of the device with this number.
pub(crate) fn name(number: u32) -> String {
    format!("load-{number:06}")
}

/// What all devices of a worker share.
pub(crate) struct Kind {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    /// What devices have seen.
    pub(crate) tally: Tally,
    /// Whether acknowledgements are kept back.
    pub(crate) hold: watch::Sender<bool>,
}

impl Kind {
    /// Devices that trust this authority, PEM, for the hub.
    ///
    /// # Errors
    /// When it is no certificate.
    pub(crate) fn new(server_root_pem: &[u8], tally: Tally) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(server_root_pem)?)?;
        Ok(Self {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            roots: Arc::new(roots),
            tally,
            hold: watch::Sender::new(false),
        })
    }
}

/// A device that is not connected.
pub(crate) struct Device {
    name: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// A device that is connected and has joined its own channel.
pub(crate) struct Joined {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    groups: Vec<String>,
}

#[derive(Deserialize)]
struct JoinReply {
    groups: Vec<String>,
}

impl Device {
    /// Makes a device with a certificate of this authority.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub(crate) fn make(
        number: u32,
        authority: &Authority,
        now: OffsetDateTime,
    ) -> anyhow::Result<Self> {
        let name = name(number);
        let issued = authority.device(&name.parse()?, 1, now)?;
        Ok(Self {
            name,
            certificate: CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes())?,
            key: PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes())?,
        })
    }

    /// Connects, upgrades and joins the device channel.
    ///
    /// # Errors
    /// When any of it is refused, or not done in time; the message names the device.
    pub(crate) async fn join(&self, hub: SocketAddr, kind: &Kind) -> anyhow::Result<Joined> {
        match timeout(ARRIVAL_MAX, self.try_join(hub, kind)).await {
            Ok(joined) => joined.with_context(|| format!("{} cannot join", self.name)),
            Err(_) => bail!("{} did not join within {ARRIVAL_MAX:?}", self.name),
        }
    }

    async fn try_join(&self, hub: SocketAddr, kind: &Kind) -> anyhow::Result<Joined> {
        let mut config = ClientConfig::builder_with_provider(kind.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(kind.roots.clone())
            .with_client_auth_cert(vec![self.certificate.clone()], self.key.clone_key())?;
        config.resumption = Resumption::disabled();
        let stream = TcpStream::connect(hub).await.context("connect")?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from("localhost")?, stream)
            .await
            .context("TLS handshake")?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX);
        let url = "wss://localhost/socket/websocket?vsn=2.0.0";
        let (socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config))
            .await
            .context("upgrade")?;
        let mut joined = Joined {
            socket,
            groups: Vec::new(),
        };
        joined.say(wire::join_device(FIRMWARE)).await?;
        let response = joined.answer(wire::DEVICE_REF).await?;
        joined.groups = serde_json::from_str::<JoinReply>(&response)?.groups;
        Ok(joined)
    }
}

impl Joined {
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

    /// Closes, and waits until the hub has, too.
    ///
    /// # Errors
    /// When that takes too long.
    pub(crate) async fn leave(mut self) -> anyhow::Result<()> {
        let farewell = async {
            self.socket.close(None).await?;
            while let Some(Ok(_)) = self.socket.next().await {}
            anyhow::Ok(())
        };
        timeout(ARRIVAL_MAX, farewell)
            .await
            .context("the hub does not close")?
    }

    /// Joins the one group the device is a member of.
    ///
    /// # Errors
    /// When it is a member of none or several, or is refused, or nothing comes in time.
    pub(crate) async fn join_group(&mut self) -> anyhow::Result<()> {
        let [topic] = &self.groups[..] else {
            bail!("the hub named {} groups instead of 1", self.groups.len());
        };
        let join = wire::join_group(topic);
        let joined = async {
            self.say(join).await?;
            self.answer(wire::GROUP_REF).await
        };
        match timeout(ARRIVAL_MAX, joined).await {
            Ok(answer) => answer.map(drop).context("cannot join the group"),
            Err(_) => bail!("the group did not answer within {ARRIVAL_MAX:?}"),
        }
    }

    /// Lives: heartbeats, takes commands, acknowledges them. Returns when the connection is lost.
    ///
    /// # Errors
    /// Always, with why it was lost.
    pub(crate) async fn stay(mut self, kind: Rc<Kind>) -> anyhow::Result<()> {
        let mut hold = kind.hold.subscribe();
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
                _ = beat.tick() => Some(wire::heartbeat()),
                changed = hold.changed() => {
                    changed.context("the worker ends")?;
                    acks.release(*hold.borrow_and_update())
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

/// The acknowledgement of the last command, and where it stands.
#[derive(Default)]
struct Acks {
    /// The command that was seen last, and the ref of its acknowledgement.
    last: Option<(CommandId, u32)>,
    /// The acknowledgement that is kept back.
    held: Option<String>,
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
                    if reply.status != "ok" {
                        bail!("an acknowledgement was refused: {}", reply.response);
                    }
                    kind.tally.acked(id, at);
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
        if *kind.hold.borrow() {
            self.held = Some(ack);
            return Ok(None);
        }
        Ok(Some(ack))
    }

    fn release(&mut self, hold: bool) -> Option<String> {
        if hold { None } else { self.held.take() }
    }
}

/// Refs of acknowledgements are above this, so that none is a join's.
const FIRST_ACK_REF: u32 = 100;
