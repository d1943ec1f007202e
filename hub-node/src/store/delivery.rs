//! What moves between the store and the device side of a node.

use hub_core::command::ExecutionState;
pub use hub_core::fanout::{Left, Loaded as GroupChanges};
pub use hub_core::session::{Attached, Reconciled};
use hub_proto::cluster::{Hint, HintBody};
use hub_proto::event::FirmwareMetadata;
use hub_proto::id::{ChannelId, CommandId, ConnGen, DeviceId, Epoch, Seq};
use hub_proto::time::Timestamp;
use hub_proto::trace::TraceContext;
use std::sync::Arc;

/// One channel moved to a new head. Becomes a hint on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The channel.
    pub channel: ChannelId,
    /// Its new head.
    pub seq: Seq,
    /// The command itself when it is small enough to travel in the hint.
    pub body: Option<HintBody>,
}

impl Change {
    /// The hint that announces this change.
    pub fn hint(self, epoch: Epoch, trace: Option<TraceContext>) -> Hint {
        Hint {
            epoch,
            channel: self.channel,
            seq: self.seq,
            trace,
            body: self.body,
        }
    }
}

/// A committed value with the channels its change touched.
#[derive(Clone, Debug)]
pub struct Changed<T> {
    /// What was asked for.
    pub value: T,
    /// To be published now that it is committed.
    pub changes: Vec<Change>,
}

/// A place in the store's change log. Opaque; only the store that gave it understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What is asked for next is at or behind this.
    pub(super) position: i64,
    /// Inside a round of reading that one answer did not finish.
    pub(super) page: Option<MarkPage>,
}

/// How far a round of reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MarkPage {
    /// The last change that was read.
    pub(super) position: i64,
    /// Its channel.
    pub(super) channel: ChannelId,
    /// Where the next round starts.
    pub(super) next: i64,
}

impl Mark {
    /// The start of a round.
    pub(super) fn at(position: i64) -> Self {
        Self {
            position,
            page: None,
        }
    }

    /// The same round, behind the last change of a full answer that saw `oldest` as the start of the next round.
    pub(super) fn further(self, position: i64, channel: ChannelId, oldest: i64) -> Self {
        let next = self.page.map_or(oldest, |page| page.next);
        let page = MarkPage {
            position,
            channel,
            next,
        };
        Self {
            page: Some(page),
            ..self
        }
    }

    /// The next round, after an answer that was not full.
    pub(super) fn over(self, oldest: i64) -> Self {
        Self::at(self.page.map_or(oldest, |page| page.next))
    }
}

/// A write of one socket. All but `Attach` carry the generation that attach gave them: a write of an older
/// generation changes nothing and comes back as [`DeviceOutcome::Fenced`].
#[derive(Clone, Debug)]
pub enum DeviceWrite {
    /// The device joined: bump `conn_gen`, take over the connection, record what runs, read what it lacks, and claim
    /// (`Queued` → `Sent`) the due commands of its own channel that are returned.
    Attach(Box<Attach>),
    /// The socket closed.
    Detach {
        /** Whose. */
        device: DeviceId,
        /** Since which join. */
        generation: ConnGen,
        /** When. */
        at: Timestamp,
    },
    /// Update progress; latest wins, never moves a finished update back.
    Update {
        /** Whose. */
        device: DeviceId,
        /** Since which join. */
        generation: ConnGen,
        /** The news. */
        report: UpdateReport,
        /** When. */
        at: Timestamp,
    },
    /// About to send these commands of the device's own channel: `Queued` → `Sent`.
    Claim {
        /** Whose. */
        device: DeviceId,
        /** Since which join. */
        generation: ConnGen,
        /** Which. */
        commands: Vec<CommandId>,
        /** When. */
        at: Timestamp,
    },
    /// A target was offered: counts towards the pause between offers of the same target.
    Offered {
        /** To whom. */
        device: DeviceId,
        /** Since which join. */
        generation: ConnGen,
        /** Whose decision. */
        channel: ChannelId,
        /** Its revision. */
        revision: Seq,
        /** When. */
        at: Timestamp,
    },
    /// The device answered when it was asked whether it is still there.
    Alive {
        /** Who. */
        device: DeviceId,
        /** Since which join. */
        generation: ConnGen,
    },
    /// The device has a command (`Delivered`), or finished it (`Succeeded`, `Failed`, `Rejected`).
    Execution {
        /** Whose. */
        device: DeviceId,
        /** Since which join. */
        generation: ConnGen,
        /** The news. */
        report: ExecutionReport,
        /** When. */
        at: Timestamp,
    },
}

/// A join.
#[derive(Clone, Debug)]
pub struct Attach {
    /// The device of the socket's certificate.
    pub device: DeviceId,
    /// SHA-256 of that certificate: a revocation between handshake and join shows as standing.
    pub certificate: [u8; 32],
    /// Name of the node that holds the socket.
    pub node: Arc<str>,
    /// What the device says it runs.
    pub firmware: FirmwareMetadata,
    /// Peer address as text, for people.
    pub remote: Option<Box<str>>,
    /// The answer this join got before, if it has waited for the holder to prove itself since.
    pub contest: Option<Contest>,
    /// When.
    pub at: Timestamp,
}

/// A device changed hands so often that its holder is asked to prove itself before it does again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// The node that holds it.
    pub node: Arc<str>,
    /// The holder's join.
    pub generation: ConnGen,
    /// When this was found, by the database's clock: a proof of before is none.
    pub since: i64,
}

/// News about a firmware update on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateReport {
    /// `received`, `downloading`, `updating`, `completed`, `failed`, `ignored`, `rescheduled`: see [`hub_proto::event`].
    pub status: Box<str>,
    /// Percent, 0 to 100.
    pub progress: Option<u8>,
    /// What went wrong, in the device's words; at most 4 KiB.
    pub error: Option<Box<str>>,
}

/// News about one command on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionReport {
    /// Which command.
    pub command: CommandId,
    /// The state the device reports.
    pub state: ExecutionState,
    /// Output of a finished command; at most 32 KiB.
    pub output: Option<Box<str>>,
}

/// What became of one [`DeviceWrite`].
#[derive(Clone, Debug)]
pub enum DeviceOutcome {
    /// Joined, or refused: see its standing. A device that was deleted since the handshake is a revoked one.
    Attached {
        /** What the join gives. */
        attached: Box<Attached>,
        /** The node whose live connection it took over, if there was one. */
        taken_from: Option<Box<str>>,
    },
    /// Not joined: the holder must first be asked. Another join that carries this contest decides it.
    Contested(Contest),
    /// Not joined: the holder proved that it is there.
    Duplicate,
    /// Written, or already so.
    Done,
    /// These of the claimed commands may be sent; the others were cancelled or expired.
    Claimed(Vec<CommandId>),
    /// A newer join owns the device; nothing was written.
    Fenced,
    /// No such command is or was due to this device (or no such device); nothing was written.
    NotFound,
    /// The store could not do this one write (it logs why); nothing was written, and the others of the batch were. A
    /// device must not be told that its report arrived.
    Failed,
}
