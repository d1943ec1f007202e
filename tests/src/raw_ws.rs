//! A WebSocket client that can say anything: for tests of what a hub does with it.
//!
//! It speaks RFC 6455 by hand, because a well-behaved library refuses to send what these tests must send:
//! unmasked frames, reserved bits, cut messages, half a head. What it receives it takes apart strictly: a
//! server frame that breaks the protocol fails the test. Every read has a deadline.

pub mod channels;
pub mod frame;
mod head;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub use channels::{Dialect, Message};
pub use frame::{Frame, Opcode};
pub use head::{Answer, Upgrade};

use crate::tls::{self, TlsDialer};
use crate::wait;

/// What came from the hub, one WebSocket message or control frame each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A whole text message.
    Text(String),
    /// A whole binary message.
    Binary(Vec<u8>),
    /// A ping; answered already, unless pongs are held back.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame: code (1005 when it held none) and reason.
    Close(u16, String),
    /// The end of the connection. `true` after TLS close_notify, `false` when it was cut.
    End(bool),
}

/// A TLS connection on which anything can be sent.
#[derive(Debug)]
pub struct RawWs {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
    /// A fragmented message of the hub under way: its opcode and what came so far.
    fragments: Option<(Opcode, Vec<u8>)>,
    /// Everything received since the upgrade, in order.
    record: Vec<Received>,
    /// How much of `record` was already taken by [`RawWs::next`] and the `expect_` calls, in order of arrival.
    taken: Vec<bool>,
    dialect: Dialect,
    next_ref: u64,
    hold_pongs: bool,
}

impl RawWs {
    /// Connects with TLS and does not say anything yet.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn dial(dialer: &TlsDialer, address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            stream: dialer.dial(address).await?,
            buffer: BytesMut::new(),
            fragments: None,
            record: Vec::new(),
            taken: Vec::new(),
            dialect: Dialect::V2,
            next_ref: 1,
            hold_pongs: false,
        })
    }

    /// Connects and upgrades on the standard path with `vsn=2.0.0`.
    ///
    /// # Errors
    /// When the handshake or the upgrade is refused; a refused upgrade is an [`Answer`] inside the error.
    pub async fn open(dialer: &TlsDialer, address: SocketAddr) -> anyhow::Result<Self> {
        let mut socket = Self::dial(dialer, address).await?;
        socket.upgrade(&Upgrade::default()).await?;
        Ok(socket)
    }

    /// Asks for the upgrade and reads the answer, whose headers tell which extensions were accepted.
    ///
    /// # Errors
    /// An [`Answer`] when the answer is not 101; others when the answer is not HTTP or never comes.
    pub async fn upgrade(&mut self, request: &Upgrade) -> anyhow::Result<Answer> {
        self.dialect = request.dialect();
        self.send_bytes(&request.to_bytes()).await?;
        let answer = self.read_head().await?;
        answer.accepted(request).map_err(anyhow::Error::from)
    }

    /// Reads the head of an HTTP answer, and the body that its `content-length` announces.
    ///
    /// # Errors
    /// When the connection ends first, the head is over 16 KiB, or the deadline passes.
    pub async fn read_head(&mut self) -> anyhow::Result<Answer> {
        wait::within("the answer to the upgrade", wait::PATIENCE, async {
            loop {
                if let Some(answer) = Answer::parse(&mut self.buffer)? {
                    return Ok(answer);
                }
                if self.fill().await? == 0 {
                    bail!("the connection ended before an HTTP answer");
                }
            }
        })
        .await
    }

    /// This end of the connection.
    ///
    /// # Errors
    /// When it is gone.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.stream.get_ref().0.local_addr()
    }

    /// Whether the TLS session was resumed.
    #[must_use]
    pub fn resumed(&self) -> bool {
        tls::resumed(&self.stream)
    }

    /// Stops (or starts again) answering pings by itself.
    pub fn hold_pongs(&mut self, hold: bool) {
        self.hold_pongs = hold;
    }

    /// Sends bytes as they are, under TLS only.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        wait::within("sending", wait::PATIENCE, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await.context("cannot flush")
        })
        .await
    }

    /// Sends one frame, good or bad.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_frame(&mut self, frame: &Frame) -> anyhow::Result<()> {
        self.send_bytes(&frame.to_bytes()).await
    }

    /// Sends one text message in one honest frame.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_text(&mut self, text: &str) -> anyhow::Result<()> {
        self.send_frame(&Frame::text(text)).await
    }

    /// Everything received since the upgrade, taken or not, in order of arrival.
    #[must_use]
    pub fn record(&self) -> &[Received] {
        &self.record
    }

    /// The oldest thing received that nobody has taken yet, waiting for it if need be.
    ///
    /// # Errors
    /// When nothing comes within the time, or the hub breaks RFC 6455.
    pub async fn next(&mut self, within: Duration) -> anyhow::Result<Received> {
        self.take("anything", within, |_| Some(()))
            .await
            .map(|(received, ())| received)
    }

    /// Waits for a close frame with this code and gives its reason; everything before it stays untaken.
    ///
    /// # Errors
    /// When another code comes, or none within the time.
    pub async fn expect_close(&mut self, code: u16, within: Duration) -> anyhow::Result<String> {
        let what = format!("a close frame with code {code}");
        let (_, (got, reason)) = self
            .take(&what, within, |received| match received {
                Received::Close(code, reason) => Some((*code, reason.clone())),
                Received::Text(_)
                | Received::Binary(_)
                | Received::Ping(_)
                | Received::Pong(_)
                | Received::End(_) => None,
            })
            .await?;
        if got != code {
            bail!("expected {what}, got {got} ({reason})");
        }
        Ok(reason)
    }

    /// Waits for the end of the connection; `true` when TLS was closed properly.
    ///
    /// # Errors
    /// When it stays open past the deadline.
    pub async fn expect_end(&mut self, within: Duration) -> anyhow::Result<bool> {
        let (_, clean) = self
            .take(
                "the end of the connection",
                within,
                |received| match received {
                    Received::End(clean) => Some(*clean),
                    Received::Text(_)
                    | Received::Binary(_)
                    | Received::Ping(_)
                    | Received::Pong(_)
                    | Received::Close(..) => None,
                },
            )
            .await?;
        Ok(clean)
    }

    /// Takes the oldest untaken thing that `pick` wants, reading on until there is one.
    ///
    /// # Errors
    /// When the connection ends or the time passes first; the message holds what came instead.
    pub async fn take<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut pick: impl FnMut(&Received) -> Option<T>,
    ) -> anyhow::Result<(Received, T)> {
        let mut at = 0;
        let found = wait::within(what, within, async {
            loop {
                while at < self.record.len() {
                    if !self.taken[at]
                        && let Some(wanted) = pick(&self.record[at])
                    {
                        self.taken[at] = true;
                        return Ok((self.record[at].clone(), wanted));
                    }
                    at += 1;
                }
                if let Some(Received::End(_)) = self.record.last() {
                    bail!("the connection ended first");
                }
                self.receive().await?;
            }
        })
        .await;
        found.with_context(|| format!("received so far: {:?}", self.record))
    }

    /// Reads until one more thing is in the record.
    async fn receive(&mut self) -> anyhow::Result<()> {
        loop {
            if let Some(frame) = Frame::parse_from_hub(&mut self.buffer)? {
                if let Some(received) = self.assemble(frame)? {
                    if let (Received::Ping(payload), false) = (&received, self.hold_pongs) {
                        let pong = Frame::new(Opcode::Pong, payload.clone());
                        // The hub may be gone already; the record will show its end.
                        let _ = self.send_frame(&pong).await;
                    }
                    self.note(received);
                    return Ok(());
                }
                continue;
            }
            let clean = match self.fill().await {
                Ok(0) => true,
                Ok(_) => continue,
                Err(_) => false,
            };
            self.note(Received::End(clean));
            return Ok(());
        }
    }

    fn note(&mut self, received: Received) {
        self.record.push(received);
        self.taken.push(false);
    }

    /// Joins fragments and checks what RFC 6455 demands of a server.
    fn assemble(&mut self, frame: Frame) -> anyhow::Result<Option<Received>> {
        let whole = match (frame.opcode, self.fragments.take()) {
            (Opcode::Ping, under_way) => {
                self.fragments = under_way;
                return Ok(Some(Received::Ping(frame.payload)));
            }
            (Opcode::Pong, under_way) => {
                self.fragments = under_way;
                return Ok(Some(Received::Pong(frame.payload)));
            }
            (Opcode::Close, _) => {
                let (code, reason) = frame.close_parts()?;
                return Ok(Some(Received::Close(code, reason)));
            }
            (Opcode::Continuation, Some((opcode, mut start))) => {
                start.extend_from_slice(&frame.payload);
                (opcode, start)
            }
            (Opcode::Text | Opcode::Binary, None) => (frame.opcode, frame.payload),
            (opcode, under_way) => bail!("{opcode:?} frame while {under_way:?} is under way"),
        };
        if !frame.fin {
            self.fragments = Some(whole);
            return Ok(None);
        }
        Ok(Some(match whole {
            (Opcode::Text, payload) => Received::Text(String::from_utf8(payload)?),
            (_, payload) => Received::Binary(payload),
        }))
    }

    /// Reads what is there into the buffer; 0 is the end.
    async fn fill(&mut self) -> std::io::Result<usize> {
        self.buffer.reserve(4096);
        self.stream.read_buf(&mut self.buffer).await
    }
}
