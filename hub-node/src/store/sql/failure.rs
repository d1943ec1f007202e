//! What a failure means to the caller. What the database itself reports is the engine's to read.

use sqlx::Error;

pub(super) use super::engine::store_failure;
use crate::store::{StoreError, StoreResult};

/// A broken uniqueness rule as the conflict it stands for; all else as [`store_failure`].
pub(super) fn unique_or(
    code: &'static str,
    detail: impl FnOnce() -> String,
) -> impl FnOnce(Error) -> StoreError {
    move |error| {
        let taken = error
            .as_database_error()
            .is_some_and(sqlx::error::DatabaseError::is_unique_violation);
        if taken {
            conflict(code, detail())
        } else {
            store_failure(error)
        }
    }
}

/// A conflict.
pub(super) fn conflict(code: &'static str, detail: impl Into<String>) -> StoreError {
    StoreError::Conflict {
        code,
        detail: detail.into(),
    }
}

/// The row, or `NotFound`.
pub(super) fn found<T>(row: Option<T>, what: &'static str) -> StoreResult<T> {
    row.ok_or(StoreError::NotFound { what })
}

/// A stored value that does not make sense.
pub(super) fn damaged(what: impl Into<String>) -> StoreError {
    StoreError::Damaged { what: what.into() }
}
