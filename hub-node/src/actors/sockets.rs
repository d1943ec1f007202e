//! Supervises device sockets, in a few shards so that no single mailbox sees every exit.
//!
//! Restart policy: none. A socket cannot outlive its connection; its device connects again. One socket's panic is logged and hurts no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ractor::{Actor, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tracing::error;

use super::device_socket::{Arguments, DeviceSocket};

/// Supervisors a node spreads its sockets over.
const SHARDS: usize = 16;

/// The shards.
pub(crate) struct SocketSupervisors {
    shards: Vec<ActorRef<()>>,
    next: AtomicUsize,
}

impl SocketSupervisors {
    pub(crate) async fn start() -> Result<Arc<Self>, SpawnErr> {
        let mut shards = Vec::with_capacity(SHARDS);
        for _ in 0..SHARDS {
            shards.push(Actor::spawn(None, Supervisor, ()).await?.0);
        }
        Ok(Arc::new(Self {
            shards,
            next: AtomicUsize::new(0),
        }))
    }

    /// Starts the actor of an upgraded socket.
    pub(crate) async fn spawn(&self, arguments: Arguments) -> Result<(), SpawnErr> {
        let shard = &self.shards[self.next.fetch_add(1, Ordering::Relaxed) % SHARDS];
        Actor::spawn_linked(None, DeviceSocket, arguments, shard.get_cell()).await?;
        Ok(())
    }

    /// Stops the supervisors and with them every socket that is still there.
    pub(crate) fn stop(&self) {
        for shard in &self.shards {
            shard.stop(None);
        }
    }
}

struct Supervisor;

impl Actor for Supervisor {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(cell, cause) = event {
            error!(actor = %cell.get_id(), %cause, "a device socket's actor failed; its device will connect again");
        }
        Ok(())
    }
}
