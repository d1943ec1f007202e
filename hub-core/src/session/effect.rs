//! What a session asks of the world, in the verbs of the protocol.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hub_proto::close::CloseReason;
use hub_proto::event::{JoinParams, Progress, StatusUpdate, UpdateError};
use hub_proto::frame::Ref;
use hub_proto::id::{ChannelId, CommandId, ConnGen, GroupId, Seq};
use hub_proto::trace::TraceContext;

use crate::command::{ExecutionState, PendingCommand};
use crate::fanout::Entry;
use crate::level::Target;

/// One thing to do. Effects are carried out in order; frames leave in the order of their effects.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer a frame.
    Reply {
        /** Where the question came from. */
        to: Address,
        /** What to say. */
        answer: Answer,
    },
    /// Send a frame of the hub's own on a channel.
    Push {
        /** The channel as its subscriber joined it. */
        on: Subscription,
        /** What to send. */
        push: Push,
    },
    /// Send a group's frame that was encoded once for all, behind this subscriber's own `join_ref`.
    Tail {
        /** The subscriber's. */
        join_ref: Option<Ref>,
        /** The shared frame. */
        entry: Arc<Entry>,
    },
    /// Send a WebSocket ping with this number as payload.
    Ping(u32),
    /// Join in the store; answered by `Event::Attached` with the same number.
    Attach {
        /** Which attempt. */
        attempt: u32,
        /** What the device said. */
        params: Box<JoinParams>,
    },
    /// Read level and due commands; answered by `Event::Reconciled`.
    Reconcile,
    /// Claim commands before they are sent; answered by `Event::Claimed`.
    Claim(Vec<CommandId>),
    /// Write something the device reported; answered by `Event::Recorded` when it carries a receipt.
    Record {
        /** What. */
        report: Report,
        /** Answer me with this number. */
        receipt: Option<u32>,
    },
    /// Take part in a group's fan-out; answered by `Event::Followed`.
    Follow {
        /** The group. */
        group: GroupId,
        /** What the session has of it. */
        known: Seq,
    },
    /// Take no further part.
    Unfollow(GroupId),
    /// Read no frame before this moment.
    PauseReading(Instant),
    /// Something a counter or a log line should know.
    Note(Note),
    /// End the socket. Nothing follows.
    Close(CloseReason),
}

/// Where to send a reply: the refs and topic of the frame that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Echoed.
    pub join_ref: Option<Ref>,
    /// Echoed.
    pub reference: Option<Ref>,
    /// Echoed.
    pub topic: Box<str>,
}

/// What a `phx_reply` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `ok` with an empty response.
    Ok,
    /// `ok` with the device's group channels.
    Groups(Vec<String>),
    /// `error` with a stable reason, and when to try again if that helps.
    Error {
        /** The reason. */
        reason: &'static str,
        /** Try again after this. */
        retry_after: Option<Duration>,
    },
}

/// A channel as its subscriber joined it: pushes carry the subscriber's own `join_ref`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Topic, as the device wrote it.
    pub topic: Box<str>,
    /// `join_ref` of the join, or its `ref` when it had none.
    pub join_ref: Option<Ref>,
}

/// A frame of the hub's own.
#[derive(Clone, Debug, PartialEq)]
pub enum Push {
    /// The device is now a member of a group.
    Join {
        /** The group's channel. */
        channel: String,
    },
    /// The device is no longer a member of a group.
    Leave {
        /** The group's channel. */
        channel: String,
    },
    /// It should run this firmware. The offer's id is made of device, channel and revision, so a repeat is the same message.
    Offer {
        /** Whose decision. */
        channel: ChannelId,
        /** The firmware. */
        target: Arc<Target>,
    },
    /// A command.
    Command(PendingCommand),
    /// The node is leaving: come back after this long.
    Reconnect {
        /** The wait. */
        after: Duration,
    },
    /// The channel is closed because its subscriber left it.
    Closed,
    /// A frame could not be read, and neither could its ref.
    Malformed {
        /** Stable code. */
        code: &'static str,
    },
}

/// What is written to the store on a device's behalf.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// The socket no longer speaks for the device.
    Detach(ConnGen),
    /// A status of its update.
    Status(StatusUpdate),
    /// Progress of its update.
    Progress(Progress),
    /// What went wrong with its update.
    UpdateError(UpdateError),
    /// It is rebooting.
    Rebooting,
    /// A command moved on.
    Execution {
        /** Which. */
        command: CommandId,
        /** To where. */
        state: ExecutionState,
        /** Output of a finished one. */
        output: Option<Box<str>>,
        /** The device's first word on it since it was sent on this socket. */
        first: bool,
        /** The device's own trace, for whoever follows it. */
        trace: Option<Box<TraceContext>>,
    },
    /// The device answered when it was asked whether it is still there.
    Alive,
    /// This target was offered.
    Offered {
        /** Whose decision. */
        channel: ChannelId,
        /** Its revision. */
        revision: Seq,
    },
}

/// Something to count, and at most to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// A frame was refused with this code.
    Refused(&'static str),
    /// A frame was dropped without an answer, for this reason.
    Ignored(&'static str),
    /// A command is sent again on the same socket.
    Resent,
    /// A hint arrived with a gap before it.
    Gap,
}
