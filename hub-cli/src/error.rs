//! What can go wrong with a call, by consequence: refused by the hub, not reached, or not understood.

use hub_proto::api::Problem;

/// A call that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The hub answered with a refusal.
    #[error("{} ({})", .0.detail, .0.code)]
    Refused(Box<Problem>),
    /// The hub was not reached, or the connection broke; tried as often as was safe.
    #[error("the hub cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// Something answered, but not as a hub does.
    #[error("the answer is not one of a hub (status {status})")]
    NotAHub {
        /// HTTP status of the answer.
        status: u16,
    },
    /// The answer could not be read as what it should be.
    #[error("the answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// The answer is larger than any of a hub.
    #[error("the answer is too large")]
    TooLarge,
    /// The address, the token or the certificate file given to the client is not usable.
    #[error("{0}")]
    Setup(String),
    /// A local file could not be read.
    #[error("{path} cannot be read")]
    File {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ClientError {
    /// Status of the hub's refusal, if it is one.
    pub fn status(&self) -> Option<u16> {
        self.problem().map(|problem| problem.status)
    }

    /// Stable code of the hub's refusal, if it is one.
    pub fn code(&self) -> Option<&str> {
        self.problem().map(|problem| problem.code.as_str())
    }

    /// The hub's refusal, if it is one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Unreachable(_)
            | Self::NotAHub { .. }
            | Self::Unreadable(_)
            | Self::TooLarge
            | Self::Setup(_)
            | Self::File { .. } => None,
        }
    }
}
