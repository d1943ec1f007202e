//! What can be wrong with a frame, and whether its sender can be told.
//!
//! A frame whose `ref` could be read is answered by an error reply and the socket stays; one whose could not, by
//! an error push. Only a message that is no frame of this protocol at all closes the socket.

use crate::close::CloseReason;
use crate::codes;
use crate::frame::Ref;
use crate::json::JsonFault;
use crate::limits::FRAME_BYTES_MAX;

/// Who to answer: what could be read of a broken frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The join it belongs to.
    pub join_ref: Option<Ref>,
    /// The reference to answer.
    pub reference: Ref,
    /// The topic, or `phoenix` when that was unreadable.
    pub topic: Box<str>,
}

/// Why a message is not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// More bytes than a frame may have.
    #[error("{bytes} bytes are more than the {FRAME_BYTES_MAX} of a frame")]
    TooLarge {
        /// How many there are.
        bytes: usize,
    },
    /// A binary message that holds neither JSON nor a V2 binary push.
    #[error("a binary message that is neither json nor a binary push")]
    NotJson,
    /// Its JSON is refused.
    #[error("the json of the frame is refused")]
    Json {
        /// What is wrong with it.
        #[source]
        fault: JsonFault,
        /// Who to answer.
        origin: Option<Box<Origin>>,
    },
    /// JSON, but not a frame of this serializer.
    #[error("{what}")]
    Shape {
        /// Which part is wrong, and what it should be.
        what: &'static str,
        /// Who to answer.
        origin: Option<Box<Origin>>,
    },
    /// A frame with a value that is out of bounds.
    #[error("{what}")]
    Value {
        /// Which part is wrong, and what it should be.
        what: &'static str,
        /// Who to answer.
        origin: Option<Box<Origin>>,
    },
}

impl FrameError {
    /// `(join_ref, ref, topic)` when an error reply can be sent.
    #[must_use]
    pub fn readable_ref(&self) -> Option<(&Option<Ref>, &Ref, &str)> {
        let origin = match self {
            Self::TooLarge { .. } | Self::NotJson => None,
            Self::Json { origin, .. } | Self::Shape { origin, .. } | Self::Value { origin, .. } => {
                origin.as_deref()
            }
        };
        origin.map(|origin| (&origin.join_ref, &origin.reference, &*origin.topic))
    }

    /// The stable code of the error, see [`codes`].
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::NotJson | Self::Shape { .. } => codes::BAD_REQUEST,
            Self::Json { fault, .. } => fault.code(),
            Self::Value { .. } => codes::BAD_VALUE,
        }
    }

    /// What is wrong, for people. Holds nothing of the frame's own text.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Json { fault, .. } => fault.to_string(),
            Self::TooLarge { .. } | Self::NotJson | Self::Shape { .. } | Self::Value { .. } => {
                self.to_string()
            }
        }
    }

    /// The socket closes for this reason; `None`: it stays open.
    #[must_use]
    pub fn close(&self) -> Option<CloseReason> {
        match self {
            Self::TooLarge { .. } => Some(CloseReason::MessageTooBig),
            Self::NotJson => Some(CloseReason::UnsupportedData),
            Self::Json {
                fault: JsonFault::NotUtf8,
                ..
            } => Some(CloseReason::InvalidUtf8),
            Self::Json { .. } | Self::Shape { .. } | Self::Value { .. } => None,
        }
    }
}
