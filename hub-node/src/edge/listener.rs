//! Accepts connections on the device port and turns each into a device socket, a download, or a refusal.
//!
//! Rules owned here: absolute deadlines and one permit per connection until it is authenticated; no actor before the identity is
//! admitted; a node that stops accepts nothing more, and breaks off handshakes and downloads, which are resumed elsewhere.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hub_core::admission::Admission;
use hub_core::level::Refusal;
use hub_core::limits::ADMISSION_WAIT_MAX;
use hub_core::limits::{KERNEL_UNSENT_BYTES_MAX, SOCKETS_MAX, TLS_HANDSHAKE_MAX};
use rustls::ServerConfig;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::download::DownloadService;
use super::head::{Answer, HeadKind, HeadPolicy, Upgrade, accept, read_head};
use super::judge::{Judged, judge};
use super::prefixed::Prefixed;
use super::proxy::ProxySources;
use super::tls_stream::TlsStream;
use crate::actors::device_socket::Arguments;
use crate::actors::sockets::SocketSupervisors;
use crate::context::{Context, wall_clock};
use crate::identity::admission::Denied;
use crate::identity::verdicts::Verdicts;
use crate::store::records::Identity;

/// Pause after `accept` failed, which happens when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// When a device should come back that found the node full.
const FULL_RETRY: Duration = Duration::from_secs(30);

/// Everything a new connection needs.
pub(crate) struct Edge {
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) policy: HeadPolicy,
    pub(crate) verdicts: Arc<Verdicts>,
    pub(crate) supervisors: Arc<SocketSupervisors>,
    pub(crate) downloads: Arc<DownloadService>,
    pub(crate) context: Arc<Context>,
    pub(crate) handshakes: Arc<Semaphore>,
    pub(crate) admission: Gate,
}

/// What is in front of a listener.
#[derive(Clone)]
pub(crate) enum Front {
    /// Nothing: the peer is the device.
    Direct,
    /// A load balancer that says whose connection it is.
    Proxy(Arc<ProxySources>),
}

/// A connection, whose it is, and its place among the handshakes.
type Accepted = (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>);

/// The rate of handshakes, shared by all listeners.
pub(crate) struct Gate(Mutex<Admission>);

impl Gate {
    pub(crate) fn new(per_second: u32) -> Self {
        Self(Mutex::new(Admission::new(per_second, Instant::now())))
    }

    /// Waits until a handshake may begin; false at once when that is more than `most` away.
    async fn wait(&self, most: Duration) -> bool {
        loop {
            let wait = self.lock().wait(Instant::now());
            if wait.is_zero() {
                return true;
            }
            if wait > most {
                return false;
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Handshakes that are taken a second from now on.
    pub(crate) fn pace(&self, per_second: u32) {
        self.lock().pace(per_second);
    }

    fn take(&self) {
        self.lock().take(Instant::now());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Admission> {
        // A panic elsewhere cannot leave the bucket half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Edge {
    /// Accepts until `accepting` is cancelled; what is not a socket's actor yet ends with `stop`. Over `HANDSHAKES_MAX`, and
    /// over the rate of handshakes, the kernel's backlog waits, whose retries are a free back-off.
    pub(crate) async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        front: Front,
        accepting: CancellationToken,
        stop: CancellationToken,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&listener, &front) => accepted,
                () = accepting.cancelled() => return,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, remote, permit)) => {
                    let serve = self.clone().serve(stream, remote, front.clone(), permit);
                    tokio::spawn(stop.clone().run_until_cancelled_owned(serve));
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn accept(&self, listener: &TcpListener, front: &Front) -> io::Result<Accepted> {
        let permit = self.handshakes.clone().acquire_owned().await.ok();
        if matches!(front, Front::Direct) {
            // Before `accept`: who waits, waits in the backlog, and costs nothing here.
            self.admission.wait(Duration::MAX).await;
        }
        let (stream, remote) = listener.accept().await?;
        if matches!(front, Front::Direct) {
            self.admission.take();
        }
        Ok((stream, remote, permit))
    }

    async fn serve(
        self: Arc<Self>,
        mut stream: TcpStream,
        mut remote: SocketAddr,
        front: Front,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let _ = stream.set_nodelay(true);
        bound_unsent(&stream);
        if let Front::Proxy(sources) = front {
            match sources.read(&mut stream, remote).await {
                Ok(Some(device)) => remote = device,
                Ok(None) => return,
                Err(fault) => {
                    self.context.metrics.rejected("proxy");
                    return info!(%remote, %fault, "closed a connection of no load balancer of ours");
                }
            }
            // The balancer has connected already, and only a handshake could say "later": who would wait for long is closed, and
            // comes back by its own back-off.
            if !self.admission.wait(ADMISSION_WAIT_MAX).await {
                self.context.metrics.rejected("too_many_handshakes");
                return debug!(%remote, "too many handshakes");
            }
            self.admission.take();
        }
        let Some((mut stream, judged)) = self.handshake(stream, remote).await else {
            return;
        };
        let head = read_head(&mut stream, &self.policy).await;
        match &head.kind {
            HeadKind::Upgrade(upgrade) => {
                let early = head.rest().to_vec();
                self.upgrade(stream, judged, upgrade, early, remote, permit)
                    .await
            }
            HeadKind::Download => {
                drop(permit);
                self.download(Prefixed::new(head.replay(), stream), judged, remote)
                    .await;
            }
            HeadKind::Refuse(answer) => self.refuse(&mut stream, answer, remote).await,
            HeadKind::Gone => {}
        }
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> Option<(TlsStream, Judged)> {
        let begun = Instant::now();
        let handshake = TlsStream::accept(self.tls.clone(), stream);
        let (outcome, made) = match timeout(TLS_HANDSHAKE_MAX, handshake).await {
            Ok(Ok(opening)) => match judge(opening, &self.verdicts, wall_clock()).await {
                Some(made) => ("ok", Some(made)),
                None => {
                    debug!(%remote, "refused in the handshake, or gone");
                    ("refused", None)
                }
            },
            Ok(Err(error)) => {
                debug!(%remote, %error, "TLS handshake refused");
                ("refused", None)
            }
            Err(_) => {
                debug!(%remote, "TLS handshake took too long");
                ("timeout", None)
            }
        };
        let metrics = &self.context.metrics;
        metrics.handshake(outcome, begun.elapsed());
        if made.is_none() {
            metrics.rejected("tls");
        }
        made
    }

    async fn upgrade(
        &self,
        mut stream: TlsStream,
        judged: Judged,
        upgrade: &Upgrade,
        early: Vec<u8>,
        remote: SocketAddr,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let identity = match self.admit(&stream, judged).await {
            Ok(Some(identity)) => identity,
            Ok(None) => {
                let denied = Denied::Refused(Refusal::NoCertificate);
                return self
                    .refuse(&mut stream, &Answer::denied(&denied), remote)
                    .await;
            }
            Err(denied) => {
                return self
                    .refuse(&mut stream, &Answer::denied(&denied), remote)
                    .await;
            }
        };
        if self.context.sockets.len() >= SOCKETS_MAX as u64 {
            let full = Answer::new(503, "node_full").retry_after(FULL_RETRY);
            return self.refuse(&mut stream, &full, remote).await;
        }
        let response = accept(upgrade);
        let written = async {
            stream.write_all(&response).await?;
            stream.flush().await
        };
        if !matches!(timeout(TLS_HANDSHAKE_MAX, written).await, Ok(Ok(()))) {
            return debug!(%remote, "gone before the upgrade was answered");
        }
        drop(permit);
        self.context.metrics.connected(stream.is_resumed());
        info!(%remote, org = %identity.org_name, product = %identity.product_name, device = %identity.device_name, "connected");
        let issued = self.verdicts.issued(stream.peer_certificates());
        let arguments = Arguments {
            stream,
            early,
            identity,
            issued,
            serializer: upgrade.serializer,
            remote,
            context: self.context.clone(),
        };
        if let Err(error) = self.supervisors.spawn(arguments).await {
            warn!(%remote, %error, "could not start a device socket");
        }
    }

    async fn refuse<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        answer: &Answer,
        remote: SocketAddr,
    ) {
        debug!(%remote, status = answer.status, reason = answer.reason, "refused");
        self.context.metrics.rejected(answer.reason);
        if let Err(error) = answer.write(stream).await {
            debug!(%remote, %error, "refusal not delivered");
        }
    }

    /// Who downloads needs no certificate, but one that is shown must be the link's own device's.
    async fn download(&self, mut stream: Prefixed<TlsStream>, judged: Judged, remote: SocketAddr) {
        let peer = match self.admit(stream.get_ref(), judged).await {
            Ok(identity) => identity.map(|identity| (identity.org, identity.device)),
            Err(denied) => {
                return self
                    .refuse(&mut stream, &Answer::denied(&denied), remote)
                    .await;
            }
        };
        if let Err(error) = self.downloads.clone().serve_connection(stream, peer).await {
            debug!(%remote, %error, "download ended early");
        }
    }

    /// Who the peer is; nobody when it presented no certificate.
    async fn admit(&self, stream: &TlsStream, judged: Judged) -> Result<Option<Identity>, Denied> {
        let Some(caller) = judged? else {
            return Ok(None);
        };
        let chain = stream.peer_certificates().unwrap_or_default();
        self.verdicts
            .admit(caller, chain, wall_clock())
            .await
            .map(Some)
    }
}

/// Keeps what a peer does not read in the outbox, where it is counted, instead of in the kernel.
#[cfg(target_os = "linux")]
fn bound_unsent(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    if let Err(error) = socket.set_tcp_notsent_lowat(KERNEL_UNSENT_BYTES_MAX) {
        debug!(%error, "unsent data of a connection is not bounded");
    }
}

/// Other systems are for development: their default stays.
#[cfg(not(target_os = "linux"))]
fn bound_unsent(_: &TcpStream) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn case_52_the_kernel_takes_little_for_a_peer_that_does_not_read() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let deaf = tokio::net::TcpSocket::new_v4().unwrap();
        deaf.set_recv_buffer_size(4096).unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, deaf) = tokio::join!(listener.accept(), deaf.connect(address));
        let ((stream, _), _deaf) = (accepted.unwrap(), deaf.unwrap());
        bound_unsent(&stream);
        stream.writable().await.unwrap();
        let mut taken = 0;
        while let Ok(bytes) = stream.try_write(&[0; 16 * 1024]) {
            taken += bytes;
            assert!(taken < 8 * KERNEL_UNSENT_BYTES_MAX as usize, "{taken}");
        }
        assert!(taken > 0);
    }
}
