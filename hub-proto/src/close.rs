//! Why a socket closes, as a WebSocket close code, and what a device does about it.
//!
//! Codes below 4000 are those of RFC 6455 and its registry; the 44xx are ours. A code that a device does not know
//! is [`Reconnect::Backoff`], so codes can be added.

/// What a device does after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reconnect {
    /// Connect again at once, spread over a short random time (or the `after_ms` it was told): nothing is wrong.
    Now,
    /// Connect again after a pause that doubles from one second to a minute, with full jitter.
    Backoff,
    /// Connect again at most every quarter of an hour: this will not pass by itself, but an operator may lift it.
    Rarely,
    /// The device asked for the close; nothing to do.
    Never,
}

impl Reconnect {
    /// The class of any close code, known or not. No code at all (the connection broke) is `Backoff`.
    #[must_use]
    pub fn of_code(code: Option<u16>) -> Self {
        code.and_then(CloseReason::from_code)
            .map_or(Self::Backoff, CloseReason::class)
    }
}

/// Why the hub closes a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// 1000: the device closed, and this answers it.
    Normal,
    /// 1001: this node goes away; another is there.
    GoingAway,
    /// 1002: the peer broke the WebSocket protocol.
    ProtocolError,
    /// 1003: a binary message that is not a frame.
    UnsupportedData,
    /// 1007: text that is not UTF-8.
    InvalidUtf8,
    /// 1008: abuse: a flood of messages, pings or fragments.
    PolicyViolation,
    /// 1009: a message larger than a frame may be.
    MessageTooBig,
    /// 1011: the socket's actor failed; others are not affected.
    InternalError,
    /// 1012: the node restarts or drains.
    Restarting,
    /// 1013: the node is overloaded.
    TryAgainLater,
    /// 4400: five unreadable messages within a minute.
    BadRequests,
    /// 4401: the device, its certificate or its authority was revoked or expired.
    Revoked,
    /// 4403: the device now belongs elsewhere (another org or product); what it was told before is void.
    Moved,
    /// 4408: the device reads too slowly for what is sent to it.
    SlowConsumer,
    /// 4409: a newer connection of the same device has taken over.
    Superseded,
    /// 4410: commands were not acknowledged although sent again.
    AckTimeout,
    /// 4411: nothing was heard for the silence limit.
    Silent,
    /// 4412: no channel was joined in time.
    JoinTimeout,
}

impl CloseReason {
    /// Every reason, by code.
    pub const ALL: [Self; 18] = [
        Self::Normal,
        Self::GoingAway,
        Self::ProtocolError,
        Self::UnsupportedData,
        Self::InvalidUtf8,
        Self::PolicyViolation,
        Self::MessageTooBig,
        Self::InternalError,
        Self::Restarting,
        Self::TryAgainLater,
        Self::BadRequests,
        Self::Revoked,
        Self::Moved,
        Self::SlowConsumer,
        Self::Superseded,
        Self::AckTimeout,
        Self::Silent,
        Self::JoinTimeout,
    ];

    /// The close code.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::ProtocolError => 1002,
            Self::UnsupportedData => 1003,
            Self::InvalidUtf8 => 1007,
            Self::PolicyViolation => 1008,
            Self::MessageTooBig => 1009,
            Self::InternalError => 1011,
            Self::Restarting => 1012,
            Self::TryAgainLater => 1013,
            Self::BadRequests => 4400,
            Self::Revoked => 4401,
            Self::Moved => 4403,
            Self::SlowConsumer => 4408,
            Self::Superseded => 4409,
            Self::AckTimeout => 4410,
            Self::Silent => 4411,
            Self::JoinTimeout => 4412,
        }
    }

    /// The reason text of the close frame; stable, ASCII, well below the 123 bytes of a control frame.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::GoingAway => "going_away",
            Self::ProtocolError => "protocol_error",
            Self::UnsupportedData => "unsupported_data",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::PolicyViolation => "policy_violation",
            Self::MessageTooBig => "message_too_big",
            Self::InternalError => "internal_error",
            Self::Restarting => "restarting",
            Self::TryAgainLater => "try_again_later",
            Self::BadRequests => "bad_requests",
            Self::Revoked => "revoked",
            Self::Moved => "moved",
            Self::SlowConsumer => "slow_consumer",
            Self::Superseded => "superseded",
            Self::AckTimeout => "ack_timeout",
            Self::Silent => "silent",
            Self::JoinTimeout => "join_timeout",
        }
    }

    /// What the device does about it.
    #[must_use]
    pub const fn class(self) -> Reconnect {
        match self {
            Self::Normal => Reconnect::Never,
            Self::GoingAway | Self::Restarting | Self::Moved | Self::SlowConsumer => Reconnect::Now,
            Self::InternalError
            | Self::TryAgainLater
            | Self::PolicyViolation
            | Self::BadRequests
            | Self::Superseded
            | Self::AckTimeout
            | Self::Silent
            | Self::JoinTimeout => Reconnect::Backoff,
            Self::ProtocolError
            | Self::UnsupportedData
            | Self::InvalidUtf8
            | Self::MessageTooBig
            | Self::Revoked => Reconnect::Rarely,
        }
    }

    /// The reason a code stands for, if it is one of ours.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}
