//! What the measuring process and its workers say to each other: one JSON object a line, over pipes.

use std::net::SocketAddr;

use hub_proto::id::CommandId;
use serde::{Deserialize, Serialize};

/// What a worker is to do with all its devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Every device connects, joins its own channel and leaves again: the first time, that registers it.
    Visit { hub: SocketAddr },
    /// Every device connects, joins its own channel and its group's, and stays.
    /// With several hubs, each goes to another one in turn.
    Arrive {
        hubs: Vec<SocketAddr>,
        /// Shows the TLS session tickets of its last arrival of this kind, and keeps those it is given.
        resume: bool,
    },
    /// Every device connects to a server that is no hub, says what this one wants to hear first, and stays.
    Listen { server: SocketAddr, speech: Speech },
    /// Every device connects, joins its own channel and its group's, and reads nothing from then on.
    Stall { hub: SocketAddr },
    /// Every device closes its connection and waits until the server has, too. One that read nothing reads to the end.
    Depart,
    /// Whether devices keep acknowledgements back; those kept so far go out when it turns false.
    Acks { hold: bool },
}

/// What a server that is no hub wants to hear before it sends messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Speech {
    /// Nothing: whoever is connected gets every message, each as one text.
    Nothing,
    /// The protocol of NATS, with one subscription.
    Nats,
}

/// What a worker has to say.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Note {
    /// So many devices more are done with what is under way.
    Progress(u32),
    /// The order is carried out by all devices. Also said once at the start, when all certificates are made.
    Done,
    /// Every device of this worker has the command.
    Delivered(Span),
    /// Every device's acknowledgement of the command was answered, so it is committed.
    Acked(Span),
    /// So many of the devices that have arrived resumed a TLS session.
    Resumed(u32),
    /// A device got a command a second time, which counts neither as delivered nor as lost.
    Repeated,
    /// The hub could not commit an acknowledgement; the device says it again when it was asked to.
    Refused,
    /// The hub closed the connection of a device that read nothing, with this code; 0 for none.
    Closed(u16),
    /// The run cannot go on.
    Failed(String),
}

/// When the first and the last device of a worker saw something, on the machine's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    /// The command.
    pub(crate) id: CommandId,
    /// Nanoseconds.
    pub(crate) first: u64,
    /// Nanoseconds.
    pub(crate) last: u64,
}

impl Span {
    /// The span that covers both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            id: self.id,
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}
