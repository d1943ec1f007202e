//! A one-off command on its way to a device, and what can become of it.

use std::sync::Arc;

use hub_proto::id::{ChannelId, CommandId, Seq};
use hub_proto::time::Timestamp;

/// A command that a device still owes an answer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingCommand {
    /// The command's id; devices drop duplicates by it.
    pub id: CommandId,
    /// The channel it was given to: the device's own or one of its groups'.
    pub channel: ChannelId,
    /// Its place in that channel; order is promised inside one channel.
    pub seq: Seq,
    /// Event name on the wire (`reboot`, `identify`, `logs`, …).
    pub name: Arc<str>,
    /// The operator's arguments as a JSON object's text, `{}` when none.
    pub args: Arc<str>,
    /// Not sent any more from this moment on.
    pub expires_at: Timestamp,
    /// How far this device's own execution of it had come when this was read. Only [`ExecutionState::Queued`]
    /// and [`ExecutionState::Sent`] are still pending: what was delivered is the device's own to finish.
    pub state: ExecutionState,
}

/// The state of one command on one device. States only move down this list; the last five are final, except
/// that a late result may still amend [`ExecutionState::Expired`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExecutionState {
    /// Stored; not yet handed to a socket.
    Queued,
    /// Claimed for a socket: it may have been sent, so it can no longer be cancelled for certain.
    Sent,
    /// The device said it has it (ack, or evidence for devices that cannot ack).
    Delivered,
    /// The device reports success.
    Succeeded,
    /// The device reports failure.
    Failed,
    /// The device refuses it.
    Rejected,
    /// Its time passed before the device had it.
    Expired,
    /// Cancelled before it was sent.
    Cancelled,
}
