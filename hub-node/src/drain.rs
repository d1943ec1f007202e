//! How a node sends its devices away.
//!
//! Owns the order: say that the node is not ready and go on accepting, until load balancers have noticed; accept nobody; then tell
//! one device after the other, in random order and evenly over a window, to come back elsewhere, so that the other nodes are
//! not met by all at once. Whoever cuts it short cuts the waiting and not the goodbyes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hub_core::limits::{DRAIN_TICK, RECONNECT_SPREAD, STOP_MAX};
use rand::seq::SliceRandom as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::actors::device_socket::Message;
use crate::config::Config;
use crate::routing::{SocketHandle, Sockets};

/// How often a stopping node tells its sockets again.
const GOODBYE_EVERY: Duration = Duration::from_millis(500);
/// How often it looks whether they are gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The two waits of a drain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Until load balancers have noticed.
    pub(crate) grace: Duration,
    /// Over which devices are sent away.
    pub(crate) window: Duration,
}

impl Pace {
    /// What a configuration wants.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            grace: Duration::from_secs(config.lb_grace_s.into()),
            window: Duration::from_secs(config.drain_window_s.into()),
        }
    }
}

/// Drains: waits, stops accepting, and sends every device away at the given pace. Returns when all are gone; dropped, it leaves
/// the rest to [`at_once`].
pub(crate) async fn paced(sockets: &Arc<Sockets>, pace: Pace, accepting: &CancellationToken) {
    info!(
        sockets = sockets.len(),
        grace_s = pace.grace.as_secs(),
        "draining"
    );
    tokio::time::sleep(pace.grace).await;
    accepting.cancel();
    send_away(sockets, pace.window).await;
    // those that came while the last ones were told
    at_once(sockets).await;
}

/// Sends the devices of a node away that is cut off from the database, each time it is; until the task is dropped.
pub(crate) async fn while_isolated(
    sockets: Arc<Sockets>,
    mut isolated: watch::Receiver<bool>,
    window: Duration,
) {
    while isolated.wait_for(|isolated| *isolated).await.is_ok() {
        tokio::select! {
            () = send_away(&sockets, window) => {}
            _ = isolated.wait_for(|isolated| !*isolated) => continue,
        }
        // who comes all the same is sent on, too
        tokio::time::sleep(GOODBYE_EVERY).await;
    }
}

/// Tells every device that is here now, one after the other over the window.
async fn send_away(sockets: &Arc<Sockets>, window: Duration) {
    let begun = Instant::now();
    let mut all = Vec::new();
    sockets.for_each(|socket| all.push(socket.clone()));
    all.shuffle(&mut rand::rng());
    let total = all.len();
    let mut told = 0;
    while told < total {
        let over = begun.elapsed().as_secs_f64() / window.as_secs_f64().max(0.001);
        let due = share(total, over);
        for socket in all.get(told..due).unwrap_or_default() {
            // within its tick and no wider: chance would put together again whom the pace holds apart
            say_goodbye(socket, DRAIN_TICK);
        }
        told = told.max(due);
        if told < total {
            tokio::time::sleep(DRAIN_TICK).await;
        }
    }
}

/// How many of `total` are due when so much of the time is over, from 0 to 1.
fn share(total: usize, over: f64) -> usize {
    let due = (total as f64 * over.clamp(0.0, 1.0)).ceil();
    // from 0 to `total`, which is far below what a float holds exactly
    (due as usize).min(total)
}

/// Sends every device away now, and waits for them up to `STOP_MAX`.
pub(crate) async fn at_once(sockets: &Arc<Sockets>) {
    let deadline = Instant::now() + STOP_MAX;
    while sockets.len() > 0 && Instant::now() < deadline {
        // Said again, for a socket may have come while the others were told; who knows already ignores it.
        sockets.for_each(|socket| say_goodbye(socket, RECONNECT_SPREAD));
        let again = Instant::now() + GOODBYE_EVERY;
        while sockets.len() > 0 && Instant::now() < again {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    if sockets.len() > 0 {
        warn!(
            sockets = sockets.len(),
            "some devices did not take their goodbye"
        );
    }
}

fn say_goodbye(socket: &Arc<SocketHandle>, spread: Duration) {
    let after = spread.mul_f64(rand::random());
    socket.tell(Message::Drain { after });
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn devices_are_due_evenly() {
        assert_eq!(share(1_000, 0.0), 0);
        assert_eq!(share(1_000, 0.25), 250);
        assert_eq!(share(1_000, 1.0), 1_000);
        assert_eq!(share(1_000, 7.5), 1_000);
        assert_eq!(share(0, 0.5), 0);
        assert_eq!(share(1, 0.1), 1);
    }
}
