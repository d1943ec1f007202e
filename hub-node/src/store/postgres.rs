//! The store of a cluster: a Postgres database, through sqlx.
//!
//! Any number of nodes write at the same time. What one transaction read and decided by stays true until it commits because it
//! holds a lock on it: the device for what sockets write, the org for what operators change, the channel's head for the order
//! of its changes. The change log is ordered by transaction snapshots, see [`engine`].
//!
//! Commits are synchronous: an `Ok` survives the crash of the server. Every wait has a bound, on the server too; what cannot be had
//! in time is [`StoreError::Unavailable`], and a commit whose answer was lost is that too.

mod engine;

/// `name.value` is each element of a JSON array, bound as text.
macro_rules! list {
    ($parameter:literal, $name:literal) => {
        concat!(
            "json_array_elements_text(",
            $parameter,
            "::json) AS ",
            $name,
            "(value)"
        )
    };
}
/// The same for an array of ids.
macro_rules! ids {
    ($parameter:literal, $name:literal) => {
        concat!(
            "(SELECT element::bigint AS value FROM json_array_elements_text(",
            $parameter,
            "::json) AS list(element)) AS ",
            $name
        )
    };
}
/// A whole number of an element of a [`list!`] whose elements are objects.
macro_rules! number {
    ($name:literal, $field:literal) => {
        concat!("(", $name, ".value::json ->> '", $field, "')::bigint")
    };
}
/// A text of such an element.
macro_rules! text {
    ($name:literal, $field:literal) => {
        concat!("(", $name, ".value::json ->> '", $field, "')")
    };
}
/// Bytes of such an element, which holds them as hexadecimal digits.
macro_rules! bytes {
    ($name:literal, $field:literal) => {
        concat!("decode(", $name, ".value::json ->> '", $field, "', 'hex')")
    };
}
/// A text that is read as JSON.
macro_rules! json {
    ($text:expr) => {
        concat!("(", $text, ")::json")
    };
}
/// The place in the log that all changes of one transaction share.
macro_rules! place {
    () => {
        "$2"
    };
}
/// Keeps the rows that are read from changing until the transaction ends.
macro_rules! locked {
    () => {
        " FOR UPDATE"
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

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use hub_core::limits::{
    STORE_ACQUIRE_MAX, STORE_CALL_MAX, STORE_CONNECTIONS_MAX, STORE_IDLE_MAX, STORE_LOCK_MAX,
    STORE_STATEMENT_MAX, STORE_STATEMENTS_MAX,
};
use hub_proto::id::{Epoch, OrgId};
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, PgConnection, Postgres, Transaction};

use super::{Store, StoreError, StoreResult};
use engine::{migration_failure, store_failure};

/// Shape of the rows this version reads and writes; a database with another one is refused.
const FORMAT: i64 = 1;
/// First half of the lock that an operator's call takes for its org; tells these locks from those of others in the database.
const ORG_LOCK: i32 = 0x6875_6231;
/// What brings the tables up to date. Tables of a newer version are fine: versions that may run side by side read each other's.
static MIGRATIONS: Migrator = {
    let mut migrator = sqlx::migrate!("migrations/postgres");
    migrator.ignore_missing = true;
    migrator
};

/// The connection that the statements in `sql` are given.
type Db = PgConnection;
/// What the statements in `sql` are a part of.
type Backend = PostgresStore;
/// A transaction.
type Tx = Transaction<'static, Postgres>;

/// The shared store. Cloning shares the pool.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    /// Replaced when its connections may be dead, see [`Store::reconnect`].
    connections: Arc<ArcSwap<Connections>>,
    epoch: Epoch,
}

/// A pool, and since when it is in use.
#[derive(Debug)]
struct Connections {
    pool: PgPool,
    since: Instant,
}

impl Connections {
    fn new(pool: PgPool) -> Self {
        Self {
            pool,
            since: Instant::now(),
        }
    }
}

impl Store for PostgresStore {
    fn reconnect(&self) {
        let old = self.connections.load_full();
        // The calls that were under way when the pool was replaced say so too, each when its own time is up.
        if old.since.elapsed() < STORE_CALL_MAX {
            return;
        }
        let options = PgConnectOptions::clone(&old.pool.connect_options());
        let new = Arc::new(Connections::new(pool_options().connect_lazy_with(options)));
        let found = self.connections.compare_and_swap(&old, new);
        if !Arc::ptr_eq(&found, &old) {
            return;
        }
        // What still works ends its call; what does not is given up when the kernel does.
        tokio::spawn(async move {
            let _ = tokio::time::timeout(STORE_CALL_MAX, old.pool.close()).await;
        });
    }
}

impl PostgresStore {
    /// Opens a database whose tables are up to date.
    ///
    /// # Errors
    /// `Failed` for a URL that makes no sense and for tables that `hub-node migrate` must make or bring up to date first;
    /// `Unavailable` when the server cannot be reached; `Damaged` when a newer version of hub wrote it.
    pub async fn open(url: &str) -> StoreResult<Self> {
        let pool = connect(url).await?;
        let pending = pending(&pool).await?;
        if !pending.is_empty() {
            let error = format!(
                "the database needs {} migration(s); run `hub-node migrate` with the same configuration",
                pending.len()
            );
            return Err(StoreError::Failed(error.into()));
        }
        if is_from_elsewhere(&pool).await? {
            return Err(StoreError::Failed(
                "the database was restored from a dump; run `hub-node store renew-epoch` with the same configuration".into(),
            ));
        }
        let (epoch, format): (i64, i64) =
            sqlx::query_as("SELECT epoch, format FROM meta WHERE id = 1")
                .fetch_one(&pool)
                .await
                .map_err(store_failure)?;
        if format != FORMAT {
            return Err(StoreError::Damaged {
                what: format!("database of format {format}"),
            });
        }
        Ok(Self {
            connections: Arc::new(ArcSwap::from_pointee(Connections::new(pool))),
            epoch: Epoch(epoch.cast_unsigned()),
        })
    }

    /// Makes or brings up to date the tables; the names of the migrations that were needed. Safe to run from many places at once,
    /// and while nodes of this or the previous version run.
    ///
    /// # Errors
    /// As [`PostgresStore::open`].
    pub async fn migrate(url: &str) -> StoreResult<Vec<String>> {
        let pool = connect(url).await?;
        let needed = pending(&pool).await?;
        MIGRATIONS.run(&pool).await.map_err(migration_failure)?;
        let fresh: u64 = rand::random();
        sqlx::query("INSERT INTO meta (id, epoch, format, rev) VALUES (1, $1, $2, 0) ON CONFLICT (id) DO NOTHING")
            .bind(fresh.cast_signed())
            .bind(FORMAT)
            .execute(&pool)
            .await
            .map_err(store_failure)?;
        pool.close().await;
        Ok(needed)
    }

    /// Declares the database a new history, as after a restore from a backup, so that nodes and devices take nothing they
    /// remember of the old one for granted. Places in the change log are forgotten: those of a dump are transactions of
    /// another server, and this one's may be lower. No node may be running on it.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached; `Failed` when it holds no hub.
    pub async fn renew_epoch(url: &str) -> StoreResult<Epoch> {
        let pool = connect(url).await?;
        let mut tx = pool.begin().await.map_err(store_failure)?;
        let fresh: u64 = rand::random();
        // one statement may write a large table
        for sql in [
            "SET LOCAL statement_timeout = 0",
            "UPDATE channel_head SET rev = 0 WHERE rev > 0",
        ] {
            sqlx::query(sql)
                .execute(&mut *tx)
                .await
                .map_err(store_failure)?;
        }
        sqlx::query("UPDATE meta SET epoch = $1 WHERE id = 1")
            .bind(fresh.cast_signed())
            .execute(&mut *tx)
            .await
            .map_err(store_failure)?;
        tx.commit().await.map_err(store_failure)?;
        pool.close().await;
        Ok(Epoch(fresh))
    }

    /// Closes all connections after the calls under way are done.
    pub async fn close(&self) {
        self.pool().close().await;
    }

    /// The pool to use now. Cloning it is counting a reference.
    fn pool(&self) -> PgPool {
        self.connections.load().pool.clone()
    }

    /// Begins a write.
    async fn write(&self) -> StoreResult<Tx> {
        let pool = self.pool();
        begun(async move { pool.begin().await }).await
    }

    /// Begins a write of an operator's call: until it ends, no other call changes the same org.
    async fn write_in(&self, org: OrgId) -> StoreResult<Tx> {
        let mut tx = self.write().await?;
        // Two orgs that share the lower half of their ids wait for each other, which harms nobody.
        let key = i32::from_ne_bytes((org.0 as u32).to_ne_bytes());
        sqlx::query("SELECT pg_advisory_xact_lock($1, $2)")
            .bind(ORG_LOCK)
            .bind(key)
            .execute(&mut *tx)
            .await
            .map_err(store_failure)?;
        Ok(tx)
    }

    /// A connection for a single read.
    async fn reader(&self) -> StoreResult<PoolConnection<Postgres>> {
        self.pool().acquire().await.map_err(store_failure)
    }

    /// Begins the transaction that fills an empty database.
    pub(super) async fn begin_copy(&self) -> StoreResult<Tx> {
        let mut tx = self.write().await?;
        // one statement may write and check a large table
        sqlx::query("SET LOCAL statement_timeout = 0")
            .execute(&mut *tx)
            .await
            .map_err(store_failure)?;
        Ok(tx)
    }

    /// Begins a read of one snapshot.
    async fn read(&self) -> StoreResult<Tx> {
        const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let pool = self.pool();
        begun(async move { pool.begin_with(BEGIN).await }).await
    }
}

/// Begins a transaction, to the end, whether its caller still waits or not: a connection that is given back while it begins one would
/// stay inside it, and who uses it next with it.
async fn begun(begin: impl Future<Output = sqlx::Result<Tx>> + Send + 'static) -> StoreResult<Tx> {
    match tokio::spawn(begin).await {
        Ok(begun) => begun.map_err(store_failure),
        Err(error) => Err(StoreError::Failed(error.into())),
    }
}

/// Commits a write. A connection that is lost meanwhile leaves the outcome unknown, and that is `Unavailable`.
async fn commit(tx: Tx) -> StoreResult<()> {
    tx.commit().await.map_err(store_failure)
}

async fn connect(url: &str) -> StoreResult<PgPool> {
    let millis = |limit: std::time::Duration| limit.as_millis().to_string();
    let options: PgConnectOptions = url
        .parse()
        // the error may quote the URL, and that may hold a password
        .map_err(|_| StoreError::Failed("database_url: no URL of a Postgres database".into()))?;
    let options = options
        .application_name("hub-node")
        .statement_cache_capacity(STORE_STATEMENTS_MAX)
        .options([
            ("statement_timeout", millis(STORE_STATEMENT_MAX)),
            ("lock_timeout", millis(STORE_LOCK_MAX)),
            (
                "idle_in_transaction_session_timeout",
                millis(STORE_STATEMENT_MAX),
            ),
            ("synchronous_commit", "on".to_owned()),
        ])
        .disable_statement_logging();
    pool_options()
        .connect_with(options)
        .await
        .map_err(store_failure)
}

fn pool_options() -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(STORE_CONNECTIONS_MAX)
        .min_connections(1)
        .acquire_timeout(STORE_ACQUIRE_MAX)
        .idle_timeout(STORE_IDLE_MAX)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Whether changes carry transactions that this server has not come to: it was filled from another one's dump. Its pollers
/// would take such changes for new ones at every look.
async fn is_from_elsewhere(pool: &PgPool) -> StoreResult<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM channel_head \
         WHERE rev > 0 AND rev >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)",
    )
    .fetch_one(pool)
    .await
    .map_err(store_failure)
}

/// The migrations a database still needs.
async fn pending(pool: &PgPool) -> StoreResult<Vec<String>> {
    let applied: Vec<i64> =
        match sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(pool)
            .await
        {
            Ok(applied) => applied,
            Err(error) if engine::is_missing_table(&error) => Vec::new(),
            Err(error) => return Err(store_failure(error)),
        };
    Ok(MIGRATIONS
        .iter()
        .filter(|migration| !applied.contains(&migration.version))
        .map(|migration| format!("{:04} {}", migration.version, migration.description))
        .collect())
}
