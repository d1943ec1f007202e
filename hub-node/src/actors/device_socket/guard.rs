//! Releases what a socket holds when its actor ends, however it ends: `Drop` runs after a panic too.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use hub_proto::close::CloseReason;
use hub_proto::id::{ConnGen, DeviceId};

use crate::actors::groups;
use crate::context::{Context, wall_clock};
use crate::routing::SocketHandle;
use crate::store::delivery::DeviceWrite;
use crate::store::records::Identity;
use crate::writes::Writes;

/// Holds a socket's place in the routing map and, while it is joined, its connection row.
pub(super) struct SocketGuard {
    handle: Arc<SocketHandle>,
    context: Arc<Context>,
    /// Who may connect again while the database is away.
    trusted: Option<Arc<Identity>>,
    generation: Option<ConnGen>,
    since: Instant,
    /// Why it ends, in the words of the metrics.
    reason: &'static str,
    /// It was asked to go to another node.
    moves: bool,
}

impl SocketGuard {
    pub(super) fn new(
        handle: Arc<SocketHandle>,
        identity: Arc<Identity>,
        context: Arc<Context>,
    ) -> Self {
        context.sockets.insert(handle.clone());
        Self {
            handle,
            context,
            trusted: Some(identity),
            generation: None,
            since: Instant::now(),
            // until somebody says otherwise: a panic says nothing
            reason: "error",
            moves: false,
        }
    }

    /// The device is asked to go to another node.
    pub(super) fn moves(&mut self) {
        self.moves = true;
    }

    /// The session ended for this reason.
    pub(super) fn closed(&mut self, reason: CloseReason) {
        let moves = self.moves && reason == CloseReason::Restarting;
        self.reason = if moves { "rebalance" } else { word(reason) };
        if matches!(reason, CloseReason::Revoked | CloseReason::Moved) {
            self.trusted = None;
        }
    }

    /// The socket now speaks for its device, until [`Self::detached`].
    pub(super) fn attached(&mut self, generation: ConnGen) {
        self.generation = Some(generation);
        self.handle.set_generation(generation);
    }

    /// The generation this socket writes with.
    pub(super) fn generation(&self) -> Option<ConnGen> {
        self.generation
    }

    /// The session released the connection itself.
    pub(super) fn detached(&mut self) {
        self.generation = None;
        self.handle.set_detached();
    }
}

/// Why a socket ended, in few words: who runs a fleet asks whose doing it was.
fn word(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Normal => "client",
        CloseReason::GoingAway => "lost",
        CloseReason::Restarting => "drain",
        CloseReason::Silent | CloseReason::AckTimeout | CloseReason::JoinTimeout => "timeout",
        CloseReason::SlowConsumer => "slow_consumer",
        CloseReason::Superseded => "takeover",
        CloseReason::Revoked | CloseReason::Moved => "revoked",
        CloseReason::TryAgainLater => "overload",
        CloseReason::ProtocolError
        | CloseReason::UnsupportedData
        | CloseReason::InvalidUtf8
        | CloseReason::PolicyViolation
        | CloseReason::MessageTooBig
        | CloseReason::BadRequests => "protocol",
        CloseReason::InternalError => "error",
    }
}

/// A join that was committed, until the socket's actor has heard of it. Dropped unheard, because the actor ended first,
/// it gives the connection back: nobody else knows that there is one.
pub(crate) struct Granted {
    device: DeviceId,
    generation: Option<ConnGen>,
    writes: Writes,
}

impl Granted {
    pub(super) fn new(device: DeviceId, generation: Option<ConnGen>, writes: Writes) -> Self {
        Self {
            device,
            generation,
            writes,
        }
    }

    /// The actor knows, and answers for the connection from here on.
    pub(super) fn heard(mut self) {
        self.generation = None;
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted")
            .field("device", &self.device)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        if let Some(generation) = self.generation {
            self.writes.submit_unanswered(DeviceWrite::Detach {
                device: self.device,
                generation,
                at: wall_clock(),
            });
        }
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        self.context.sockets.remove(&self.handle);
        self.context
            .metrics
            .disconnected(self.reason, self.since.elapsed());
        if let Some(identity) = self.trusted.take() {
            self.context.verdicts.trust(identity);
        }
        if let Some(generation) = self.generation {
            let device = self.handle.device;
            self.context.writes.submit_unanswered(DeviceWrite::Detach {
                device,
                generation,
                at: wall_clock(),
            });
            let _ = self
                .context
                .groups
                .cast(groups::Message::Forget(self.handle.clone()));
        }
    }
}
