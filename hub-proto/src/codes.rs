//! Stable codes of what can be wrong with a message. Devices match on them; people read the detail beside them.

/// The message has the wrong shape: not JSON, wrong length, a number where the topic belongs.
pub const BAD_REQUEST: &str = "bad_request";
/// The shape is right, a value is not: out of range, wrong type, a NUL in a string.
pub const BAD_VALUE: &str = "bad_value";
/// No such event on this channel.
pub const UNKNOWN_EVENT: &str = "unknown_event";
/// No such topic.
pub const UNKNOWN_TOPIC: &str = "unknown_topic";
/// The topic is not joined on this socket.
pub const NOT_JOINED: &str = "not_joined";
/// A message with the same ref is still being answered.
pub const DUPLICATE_REF: &str = "duplicate_ref";
/// Missing, or not this device's: the answer is the same.
pub const NOT_FOUND: &str = "not_found";
/// Too many channels on one socket.
pub const TOO_MANY_CHANNELS: &str = "too_many_channels";
/// The hub cannot answer now; the same message may succeed after `retry_after_ms`.
pub const UNAVAILABLE: &str = "unavailable";
/// Too many reports of this socket wait to be stored; send it again after `retry_after_ms`.
pub const BUSY: &str = "busy";
/// The device, its certificate or its authority was revoked.
pub const REVOKED: &str = "revoked";

/// Every code.
pub const ALL: [&str; 11] = [
    BAD_REQUEST,
    BAD_VALUE,
    UNKNOWN_EVENT,
    UNKNOWN_TOPIC,
    NOT_JOINED,
    DUPLICATE_REF,
    NOT_FOUND,
    TOO_MANY_CHANNELS,
    UNAVAILABLE,
    BUSY,
    REVOKED,
];
