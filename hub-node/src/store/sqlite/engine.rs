//! What only SQLite understands: its failures, its clock, and the change log of a single writer.

use std::time::SystemTime;

use hub_proto::id::{DeviceId, Seq};
use hub_proto::time::Timestamp;
use sqlx::Error;
use sqlx::migrate::MigrateError;

use super::Db;
use crate::store::delivery::{Change, Mark};
use crate::store::{StoreError, StoreResult};

/// SQLite's primary result codes for a lock that somebody else holds: busy, locked.
const BUSY: [i32; 2] = [5, 6];
/// Codes that pass once an operator has made room: read-only, I/O error, disk full, cannot open.
const PASSING: [i32; 4] = [8, 10, 13, 14];
/// Codes for a file that is no (sound) database: corrupt, not a database.
const DAMAGED: [i32; 2] = [11, 26];

/// The meaning of any failed call.
pub(super) fn store_failure(error: Error) -> StoreError {
    match primary_code(&error) {
        Some(code) if BUSY.contains(&code) => return StoreError::Busy(Box::new(error)),
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

/// SQLite's primary result code, when the failure has one.
fn primary_code(error: &Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// Keeps a device's row as it is until the transaction ends. The single writer does that already.
#[allow(clippy::unused_async, reason = "a database server must be asked")]
pub(super) async fn lock_device(_db: &mut Db, _device: DeviceId) -> StoreResult<()> {
    Ok(())
}

/// Lets nobody else decide about this key until the transaction ends. The single writer does that already.
#[allow(clippy::unused_async, reason = "a database server must be asked")]
pub(super) async fn lock_key(_db: &mut Db, _sha256: &[u8; 32]) -> StoreResult<()> {
    Ok(())
}

/// Now, in microseconds: an embedded database has the clock of its only process.
#[allow(clippy::unused_async, reason = "a database server must be asked")]
pub(super) async fn clock(_db: &mut Db) -> StoreResult<i64> {
    Ok(Timestamp::from(SystemTime::now()).as_micros())
}

/// The end of the log.
pub(super) async fn mark(db: &mut Db) -> StoreResult<Mark> {
    let rev: i64 = sqlx::query_scalar("SELECT rev FROM meta WHERE id = 1")
        .fetch_one(db)
        .await
        .map_err(store_failure)?;
    Ok(Mark::at(rev))
}

/// The channels whose last change is behind a mark, in the order of those changes.
pub(super) async fn changes_since(
    db: &mut Db,
    mark: Mark,
    limit: usize,
) -> StoreResult<(Mark, Vec<Change>)> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT ch, seq, rev FROM channel_head WHERE rev > $1 AND rev > 0 ORDER BY rev LIMIT $2",
    )
    .bind(mark.position)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    let next = rows.last().map_or(mark, |(_, _, rev)| Mark::at(*rev));
    let changes = rows
        .into_iter()
        .map(|(ch, seq, _)| {
            Ok(Change {
                channel: ch.parse().map_err(|_| StoreError::Damaged {
                    what: format!("channel {ch:?}"),
                })?,
                seq: Seq(seq),
                body: None,
            })
        })
        .collect::<StoreResult<Vec<Change>>>()?;
    Ok((next, changes))
}

/// Takes the next places in the log; the first one of them.
pub(super) async fn take_places(db: &mut Db, many: i64) -> StoreResult<i64> {
    sqlx::query_scalar("UPDATE meta SET rev = rev + $1 WHERE id = 1 RETURNING rev - $1 + 1")
        .bind(many)
        .fetch_one(db)
        .await
        .map_err(store_failure)
}
