//! Decides what a failure of the database means to the caller: wait and try again, or call somebody.

use sqlx::Error;
use sqlx::migrate::MigrateError;

use crate::store::{StoreError, StoreResult};

/// SQLite's primary result codes that pass by themselves or once an operator has made room: busy, locked,
/// read-only, I/O error, disk full, cannot open.
const PASSING: [i32; 6] = [5, 6, 8, 10, 13, 14];
/// Codes for a file that is no (sound) database: corrupt, not a database.
const DAMAGED: [i32; 2] = [11, 26];

/// The meaning of any failed call.
pub(super) fn store_failure(error: Error) -> StoreError {
    match primary_code(&error) {
        Some(code) if PASSING.contains(&code) => return StoreError::Unavailable(Box::new(error)),
        Some(code) if DAMAGED.contains(&code) => {
            return StoreError::Damaged {
                what: "database file".to_owned(),
            };
        }
        Some(_) | None => {}
    }
    if let Error::ColumnDecode { index, .. } = &error {
        return StoreError::Damaged {
            what: format!("column {index}"),
        };
    }
    let waiting = matches!(
        error,
        Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed | Error::Io(_)
    );
    if waiting {
        StoreError::Unavailable(Box::new(error))
    } else {
        StoreError::Failed(Box::new(error))
    }
}

/// The meaning of a failed migration.
pub(super) fn migration_failure(error: MigrateError) -> StoreError {
    if matches!(
        error,
        MigrateError::VersionMissing(_)
            | MigrateError::VersionMismatch(_)
            | MigrateError::VersionTooNew(..)
    ) {
        return StoreError::Damaged {
            what: format!("database ({error})"),
        };
    }
    if let MigrateError::Execute(error) = error {
        return store_failure(error);
    }
    StoreError::Failed(Box::new(error))
}

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

/// SQLite's primary result code, when the failure has one.
fn primary_code(error: &Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}
