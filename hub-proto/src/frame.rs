//! Frames between a device and the hub: Phoenix Channels framing in its two serializers.
//!
//! V2 is the array `[join_ref, ref, topic, event, payload]`; V1 is the object `{topic, event, payload, ref}` that the
//! oldest clients speak. Both are read from text or from a binary message that holds the same text; V2 also has
//! a binary push. A payload stays raw JSON until somebody needs its type. Reading is in `frame/decode.rs`,
//! writing in `frame/encode.rs`; `tail.rs` writes one message to many.

mod decode;
mod encode;
mod error;
mod parts;
mod reference;

use bytes::Bytes;
use serde_json::value::RawValue;

pub use error::{FrameError, Origin};
pub use reference::{BadRef, Ref};

pub(crate) use encode::{push_json_text, write_reference};

/// Which of the two forms a socket speaks; settled by `vsn` in the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Serializer {
    /// JSON objects of exactly `topic`, `event`, `payload`, `ref`.
    V1,
    /// JSON arrays of five.
    V2,
}

/// A `vsn` that this hub does not speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("vsn is neither 1.x nor 2.x")]
pub struct UnknownVsn;

impl Serializer {
    /// The serializer a `vsn` asks for: `2` and `2.x` the array; `1`, `1.x`, an empty one and none at all the object.
    ///
    /// # Errors
    /// Any other version.
    pub fn from_vsn(vsn: Option<&str>) -> Result<Self, UnknownVsn> {
        let vsn = vsn.unwrap_or_default();
        if vsn.is_empty() {
            return Ok(Self::V1);
        }
        let (major, rest) = vsn
            .split_once('.')
            .map_or((vsn, "0"), |(major, rest)| (major, rest));
        let numeric = rest
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        match (major, numeric && rest.len() <= 16) {
            ("1", true) => Ok(Self::V1),
            ("2", true) => Ok(Self::V2),
            _ => Err(UnknownVsn),
        }
    }
}

/// One message of either direction.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The `ref` of the join this message belongs to. Old clients leave it null, also on the join itself.
    pub join_ref: Option<Ref>,
    /// Names the message so that a reply can name it. Always null on pushes from the hub.
    pub reference: Option<Ref>,
    /// The channel.
    pub topic: Box<str>,
    /// What happened, or is to happen.
    pub event: Box<str>,
    /// With what.
    pub payload: Payload,
}

/// What a message carries.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A JSON object, checked but not parsed.
    Json(Box<RawValue>),
    /// Null or absent; existing clients leave and beat their heart so.
    Null,
    /// The rest of a V2 binary push.
    Binary(Bytes),
}

impl PartialEq for Payload {
    /// JSON is compared as text: the same value written in another way is another payload.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Json(one), Self::Json(two)) => one.get() == two.get(),
            (Self::Null, Self::Null) => true,
            (Self::Binary(one), Self::Binary(two)) => one == two,
            (Self::Json(_) | Self::Null | Self::Binary(_), _) => false,
        }
    }
}

impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.join_ref == other.join_ref
            && self.reference == other.reference
            && self.topic == other.topic
            && self.event == other.event
            && self.payload == other.payload
    }
}

/// The two outcomes a reply can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplyStatus {
    /// Done.
    Ok,
    /// Not done; the response says why.
    Error,
}

impl ReplyStatus {
    /// As it stands in the reply.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}
