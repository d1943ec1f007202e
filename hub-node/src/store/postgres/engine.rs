//! What only Postgres understands: its failures, its clock, its locks, and a change log of many writers.
//!
//! Owns the order of the log. Transactions commit in another order than they begin in, so no counter says "all below this is
//! known". Each change carries the id of its transaction; a reader takes all changes from the oldest transaction on that was
//! still running when it last looked. It sees some twice and misses none, however long a transaction takes.

use hub_proto::id::{ChannelId, DeviceId, Seq};
use sqlx::Error;
use sqlx::migrate::MigrateError;

use super::Db;
use crate::store::delivery::{Change, Mark};
use crate::store::{StoreError, StoreResult};

/// SQLSTATE classes of a server that cannot work now: connection exceptions, insufficient resources, operator intervention
/// (shutting down, starting), system errors.
const AWAY_CLASSES: [&str; 4] = ["08", "53", "57", "58"];
/// A server that became read-only.
const READ_ONLY: &str = "25006";
/// Classes of transactions that got into each other's way: rollback (serialization, deadlock), a lock that is not available.
const BUSY_CLASSES: [&str; 2] = ["40", "55"];
/// A statement that took too long, and a transaction that sat idle for too long, were ended.
const BUSY: [&str; 2] = ["57014", "25P03"];
/// Data that cannot be read: data corrupted, index corrupted.
const DAMAGED: [&str; 2] = ["XX001", "XX002"];
/// A text with a NUL in it, plain or inside JSON: no row holds one, so no row has that name.
const NO_TEXT: [&str; 2] = ["22021", "22P05"];
/// A table that is not there.
const UNDEFINED_TABLE: &str = "42P01";

/// The meaning of any failed call.
pub(super) fn store_failure(error: Error) -> StoreError {
    if let Some(state) = sqlstate(&error) {
        let class = state.get(..2).unwrap_or_default();
        if BUSY_CLASSES.contains(&class) || BUSY.contains(&state.as_str()) {
            return StoreError::Busy(Box::new(error));
        }
        if AWAY_CLASSES.contains(&class) || state == READ_ONLY {
            return StoreError::Unavailable(Box::new(error));
        }
        if DAMAGED.contains(&state.as_str()) {
            return StoreError::Damaged {
                what: "database".to_owned(),
            };
        }
        if NO_TEXT.contains(&state.as_str()) {
            return StoreError::NotFound { what: "name" };
        }
        return StoreError::Failed(Box::new(error));
    }
    if let Error::ColumnDecode { index, .. } = &error {
        return StoreError::Damaged {
            what: format!("column {index}"),
        };
    }
    if matches!(error, Error::PoolTimedOut) {
        // all connections are in use; one that cannot be opened has said so itself, or the probe will
        return StoreError::Busy(Box::new(error));
    }
    let waiting = matches!(
        error,
        Error::PoolClosed
            | Error::WorkerCrashed
            | Error::Io(_)
            | Error::Tls(_)
            | Error::Protocol(_)
    );
    if waiting {
        StoreError::Unavailable(Box::new(error))
    } else {
        StoreError::Failed(Box::new(error))
    }
}

/// The meaning of a failed migration.
pub(super) fn migration_failure(error: MigrateError) -> StoreError {
    if matches!(error, MigrateError::VersionMismatch(_)) {
        return StoreError::Damaged {
            what: format!("database ({error})"),
        };
    }
    if let MigrateError::Execute(error) = error {
        return store_failure(error);
    }
    StoreError::Failed(Box::new(error))
}

/// Whether a statement names a table that is not there.
pub(super) fn is_missing_table(error: &Error) -> bool {
    sqlstate(error).is_some_and(|state| state == UNDEFINED_TABLE)
}

fn sqlstate(error: &Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Now, by the server, in microseconds.
pub(super) async fn clock(db: &mut Db) -> StoreResult<i64> {
    sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        .fetch_one(db)
        .await
        .map_err(store_failure)
}

/// Keeps a device's row as it is until the transaction ends. A device that is gone needs no lock.
pub(super) async fn lock_device(db: &mut Db, device: DeviceId) -> StoreResult<()> {
    sqlx::query("SELECT id FROM device WHERE id = $1 FOR UPDATE")
        .bind(device.0)
        .execute(db)
        .await
        .map_err(store_failure)?;
    Ok(())
}

/// Lets nobody else decide about this key until the transaction ends, in whatever org: a rule that spans orgs is not covered by
/// the lock of one. Two keys that share their first bytes wait for each other, which harms nobody.
pub(super) async fn lock_key(db: &mut Db, sha256: &[u8; 32]) -> StoreResult<()> {
    let [a, b, c, d, e, f, g, h, ..] = *sha256;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(i64::from_be_bytes([a, b, c, d, e, f, g, h]))
        .execute(db)
        .await
        .map_err(store_failure)?;
    Ok(())
}

/// The place in the log of everything this transaction changes.
pub(super) async fn take_places(db: &mut Db, _many: i64) -> StoreResult<i64> {
    sqlx::query_scalar("SELECT pg_current_xact_id()::text::bigint")
        .fetch_one(db)
        .await
        .map_err(store_failure)
}

/// The oldest transaction that is still running: all before it is known to whoever reads now.
pub(super) async fn mark(db: &mut Db) -> StoreResult<Mark> {
    let position: i64 =
        sqlx::query_scalar("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            .fetch_one(db)
            .await
            .map_err(store_failure)?;
    Ok(Mark::at(position))
}

/// A channel's last change, if there is one, and the oldest transaction that was running.
#[derive(sqlx::FromRow)]
struct ChangeRow {
    oldest: i64,
    ch: Option<String>,
    seq: Option<i64>,
    rev: Option<i64>,
}

/// The channels whose last change is at or behind a mark, in the order of their transactions. A full answer leads on inside
/// the same round; a round goes on from where its first answer saw the oldest running transaction.
pub(super) async fn changes_since(
    db: &mut Db,
    mark: Mark,
    limit: usize,
) -> StoreResult<(Mark, Vec<Change>)> {
    let (after, channel) = mark.page.map_or((-1, String::new()), |page| {
        (page.position, page.channel.to_string())
    });
    let rows: Vec<ChangeRow> = sqlx::query_as(
        "SELECT s.oldest, h.ch, h.seq, h.rev FROM \
         (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest) s \
         LEFT JOIN (SELECT ch, seq, rev FROM channel_head WHERE rev >= $1 AND rev > 0 AND (rev, ch) > ($2, $3) \
         ORDER BY rev, ch LIMIT $4) h ON true ORDER BY h.rev, h.ch",
    )
    .bind(mark.position)
    .bind(after)
    .bind(channel)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    let oldest = rows.first().map_or(mark.position, |row| row.oldest);
    let mut changes = Vec::with_capacity(rows.len());
    let mut last = None;
    for row in rows {
        let (Some(ch), Some(seq), Some(rev)) = (row.ch, row.seq, row.rev) else {
            continue;
        };
        let channel: ChannelId = ch.parse().map_err(|_| StoreError::Damaged {
            what: format!("channel {ch:?}"),
        })?;
        last = Some((rev, channel));
        changes.push(Change {
            channel,
            seq: Seq(seq),
            body: None,
        });
    }
    let full = changes.len() >= limit;
    let next = match last.filter(|_| full) {
        Some((rev, channel)) => mark.further(rev, channel, oldest),
        None => mark.over(oldest),
    };
    Ok((next, changes))
}
