//! The store of one node: a SQLite file, through sqlx.
//!
//! One connection writes, a few read. The single writer is what makes the change log exact: positions are given
//! out inside the writing transaction, so they rise in commit order and a reader that saw position `n` has seen all
//! below it. A database with many writers must order its log by transaction snapshots instead.
//!
//! Commits are synced to disk (`synchronous=FULL`): an `Ok` survives a power cut. Every wait has a bound; what cannot
//! be had in time is [`StoreError::Unavailable`].

mod engine;

/// `name.value` is each element of a JSON array, bound as text.
macro_rules! list {
    ($parameter:literal, $name:literal) => {
        concat!("json_each(", $parameter, ") AS ", $name)
    };
}
/// The same for an array of ids.
macro_rules! ids {
    ($parameter:literal, $name:literal) => {
        list!($parameter, $name)
    };
}
/// A whole number of an element of a [`list!`] whose elements are objects.
macro_rules! number {
    ($name:literal, $field:literal) => {
        concat!("CAST(", $name, ".value ->> '", $field, "' AS BIGINT)")
    };
}
/// A text of such an element.
macro_rules! text {
    ($name:literal, $field:literal) => {
        concat!("(", $name, ".value ->> '", $field, "')")
    };
}
/// Bytes of such an element, which holds them as hexadecimal digits.
macro_rules! bytes {
    ($name:literal, $field:literal) => {
        concat!("unhex(", $name, ".value ->> '", $field, "')")
    };
}
/// A text that is read as JSON.
macro_rules! json {
    ($text:expr) => {
        $text
    };
}
/// The place in the log of the device that `place` stands for, when places from `$2` on were taken.
macro_rules! place {
    () => {
        "$2 + place.key"
    };
}
/// Keeps the rows that are read from changing until the transaction ends. The single writer does that already.
macro_rules! locked {
    () => {
        ""
    };
}

#[allow(
    clippy::duplicate_mod,
    reason = "the same statements are compiled for each database"
)]
#[path = "sql/statements.rs"]
mod sql;
#[cfg(test)]
mod tests;

use std::path::Path;

use hub_core::limits::{
    STORE_ACQUIRE_MAX, STORE_BUSY_MAX, STORE_IDLE_MAX, STORE_READERS_MAX, STORE_STATEMENTS_MAX,
};
use hub_proto::id::{Epoch, OrgId};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Sqlite, SqliteConnection, Transaction};

use super::{Store, StoreError, StoreResult};
use engine::{migration_failure, store_failure};

/// Shape of the rows this version reads and writes; a file with another one is refused.
const FORMAT: i64 = 1;

/// The connection that the statements in `sql` are given.
type Db = SqliteConnection;
/// What the statements in `sql` are a part of.
type Backend = SqliteStore;
/// A transaction of either pool.
type Tx = Transaction<'static, Sqlite>;

/// The embedded store. Cloning shares the pools.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
    epoch: Epoch,
}

impl Store for SqliteStore {}

impl SqliteStore {
    /// Opens the database file, makes it when there is none, and brings its tables up to date.
    /// The directory must exist.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be opened or is locked by another process; `Damaged` when a newer
    /// version of hub wrote it; `Failed` when a migration fails.
    pub async fn open(path: &Path) -> StoreResult<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(STORE_BUSY_MAX)
            .statement_cache_capacity(STORE_STATEMENTS_MAX)
            .disable_statement_logging();
        let writer = pool(1)
            .connect_with(options.clone())
            .await
            .map_err(store_failure)?;
        sqlx::migrate!("migrations/sqlite")
            .run(&writer)
            .await
            .map_err(migration_failure)?;
        let epoch = open_history(&writer, false).await?;
        let readers = pool(STORE_READERS_MAX)
            .connect_with(options.create_if_missing(false).read_only(true))
            .await
            .map_err(store_failure)?;
        Ok(Self {
            writer,
            readers,
            epoch,
        })
    }

    /// Declares the file a new history, as after a restore from a backup, so that nodes and devices take nothing they
    /// remember of the old one for granted. No node may be running on the file.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn renew_epoch(path: &Path) -> StoreResult<Epoch> {
        let store = Self::open(path).await?;
        let epoch = open_history(&store.writer, true).await?;
        store.close().await;
        Ok(epoch)
    }

    /// Closes the file after the calls under way are done. Not needed for safety.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Begins a write; the lock is taken at once, so a transaction never fails half-way for want of it.
    async fn write(&self) -> StoreResult<Tx> {
        self.writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(store_failure)
    }

    /// Begins a write of an operator's call. The single writer is all the lock it needs.
    async fn write_in(&self, _org: OrgId) -> StoreResult<Tx> {
        self.write().await
    }

    /// A connection for a single read.
    async fn reader(&self) -> StoreResult<PoolConnection<Sqlite>> {
        self.readers.acquire().await.map_err(store_failure)
    }

    /// A connection that reads everything.
    pub(super) async fn reader_for_copy(&self) -> StoreResult<PoolConnection<Sqlite>> {
        self.reader().await
    }

    /// Begins a read of one snapshot.
    async fn read(&self) -> StoreResult<Tx> {
        self.readers.begin().await.map_err(store_failure)
    }
}

/// Settings both pools share.
fn pool(connections_max: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections_max)
        .min_connections(1)
        .acquire_timeout(STORE_ACQUIRE_MAX)
        .idle_timeout(STORE_IDLE_MAX)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Commits a write.
async fn commit(tx: Tx) -> StoreResult<()> {
    tx.commit().await.map_err(store_failure)
}

/// Reads this history's id, making one when there is none (or when asked to), and checks the format.
async fn open_history(writer: &SqlitePool, renew: bool) -> StoreResult<Epoch> {
    let fresh: u64 = rand::random();
    let sql = if renew {
        "INSERT INTO meta (id, epoch, format, rev) VALUES (1, $1, $2, 0) ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch"
    } else {
        "INSERT INTO meta (id, epoch, format, rev) VALUES (1, $1, $2, 0) ON CONFLICT (id) DO NOTHING"
    };
    sqlx::query(sql)
        .bind(fresh.cast_signed())
        .bind(FORMAT)
        .execute(writer)
        .await
        .map_err(store_failure)?;
    let (epoch, format): (i64, i64) = sqlx::query_as("SELECT epoch, format FROM meta WHERE id = 1")
        .fetch_one(writer)
        .await
        .map_err(store_failure)?;
    if format != FORMAT {
        return Err(StoreError::Damaged {
            what: format!("database of format {format}"),
        });
    }
    Ok(Epoch(epoch.cast_unsigned()))
}
