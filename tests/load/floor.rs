//! The floor: the least that a server can do for a mutual-TLS WebSocket, as a limit to measure others against.
//!
//! One thread, one epoll, rustls, and nothing else: it accepts, shakes hands, answers the upgrade, keeps the socket, and on an
//! order from standard input writes one text message to every socket. It has no joins, no store, no acknowledgements, no deadlines and no
//! bounds on slow readers, so nothing that a user could run costs less. It ends when its orders end.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use anyhow::Context as _;
use clap::Args;
use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};

use crate::limits::{FLOOR_EVENTS_MAX, FLOOR_ORDERS_MAX};
use socket::Socket;

mod frames;
mod socket;

/// What the floor is started with.
#[derive(Debug, Args)]
pub(crate) struct FloorFlags {
    /// Folder with server.pem, server-key.pem and ca.pem, which vouches for clients.
    #[arg(long)]
    pki: PathBuf,
}

/// What the floor is to do: one JSON object a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FloorOrder {
    /// Writes this text to every socket.
    Send(String),
}

/// What the floor has to say: one JSON object a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FloorNote {
    /// It accepts connections here.
    Listening(SocketAddr),
    /// The text was handed to so many sockets.
    Sent(usize),
    /// It cannot go on.
    Failed(String),
}

const LISTENER: Token = Token(0);
const ORDERS: Token = Token(1);
/// Tokens of sockets are their place plus this.
const FIRST_SOCKET: usize = 2;

struct Floor {
    poll: Poll,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    orders: Receiver<FloorOrder>,
    sockets: Vec<Option<Socket>>,
    /// Places of sockets that are gone.
    free: Vec<usize>,
}

/// Serves until the orders end.
///
/// # Errors
/// What stopped it; the measuring process has been told.
pub(crate) fn run(flags: &FloorFlags) -> anyhow::Result<()> {
    let outcome = Floor::listen(flags).and_then(|mut floor| floor.serve());
    if let Err(error) = &outcome {
        say(&FloorNote::Failed(format!("{error:#}")));
    }
    outcome
}

fn say(note: &FloorNote) {
    if let Ok(mut line) = serde_json::to_vec(note) {
        line.push(b'\n');
        let mut out = std::io::stdout().lock();
        // When nobody listens any more, the orders have ended too.
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}

fn tls(pki: &Path) -> anyhow::Result<ServerConfig> {
    let certificate = |file: &str| {
        let path = pki.join(file);
        CertificateDer::from_pem_file(&path)
            .with_context(|| format!("cannot read {}", path.display()))
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")?)?;
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let key = PrivateKeyDer::from_pem_file(pki.join("server-key.pem"))
        .context("cannot read the server's key")?;
    Ok(ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate("server.pem")?], key)?)
}

/// Orders, read by a thread that wakes the poll for each; the end of the orders wakes it, too.
fn orders(waker: Waker) -> Receiver<FloorOrder> {
    let (sender, orders) = sync_channel(FLOOR_ORDERS_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let order = line.ok().and_then(|line| serde_json::from_str(&line).ok());
            if order.is_none_or(|order| sender.send(order).is_err()) || waker.wake().is_err() {
                break;
            }
        }
        drop(sender);
        let _ = waker.wake();
    });
    orders
}

impl Floor {
    fn listen(flags: &FloorFlags) -> anyhow::Result<Self> {
        let tls = Arc::new(tls(&flags.pki)?);
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
        let registry = poll.registry();
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker::new(registry, ORDERS)?;
        say(&FloorNote::Listening(listener.local_addr()?));
        Ok(Self {
            poll,
            listener,
            tls,
            orders: orders(waker),
            sockets: Vec::new(),
            free: Vec::new(),
        })
    }

    fn serve(&mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(FLOOR_EVENTS_MAX);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    ORDERS => {
                        if !self.obey() {
                            return Ok(());
                        }
                    }
                    Token(token) => self.attend(token - FIRST_SOCKET, event),
                }
            }
        }
    }

    fn accept(&mut self) -> anyhow::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot accept"),
            };
            stream.set_nodelay(true)?;
            let place = self.free.pop().unwrap_or_else(|| {
                self.sockets.push(None);
                self.sockets.len() - 1
            });
            self.poll.registry().register(
                &mut stream,
                Token(place + FIRST_SOCKET),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            if let Some(socket) = self.sockets.get_mut(place) {
                *socket = Some(Socket::new(stream, self.tls.clone())?);
            }
        }
    }

    fn attend(&mut self, place: usize, event: &Event) {
        let Some(slot) = self.sockets.get_mut(place) else {
            return;
        };
        let Some(socket) = slot else { return };
        // A socket that fails is a device that is lost, which the device says better than we could.
        let stays = socket.attend(event.is_readable()).unwrap_or(false);
        if !stays {
            // Closing takes it out of the poll.
            *slot = None;
            self.free.push(place);
        }
    }

    /// Carries out the orders that have come; false when there will be no more.
    fn obey(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(FloorOrder::Send(text)) => {
                    let frame = frames::text(&text);
                    let open = self.sockets.iter_mut().flatten();
                    let sent = open.filter_map(|socket| socket.send(&frame).ok());
                    say(&FloorNote::Sent(sent.filter(|sent| *sent).count()));
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }
}
