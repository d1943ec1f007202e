//! Serves the operators' API, plain or over TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::serve::Listener;
use hub_core::limits::TLS_HANDSHAKE_MAX;
use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::server_certificate::{ServerCertificate, ServerFiles};

/// Connections that finished their TLS handshake and wait to be served.
const READY_MAX: usize = 64;
/// Pause after `accept` failed, which happens when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop`; open calls are finished first. Plain without a configuration of TLS.
///
/// # Errors
/// A listener that is gone.
pub(crate) fn start(
    tasks: &mut JoinSet<()>,
    listener: TcpListener,
    router: Router,
    tls: Option<ServerConfig>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if let Some(config) = tls {
        return start_with(tasks, listener, router, config, stop);
    }
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    tasks.spawn(async move { report(served.await) });
    Ok(())
}

/// TLS of the API with a certificate that can be read again.
///
/// # Errors
/// Files that cannot be used.
pub(crate) fn tls(files: ServerFiles) -> anyhow::Result<(Arc<ServerCertificate>, ServerConfig)> {
    let builder = ServerConfig::builder();
    let certificate = ServerCertificate::load(files, builder.crypto_provider().clone())
        .context("api_certificate, api_key")?;
    let certificate = Arc::new(certificate);
    let resolver = Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>;
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((certificate, config))
}

/// Serves over TLS until `stop`; open calls are finished first.
///
/// # Errors
/// A listener that is gone.
pub(crate) fn start_with(
    tasks: &mut JoinSet<()>,
    listener: TcpListener,
    router: Router,
    config: ServerConfig,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = TlsListener::start(
        listener,
        TlsAcceptor::from(Arc::new(config)),
        stop.clone(),
        tasks,
    )?;
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    tasks.spawn(async move { report(served.await) });
    Ok(())
}

fn report(served: io::Result<()>) {
    if let Err(error) = served {
        warn!(%error, "the API listener ended");
    }
}

/// Hands out connections whose TLS handshake is done, so that one slow peer does not keep others waiting.
struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    local: SocketAddr,
}

impl TlsListener {
    fn start(
        listener: TcpListener,
        acceptor: TlsAcceptor,
        stop: CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<Self> {
        let local = listener.local_addr()?;
        let (done, ready) = mpsc::channel(READY_MAX);
        tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stop.cancelled() => return,
                };
                let Ok((stream, remote)) = accepted else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let Ok(permit) = done.clone().reserve_owned().await else {
                    return;
                };
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    match tokio::time::timeout(TLS_HANDSHAKE_MAX, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => drop(permit.send((stream, remote))),
                        Ok(Err(error)) => {
                            debug!(%remote, %error, "TLS handshake with the API failed")
                        }
                        Err(_) => debug!(%remote, "TLS handshake with the API took too long"),
                    }
                });
            }
        });
        Ok(Self { ready, local })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            // Stopping: the graceful shutdown ends the wait.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}
