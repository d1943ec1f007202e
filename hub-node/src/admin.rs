//! The probes: what an orchestrator and a load balancer ask a node, on a port of their own, in plain HTTP.
//!
//! - `/startupz`: 200 once the node has started.
//! - `/livez`: 200 while the process answers at all; a node that does not is to be restarted.
//! - `/readyz`: 200 while devices may be sent here, 404 while the node drains (HAProxy then keeps what is connected and sends nobody
//!   new), 503 when it is broken. The body says how database and bus are, whatever the status.
//! - `/metrics`: what the node counts, as text of Prometheus or OpenMetrics.
//! - `POST /reload`: takes what changed in the configuration and in the files of certificates, as SIGHUP does; the body says what.
//! - `POST /drain`: sends the devices away as SIGTERM does, without ending the process.
//!
//! A database or a bus that is away makes no node unready: all nodes would be, and devices hold their sockets meanwhile.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use hub_core::bus_health::BusState;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::database::Database;
use crate::reload::Reloaded;
use crate::routing::Sockets;
use crate::store::cluster::NodeRun;
use crate::telemetry::scrape::{Format, Scrape};

/// What a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not listening yet.
    Starting,
    /// Serving.
    Ready,
    /// Sending its devices away, since then.
    Draining(Instant),
}

/// What the probes look at.
#[derive(Clone)]
pub(crate) struct Probes {
    pub(crate) node: Arc<str>,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Why devices must not be sent here, if so.
    pub(crate) isolated: watch::Receiver<bool>,
    pub(crate) database: Database,
    pub(crate) bus: watch::Receiver<BusState>,
    pub(crate) sockets: Arc<Sockets>,
    /// The other nodes that hold a lease.
    pub(crate) others: watch::Receiver<Arc<[NodeRun]>>,
    /// Somebody asked for a drain.
    pub(crate) drain: Arc<Notify>,
    /// To whoever knows where the configuration is.
    pub(crate) reload: mpsc::Sender<ReloadAsked>,
}

/// Where somebody waits to hear what became of a reload, or what is wrong with the configuration.
pub(crate) type ReloadAsked = oneshot::Sender<Result<Reloaded, Vec<String>>>;

impl Probes {
    /// What the node is doing, in one word.
    pub(crate) fn state(&self) -> &'static str {
        match *self.phase.borrow() {
            Phase::Starting => "starting",
            Phase::Draining(_) => "draining",
            Phase::Ready if *self.isolated.borrow() => "isolated",
            Phase::Ready => "ready",
        }
    }
}

/// Serves the probes until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    probes: Probes,
    scrape: Scrape,
    stop: CancellationToken,
) {
    let router = Router::new()
        .route("/startupz", get(startup))
        .route("/livez", get(async || Json(json!({ "status": "alive" }))))
        .route("/readyz", get(ready))
        .route("/drain", post(drain))
        .route("/reload", post(reload))
        .with_state(probes)
        .route("/metrics", get(metrics).with_state(scrape));
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        warn!(%error, "the listener of the probes ended");
    }
}

async fn startup(State(probes): State<Probes>) -> Response {
    let started = *probes.phase.borrow() != Phase::Starting;
    if started {
        Json(json!({ "status": "started" })).into_response()
    } else {
        let starting = Json(json!({ "status": "starting" }));
        (StatusCode::SERVICE_UNAVAILABLE, starting).into_response()
    }
}

async fn ready(State(probes): State<Probes>) -> Response {
    let (phase, word) = (*probes.phase.borrow(), probes.state());
    let status = match word {
        "ready" => StatusCode::OK,
        "draining" => StatusCode::NOT_FOUND,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let now = Instant::now();
    let bus = probes.bus.borrow().clone();
    let mut body = json!({
        "status": word,
        "node": &*probes.node,
        "sockets": probes.sockets.len(),
        "other_nodes": probes.others.borrow().len(),
        "database": {
            "state": if probes.database.is_away() { "away" } else { "here" },
            "away_s": probes.database.away_for(now).as_secs(),
        },
        "bus": { "state": bus.name(), "reason": bus.reason() },
    });
    if let (Phase::Draining(since), Some(body)) = (phase, body.as_object_mut()) {
        let seconds = now.saturating_duration_since(since).as_secs();
        body.insert("draining_s".into(), seconds.into());
    }
    (status, Json(body)).into_response()
}

async fn metrics(State(scrape): State<Scrape>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    // It reads files of the kernel, so it must not hold up whoever serves sockets.
    match tokio::task::spawn_blocking(move || scrape.text(format)).await {
        Ok(text) => ([(CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => {
            warn!(%error, "a scrape failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn drain(State(probes): State<Probes>) -> Response {
    probes.drain.notify_one();
    let body = Json(json!({ "status": "draining", "sockets": probes.sockets.len() }));
    (StatusCode::ACCEPTED, body).into_response()
}

async fn reload(State(probes): State<Probes>) -> Response {
    let (answer, answered) = oneshot::channel();
    let outcome = match probes.reload.try_send(answer) {
        Ok(()) => answered.await.ok(),
        Err(_) => None,
    };
    match outcome {
        Some(Ok(reloaded)) if reloaded.problems.is_empty() => Json(reloaded).into_response(),
        Some(Ok(reloaded)) => (StatusCode::UNPROCESSABLE_ENTITY, Json(reloaded)).into_response(),
        Some(Err(problems)) => {
            let body = Json(json!({ "problems": problems }));
            (StatusCode::UNPROCESSABLE_ENTITY, body).into_response()
        }
        None => {
            let body =
                Json(json!({ "problems": ["another reload is under way, or the node stops"] }));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}
