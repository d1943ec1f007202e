//! The envelope between nodes: hints that a channel moved, notices about sockets, and beacons.
//!
//! None has any authority. It may be lost, repeated, late, forged or of another version, and the worst any of
//! these does is one read of the store or one ping. So decoding is total and bounded, and what travels beside the position
//! (trace, body) is dropped rather than trusted when it is not right.

/// Generated from `proto/cluster.proto`; a test regenerates and compares it.
#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, reason = "generated code")]
#[path = "gen/hub.cluster.v1.rs"]
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use uuid::Uuid;

use crate::id::{ChannelId, CommandId, ConnGen, DeviceId, Epoch, GroupId, OrgId, Seq};
use crate::limits::{
    ENVELOPE_BYTES_MAX, HINT_BODY_BYTES_MAX, NOTICES_PER_ENVELOPE_MAX, ORIGIN_BYTES_MAX,
};
use crate::push::check_args;
use crate::slug::Slug;
use crate::text::cut;
use crate::time::Timestamp;
use crate::trace::TraceContext;

/// Version of the format that this release writes and reads.
pub const VERSION: u32 = 1;

/// One message on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Version of the format, [`VERSION`].
    pub version: u32,
    /// Name of the node that sent it; at most [`ORIGIN_BYTES_MAX`] bytes, cut when longer.
    pub origin: String,
    /// When, by that node's clock, so that somebody may measure and nobody decide; `None` from older nodes.
    pub sent_at: Option<Timestamp>,
    /// What it says.
    pub message: Message,
}

/// What nodes tell each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A channel moved.
    Hint(Hint),
    /// The sender's connection works.
    Beacon(Beacon),
    /// Sockets that the receiver must look at; at most [`NOTICES_PER_ENVELOPE_MAX`], the rest is cut off.
    Notices(Vec<Notice>),
}

/// Sent once a second: whoever misses it knows that its own connection does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// Which start of the sender.
    pub run: u64,
    /// Counts up from 1.
    pub number: u64,
}

/// A socket that its node must look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whose socket.
    pub device: DeviceId,
    /// Newer than the socket's: it was taken over. The socket's own: its peer must prove that it is there.
    pub generation: ConnGen,
}

impl From<Hint> for Message {
    fn from(hint: Hint) -> Self {
        Self::Hint(hint)
    }
}

/// A channel moved to a new position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Which history of the database the position belongs to.
    pub epoch: Epoch,
    /// The channel.
    pub channel: ChannelId,
    /// Its new position.
    pub seq: Seq,
    /// Trace of the call that changed it.
    pub trace: Option<TraceContext>,
    /// What is at that position, when it is small enough to travel.
    pub body: Option<HintBody>,
}

/// What a hint may carry. Used directly only when the epoch is the known one and the position the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HintBody {
    /// A command.
    Command(CommandBody),
}

/// A one-off command as it travels between nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandBody {
    /// Its id.
    pub id: CommandId,
    /// Event name on the wire; a slug.
    pub name: Arc<str>,
    /// Arguments as the text of a JSON object.
    pub args_json: Arc<str>,
    /// Not sent after this.
    pub expires_at: Timestamp,
}

/// Why bytes from the bus are not an envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// More bytes than an envelope may have.
    #[error("{bytes} bytes are more than the {ENVELOPE_BYTES_MAX} of an envelope")]
    TooLarge {
        /// How many there are.
        bytes: usize,
    },
    /// Not the format at all.
    #[error("the bytes are not an envelope")]
    Garbage(#[source] prost::DecodeError),
    /// A version this release does not read.
    #[error("version {0} of the envelope is not known")]
    Version(u32),
    /// It has no message, or a hint without a channel: from a newer release.
    #[error("the envelope has no message that this release knows")]
    Empty,
    /// A position that no channel can have.
    #[error("the position is negative")]
    Position,
}

impl CommandBody {
    /// Whether it may travel in a hint.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.name.len() + self.args_json.len() <= HINT_BODY_BYTES_MAX
    }

    fn read(wire: wire::Command) -> Option<Self> {
        let id = CommandId(Uuid::from_slice(&wire.id).ok()?);
        Slug::check(&wire.name).ok()?;
        let body = Self {
            id,
            name: wire.name.into(),
            args_json: wire.args_json.into(),
            expires_at: Timestamp::from_unix_micros(wire.expires_at_us),
        };
        (body.fits() && check_args(&body.args_json).is_ok()).then_some(body)
    }
}

impl Hint {
    fn write(&self) -> wire::Hint {
        let channel = match self.channel {
            ChannelId::Device(id) => wire::hint::Channel::Device(id.0),
            ChannelId::Group(id) => wire::hint::Channel::Group(id.0),
            ChannelId::Org(id) => wire::hint::Channel::Org(id.0),
        };
        let trace = self.trace.as_ref().map(|trace| wire::TraceContext {
            traceparent: trace.traceparent.to_string(),
            tracestate: trace.tracestate.to_string(),
        });
        let body = self.body.as_ref().and_then(|body| match body {
            HintBody::Command(command) => command.fits().then(|| {
                wire::hint::Body::Command(wire::Command {
                    id: command.id.0.as_bytes().to_vec(),
                    name: command.name.to_string(),
                    args_json: command.args_json.to_string(),
                    expires_at_us: command.expires_at.as_micros(),
                })
            }),
        });
        wire::Hint {
            epoch: self.epoch.0,
            seq: self.seq.0,
            trace,
            channel: Some(channel),
            body,
        }
    }

    fn read(wire: wire::Hint) -> Result<Self, EnvelopeError> {
        let channel = match wire.channel.ok_or(EnvelopeError::Empty)? {
            wire::hint::Channel::Device(id) => ChannelId::Device(DeviceId(id)),
            wire::hint::Channel::Group(id) => ChannelId::Group(GroupId(id)),
            wire::hint::Channel::Org(id) => ChannelId::Org(OrgId(id)),
        };
        if wire.seq < 0 {
            return Err(EnvelopeError::Position);
        }
        let trace = wire
            .trace
            .and_then(|trace| TraceContext::new(&trace.traceparent, &trace.tracestate));
        let body = wire.body.and_then(|body| match body {
            wire::hint::Body::Command(command) => CommandBody::read(command).map(HintBody::Command),
        });
        Ok(Self {
            epoch: Epoch(wire.epoch),
            channel,
            seq: Seq(wire.seq),
            trace,
            body,
        })
    }
}

impl Envelope {
    /// An envelope of the current version, which does not say when.
    #[must_use]
    pub fn new(origin: &str, message: impl Into<Message>) -> Self {
        Self {
            version: VERSION,
            origin: cut(origin, ORIGIN_BYTES_MAX).to_owned(),
            sent_at: None,
            message: message.into(),
        }
    }

    /// The same, sent at this time.
    #[must_use]
    pub fn at(self, sent_at: Timestamp) -> Self {
        Self {
            sent_at: Some(sent_at),
            ..self
        }
    }

    /// Encodes it. A body that is too large to travel is left out: the receiver reads it from the store.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut wire = wire::Envelope {
            version: self.version,
            origin: cut(&self.origin, ORIGIN_BYTES_MAX).to_owned(),
            sent_at_us: self.sent_at.map_or(0, Timestamp::as_micros),
            ..wire::Envelope::default()
        };
        match &self.message {
            Message::Hint(hint) => wire.hint = Some(hint.write()),
            Message::Beacon(beacon) => {
                wire.beacon = Some(wire::Beacon {
                    run: beacon.run,
                    number: beacon.number,
                });
            }
            Message::Notices(notices) => wire.notices = Some(write_notices(notices)),
        }
        Bytes::from(wire.encode_to_vec())
    }

    /// Decodes bytes from the bus. A damaged body or trace is left out.
    ///
    /// # Errors
    /// The bytes are no envelope, or one of a version or kind that this release does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(EnvelopeError::TooLarge { bytes: bytes.len() });
        }
        let wire = wire::Envelope::decode(bytes).map_err(EnvelopeError::Garbage)?;
        if wire.version != VERSION {
            return Err(EnvelopeError::Version(wire.version));
        }
        let message = match (wire.hint, wire.beacon, wire.notices) {
            (Some(hint), _, _) => Message::Hint(Hint::read(hint)?),
            (None, Some(beacon), _) => Message::Beacon(Beacon {
                run: beacon.run,
                number: beacon.number,
            }),
            (None, None, Some(notices)) => Message::Notices(read_notices(&notices)),
            (None, None, None) => return Err(EnvelopeError::Empty),
        };
        let origin = cut(&wire.origin, ORIGIN_BYTES_MAX).to_owned();
        Ok(Self {
            version: wire.version,
            origin,
            sent_at: (wire.sent_at_us != 0).then(|| Timestamp::from_unix_micros(wire.sent_at_us)),
            message,
        })
    }
}

fn write_notices(notices: &[Notice]) -> wire::Notices {
    let notices = notices.iter().take(NOTICES_PER_ENVELOPE_MAX);
    wire::Notices {
        notices: notices
            .map(|notice| wire::Notice {
                device: notice.device.0,
                generation: notice.generation.0,
            })
            .collect(),
    }
}

fn read_notices(wire: &wire::Notices) -> Vec<Notice> {
    let notices = wire.notices.iter().take(NOTICES_PER_ENVELOPE_MAX);
    notices
        .map(|notice| Notice {
            device: DeviceId(notice.device),
            generation: ConnGen(notice.generation),
        })
        .collect()
}
