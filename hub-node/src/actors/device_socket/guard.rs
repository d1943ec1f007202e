//! Releases what a socket holds when its actor ends, however it ends: `Drop` runs after a panic too.

use std::sync::Arc;

use hub_proto::id::ConnGen;

use crate::actors::groups;
use crate::context::{Context, wall_clock};
use crate::routing::SocketHandle;
use crate::store::delivery::DeviceWrite;

/// Holds a socket's place in the routing map and, while it is joined, its connection row.
pub(super) struct SocketGuard {
    handle: Arc<SocketHandle>,
    context: Arc<Context>,
    generation: Option<ConnGen>,
}

impl SocketGuard {
    pub(super) fn new(handle: Arc<SocketHandle>, context: Arc<Context>) -> Self {
        context.sockets.insert(handle.clone());
        Self {
            handle,
            context,
            generation: None,
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
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        self.context.sockets.remove(&self.handle);
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
