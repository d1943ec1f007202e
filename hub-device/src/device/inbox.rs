//! What the device's own tasks tell its loop. The queue is bounded; senders wait, and progress may be dropped.

use hub_proto::id::CommandId;
use tokio::sync::mpsc;

use crate::{
    connect::{ConnectError, Socket},
    firmware::Firmware,
    ledger::Outcome,
    machine::{Stage, UpdateEvent},
};

/// News from a task.
pub(super) enum News {
    /// The dial of this generation ended.
    Dialed {
        generation: u64,
        dialed: Result<Box<Socket>, ConnectError>,
    },
    /// A command ended.
    CommandEnded {
        id: CommandId,
        name: String,
        outcome: Outcome,
    },
    /// The update of this generation says something.
    Update { generation: u64, event: UpdateEvent },
    /// A restart is over. Boxed: the queue reserves room for the largest news.
    Booted {
        firmware: Box<Result<Option<Firmware>, String>>,
    },
}

/// The update task's way to the loop. Its generation tells a cancelled update's last words from those of the next.
#[derive(Clone)]
pub(crate) struct UpdateSender {
    pub(super) generation: u64,
    pub(super) inbox: mpsc::Sender<News>,
}

impl UpdateSender {
    /// Says something that must arrive; a loop that is gone needs nothing.
    pub(crate) async fn send(&self, event: UpdateEvent) {
        let _ = self
            .inbox
            .send(News::Update {
                generation: self.generation,
                event,
            })
            .await;
    }

    /// Tells progress; with a full queue another value is on its way already.
    pub(crate) fn progress(&self, percent: u8, stage: Stage) {
        let event = UpdateEvent::Progress { percent, stage };
        let _ = self.inbox.try_send(News::Update {
            generation: self.generation,
            event,
        });
    }
}
