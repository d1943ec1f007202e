//! Every refusal of the API as problem details: which status, code and title a fault has, and nothing else about it.
//!
//! "Missing" and "another org's" are one value here, so that their answers are equal to the byte.

use crate::store::StoreError;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hub_core::limits::API_RETRY_AFTER_S;
use hub_proto::api::problem::{FieldProblem, PROBLEM_JSON, PROBLEM_TYPE_PREFIX, Problem};

/// A call that was not carried out, and why.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The request cannot be read: broken JSON, broken cursor, broken path.
    #[error("{detail}")]
    BadRequest {
        /// Stable code.
        code: &'static str,
        /// For people.
        detail: String,
    },
    /// No token, or one that is not good.
    #[error("a valid bearer token is needed")]
    Unauthenticated,
    /// The token's role is too small.
    #[error("this call needs the role {needs}")]
    Forbidden {
        /// Smallest role that may.
        needs: &'static str,
    },
    /// No such thing in an org the caller may see.
    #[error("{what} not found")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
    },
    /// No such route.
    #[error("there is no such route")]
    NoRoute,
    /// The route has other methods.
    #[error("this route does not have this method")]
    MethodNotAllowed,
    /// The call contradicts what is stored.
    #[error("{detail}")]
    Conflict {
        /// Stable code.
        code: &'static str,
        /// For people.
        detail: String,
    },
    /// The body is larger than this route takes.
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The route's limit.
        bytes_max: u64,
    },
    /// The body is not JSON by its content type.
    #[error("the body must be application/json")]
    NotJson,
    /// The body or query was read, but a field of it is not acceptable.
    #[error("{} field(s) of the request are not acceptable", .0.len())]
    Invalid(Vec<FieldProblem>),
    /// The upload is no firmware that the org's keys vouch for.
    #[error("{0}")]
    BadFirmware(String),
    /// Not now: too many calls, too slow, or the database is away.
    #[error("{detail}")]
    Unavailable {
        /// Stable code.
        code: &'static str,
        /// For people.
        detail: &'static str,
    },
    /// A fault of the hub. The cause is logged and not shown.
    #[error("the hub failed to carry out this call")]
    Internal,
}

impl Refused {
    /// One wrong field of the body, by JSON pointer.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldProblem {
            pointer: pointer.into(),
            detail: detail.into(),
        }])
    }

    /// Status, code and title.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest { code, .. } => {
                (StatusCode::BAD_REQUEST, code, "The request cannot be read")
            }
            Self::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "Not authenticated",
            ),
            Self::Forbidden { .. } => (StatusCode::FORBIDDEN, "forbidden", "Not allowed"),
            Self::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found", "Not found"),
            Self::NoRoute => (StatusCode::NOT_FOUND, "no_route", "No such route"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "No such method on this route",
            ),
            Self::Conflict { code, .. } => (
                StatusCode::CONFLICT,
                code,
                "In conflict with what is stored",
            ),
            Self::TooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "Body too large",
            ),
            Self::NotJson => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_json",
                "Unsupported media type",
            ),
            Self::Invalid(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                "Not acceptable",
            ),
            Self::BadFirmware(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "bad_firmware",
                "Firmware refused",
            ),
            Self::Unavailable { code, .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, code, "Not available now")
            }
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Internal error",
            ),
        }
    }

    /// The body of the answer.
    pub fn problem(&self) -> (StatusCode, Problem) {
        let (status, code, title) = self.kind();
        let errors = match self {
            Self::Invalid(fields) => fields.clone(),
            Self::BadRequest { .. }
            | Self::Unauthenticated
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::NoRoute
            | Self::MethodNotAllowed
            | Self::Conflict { .. }
            | Self::TooLarge { .. }
            | Self::NotJson
            | Self::BadFirmware(_)
            | Self::Unavailable { .. }
            | Self::Internal => Vec::new(),
        };
        let problem = Problem {
            kind: format!("{PROBLEM_TYPE_PREFIX}{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: self.to_string(),
            errors,
        };
        (status, problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, problem) = self.problem();
        // A struct of strings and numbers always serializes.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, [(CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Unauthenticated => {
                headers.insert(
                    WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"hub\""),
                );
            }
            Self::Unavailable { .. } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(API_RETRY_AFTER_S));
            }
            Self::BadRequest { .. }
            | Self::MethodNotAllowed
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::NoRoute
            | Self::Conflict { .. }
            | Self::TooLarge { .. }
            | Self::NotJson
            | Self::Invalid(_)
            | Self::BadFirmware(_)
            | Self::Internal => {}
        }
        response
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what } => Self::NotFound { what },
            StoreError::Conflict { code, detail } => Self::Conflict { code, detail },
            StoreError::Unavailable(source) | StoreError::Busy(source) => {
                // that it is away was said once, by whoever noticed
                tracing::debug!(error = %source, "the database cannot answer an API call now");
                Self::Unavailable {
                    code: "store_unavailable",
                    detail: "the database cannot answer now",
                }
            }
            StoreError::Damaged { what } => {
                tracing::error!(%what, "a stored row is damaged");
                Self::Internal
            }
            StoreError::Failed(source) => {
                tracing::error!(error = %source, "the database failed an API call");
                Self::Internal
            }
        }
    }
}

/// Result of a handler.
pub type Answer<T> = Result<T, Refused>;
