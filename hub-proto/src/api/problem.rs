//! Problem details (RFC 9457): the one shape of every refusal of the API.

use serde::{Deserialize, Serialize};

/// Media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Start of every problem's `type`; its [`Problem::code`] follows.
pub const PROBLEM_TYPE_PREFIX: &str = "urn:hub:problem:";

/// Why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Stable URN: `urn:hub:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// Short name of the kind of problem, the same for every problem of this type.
    pub title: String,
    /// The HTTP status, repeated so that a stored problem is complete.
    pub status: u16,
    /// Stable code for scripts, e.g. `not_found`, `name_taken`.
    pub code: String,
    /// What is wrong with this call, for people.
    pub detail: String,
    /// Fields of the request that are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub errors: Vec<FieldProblem>,
}

/// One wrong field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldProblem {
    /// JSON pointer (RFC 6901) into the body, or `?name` for a query parameter.
    pub pointer: String,
    /// What is wrong with it, for people.
    pub detail: String,
}
