//! Accepts connections on the device port and turns each into a device socket, a download, or a refusal.
//!
//! Rules owned here: absolute deadlines and one permit per connection until it is authenticated; no actor before the identity is
//! admitted; a node that stops accepts nothing more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hub_core::limits::{HANDSHAKES_MAX, SOCKETS_MAX, TLS_HANDSHAKE_MAX};
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::download::DownloadService;
use super::head::{Answer, HeadKind, HeadPolicy, Upgrade, accept, read_head};
use super::prefixed::Prefixed;
use crate::actors::device_socket::Arguments;
use crate::actors::sockets::SocketSupervisors;
use crate::context::{Context, wall_clock};
use crate::identity::verdicts::Verdicts;

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
}

impl Edge {
    /// Accepts until `stop`. Over [`HANDSHAKES_MAX`] the kernel's backlog waits, whose retries are a free back-off.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        loop {
            let accepted = async {
                let permit = handshakes.clone().acquire_owned().await.ok();
                (listener.accept().await, permit)
            };
            let (accepted, permit) = tokio::select! {
                accepted = accepted => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, remote)) => {
                    tokio::spawn(self.clone().serve(stream, remote, permit));
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        remote: SocketAddr,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let _ = stream.set_nodelay(true);
        let handshake = TlsAcceptor::from(self.tls.clone()).accept(stream);
        let mut stream = match timeout(TLS_HANDSHAKE_MAX, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(%remote, %error, "TLS handshake refused"),
            Err(_) => return debug!(%remote, "TLS handshake took too long"),
        };
        let head = read_head(&mut stream, &self.policy).await;
        match &head.kind {
            HeadKind::Upgrade(upgrade) => {
                self.upgrade(stream, upgrade, head.rest().to_vec(), remote, permit)
                    .await
            }
            HeadKind::Download => {
                drop(permit);
                self.download(Prefixed::new(head.replay(), stream), remote)
                    .await;
            }
            HeadKind::Refuse(answer) => refuse(&mut stream, answer, remote).await,
            HeadKind::Gone => {}
        }
    }

    async fn upgrade(
        &self,
        mut stream: TlsStream<TcpStream>,
        upgrade: &Upgrade,
        early: Vec<u8>,
        remote: SocketAddr,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        // Resumption skips the verifier, so every connection is judged here once more.
        let peer = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec);
        let identity = match self.verdicts.admit(peer.as_deref(), wall_clock()).await {
            Ok(identity) => identity,
            Err(denied) => return refuse(&mut stream, &Answer::denied(&denied), remote).await,
        };
        if self.context.sockets.len() >= SOCKETS_MAX as u64 {
            let full = Answer::new(503, "node_full").retry_after(FULL_RETRY);
            return refuse(&mut stream, &full, remote).await;
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
        info!(%remote, org = %identity.org_name, product = %identity.product_name, device = %identity.device_name, "connected");
        let arguments = Arguments {
            stream,
            early,
            identity,
            serializer: upgrade.serializer,
            remote,
            context: self.context.clone(),
        };
        if let Err(error) = self.supervisors.spawn(arguments).await {
            warn!(%remote, %error, "could not start a device socket");
        }
    }

    /// Who downloads needs no certificate, but one that is shown must be the link's own device's.
    async fn download(&self, mut stream: Prefixed<TlsStream<TcpStream>>, remote: SocketAddr) {
        let certificates = stream
            .get_ref()
            .get_ref()
            .1
            .peer_certificates()
            .map(<[_]>::to_vec);
        let peer = match certificates {
            None => None,
            Some(certificates) => {
                match self.verdicts.admit(Some(&certificates), wall_clock()).await {
                    Ok(identity) => Some((identity.org, identity.device)),
                    Err(denied) => {
                        return refuse(&mut stream, &Answer::denied(&denied), remote).await;
                    }
                }
            }
        };
        if let Err(error) = self.downloads.clone().serve_connection(stream, peer).await {
            debug!(%remote, %error, "download ended early");
        }
    }
}

async fn refuse<S: tokio::io::AsyncWrite + Unpin>(
    stream: &mut S,
    answer: &Answer,
    remote: SocketAddr,
) {
    debug!(%remote, status = answer.status, reason = answer.reason, "refused");
    if let Err(error) = answer.write(stream).await {
        debug!(%remote, %error, "refusal not delivered");
    }
}
