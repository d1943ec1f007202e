//! Moves a hub from SQLite to Postgres: every row that outlives a node, with proof that it arrived.
//!
//! Owns the rules: the target must have no org yet, nobody may run on the source, all rows arrive in one transaction, and it is
//! committed only when both sides hold the same rows. The history goes on: epoch and positions of channels stay, so devices
//! notice nothing. What only speaks of the present stays behind: connections, leases, and places in the change log.

use hub_core::limits::COPY_ROWS_MAX;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, PgConnection, Row as _, SqliteConnection};

use super::postgres::PostgresStore;
use super::sqlite::SqliteStore;
use super::{StoreError, StoreResult};

/// The tables, each after those it refers to.
pub(super) const TABLES: [&str; 17] = [
    "meta",
    "org",
    "product",
    "token",
    "idempotency",
    "channel_head",
    "signing_key",
    "firmware",
    "authority",
    "registration",
    "device",
    "device_certificate",
    "device_group",
    "member",
    "command",
    "execution",
    "cursor",
];
/// Columns of the present: the change log's places, and who is connected where.
const LEFT_BEHIND: [(&str, &str); 10] = [
    ("meta", "rev"),
    ("channel_head", "rev"),
    ("device", "node"),
    ("device", "remote"),
    ("device", "connected_at"),
    ("device", "taken_from"),
    ("device", "takeovers"),
    ("device", "takeovers_since"),
    ("device", "proved_gen"),
    ("device", "proved_at"),
];

/// One table that was copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopiedTable {
    /// Its name.
    pub table: &'static str,
    /// Its rows, the same on both sides.
    pub rows: u64,
    /// A digest of its rows, the same on both sides, hex.
    pub digest: String,
}

/// What the copy says while it works.
pub trait Progress {
    /// A table begins; it has this many rows.
    fn table(&mut self, name: &'static str, rows: u64);
    /// So many more rows of it are over.
    fn rows(&mut self, many: u64);
}

/// A column, and how its values are told as text.
struct Column {
    name: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Bytes,
}

/// Rows counted, with a digest that does not depend on their order.
#[derive(Default, PartialEq, Eq)]
struct Tally {
    rows: u64,
    sum: u128,
}

/// A row as text.
type Texts = Vec<Option<String>>;

/// Copies everything from one store to the other.
///
/// # Errors
/// `Conflict` when the target is not empty or a node runs on the source; `Damaged` when both sides differ afterwards; what the
/// databases say. The target is unchanged after an error.
pub async fn copy(
    from: &SqliteStore,
    to: &PostgresStore,
    progress: &mut impl Progress,
) -> StoreResult<Vec<CopiedTable>> {
    let mut source = from.reader_for_copy().await?;
    let mut tx = to.begin_copy().await?;
    refuse_running(&mut source).await?;
    refuse_filled(&mut tx).await?;
    run(&mut tx, "DELETE FROM meta").await?;
    let mut copied = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        copied.push(copy_table(&mut source, &mut tx, table, progress).await?);
    }
    tx.commit().await.map_err(failed)?;
    Ok(copied)
}

async fn copy_table(
    source: &mut SqliteConnection,
    target: &mut PgConnection,
    table: &'static str,
    progress: &mut impl Progress,
) -> StoreResult<CopiedTable> {
    let columns = columns(target, table).await?;
    let total: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
        .fetch_one(&mut *source)
        .await
        .map_err(failed)?;
    progress.table(table, total.unsigned_abs());
    let here = pour(source, target, table, &columns, progress).await?;
    let there = tally_of_target(target, table, &columns).await?;
    if here != there {
        return Err(StoreError::Damaged {
            what: format!(
                "{table}: {} rows were read and {} arrived, or they differ",
                here.rows, there.rows
            ),
        });
    }
    continue_ids(source, target, table, &columns).await?;
    Ok(CopiedTable {
        table,
        rows: here.rows,
        digest: format!("{:032x}", here.sum),
    })
}

/// Reads rows by rowid, a batch at a time, and writes each batch in one statement.
async fn pour(
    source: &mut SqliteConnection,
    target: &mut PgConnection,
    table: &str,
    columns: &[Column],
    progress: &mut impl Progress,
) -> StoreResult<Tally> {
    let told: Vec<String> = columns.iter().map(Column::told_by_sqlite).collect();
    let read = format!(
        "SELECT rowid, {} FROM {table} WHERE rowid > $1 ORDER BY rowid LIMIT {COPY_ROWS_MAX}",
        told.join(", ")
    );
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let taken: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| column.taken_by_postgres(at))
        .collect();
    let (mut more_names, mut more_values) = (String::new(), String::new());
    if LEFT_BEHIND.contains(&(table, "rev")) {
        (more_names, more_values) = (", rev".to_owned(), ", 0".to_owned());
    }
    let write = format!(
        "INSERT INTO {table} ({}{more_names}) SELECT {}{more_values} FROM json_array_elements($1::json) AS row",
        names.join(", "),
        taken.join(", ")
    );
    let mut tally = Tally::default();
    let mut after = i64::MIN;
    loop {
        let rows = sqlx::query(AssertSqlSafe(read.clone()))
            .bind(after)
            .fetch_all(&mut *source)
            .await
            .map_err(failed)?;
        let Some(last) = rows.last() else {
            return Ok(tally);
        };
        after = last.try_get(0).map_err(failed)?;
        let mut batch: Vec<Texts> = Vec::with_capacity(rows.len());
        for row in &rows {
            let texts = (1..row.columns().len()).map(|at| row.try_get(at));
            batch.push(texts.collect::<Result<Texts, _>>().map_err(failed)?);
        }
        batch.iter().for_each(|row| tally.add(row));
        let json = serde_json::to_string(&batch).map_err(|e| StoreError::Failed(e.into()))?;
        sqlx::query(AssertSqlSafe(write.clone()))
            .bind(json)
            .execute(&mut *target)
            .await
            .map_err(failed)?;
        progress.rows(batch.len() as u64);
    }
}

async fn tally_of_target(
    target: &mut PgConnection,
    table: &str,
    columns: &[Column],
) -> StoreResult<Tally> {
    let told: Vec<String> = columns.iter().map(Column::told_by_postgres).collect();
    // a cursor of its own name for each table: the statements that read it are remembered with their columns
    let declare = format!(
        "DECLARE copied_{table} NO SCROLL CURSOR FOR SELECT {} FROM {table}",
        told.join(", ")
    );
    run(target, &declare).await?;
    let fetch = format!("FETCH {COPY_ROWS_MAX} FROM copied_{table}");
    let mut tally = Tally::default();
    loop {
        let rows = sqlx::query(AssertSqlSafe(fetch.clone()))
            .fetch_all(&mut *target)
            .await
            .map_err(failed)?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            let texts = (0..row.columns().len()).map(|at| row.try_get(at));
            tally.add(&texts.collect::<Result<Texts, _>>().map_err(failed)?);
        }
    }
    run(target, &format!("CLOSE copied_{table}")).await?;
    Ok(tally)
}

/// New ids go on where the source's would have: an id that was given out once is never given out again.
async fn continue_ids(
    source: &mut SqliteConnection,
    target: &mut PgConnection,
    table: &str,
    columns: &[Column],
) -> StoreResult<()> {
    let counted = columns
        .iter()
        .any(|column| column.name == "id" && column.kind == Kind::Number);
    if !counted || table == "meta" {
        return Ok(());
    }
    let last: Option<i64> = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = $1")
        .bind(table)
        .fetch_optional(source)
        .await
        .map_err(failed)?;
    if let Some(last) = last.filter(|last| *last > 0) {
        sqlx::query("SELECT setval(pg_get_serial_sequence($1, 'id'), $2)")
            .bind(table)
            .bind(last)
            .execute(target)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

async fn columns(target: &mut PgConnection, table: &str) -> StoreResult<Vec<Column>> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT column_name::text, data_type::text FROM information_schema.columns \
         WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
    )
    .bind(table)
    .fetch_all(target)
    .await
    .map_err(failed)?;
    Ok(rows
        .into_iter()
        .filter(|(name, _)| !LEFT_BEHIND.contains(&(table, name.as_str())))
        .map(|(name, kind)| Column {
            name,
            kind: match kind.as_str() {
                "bigint" => Kind::Number,
                "bytea" => Kind::Bytes,
                _ => Kind::Text,
            },
        })
        .collect())
}

async fn refuse_running(source: &mut SqliteConnection) -> StoreResult<()> {
    let name: Option<String> = sqlx::query_scalar(
        "SELECT name FROM node WHERE lease_until > CAST(unixepoch('subsec') * 1000000 AS INTEGER) LIMIT 1",
    )
    .fetch_optional(source)
    .await
    .map_err(failed)?;
    match name {
        None => Ok(()),
        Some(name) => Err(StoreError::Conflict {
            code: "node_running",
            detail: format!(
                "node {name} runs on the source or ended less than 15 s ago; stop it, or wait"
            ),
        }),
    }
}

async fn refuse_filled(target: &mut PgConnection) -> StoreResult<()> {
    let filled: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM org) OR EXISTS (SELECT 1 FROM token) OR EXISTS (SELECT 1 FROM node)",
    )
    .fetch_one(target)
    .await
    .map_err(failed)?;
    if filled {
        return Err(StoreError::Conflict {
            code: "not_empty",
            detail: "the target holds a hub already; name an empty database".to_owned(),
        });
    }
    Ok(())
}

async fn run(target: &mut PgConnection, sql: &str) -> StoreResult<()> {
    sqlx::query(AssertSqlSafe(sql.to_owned()))
        .execute(target)
        .await
        .map_err(failed)?;
    Ok(())
}

fn failed(error: sqlx::Error) -> StoreError {
    StoreError::Failed(Box::new(error))
}

impl Column {
    fn told_by_sqlite(&self) -> String {
        let name = &self.name;
        match self.kind {
            Kind::Text => name.clone(),
            Kind::Number => format!("CAST({name} AS TEXT)"),
            Kind::Bytes => format!("CASE WHEN {name} IS NOT NULL THEN lower(hex({name})) END"),
        }
    }

    fn told_by_postgres(&self) -> String {
        let name = &self.name;
        match self.kind {
            Kind::Text => name.clone(),
            Kind::Number => format!("{name}::text"),
            Kind::Bytes => format!("encode({name}, 'hex')"),
        }
    }

    fn taken_by_postgres(&self, at: usize) -> String {
        match self.kind {
            Kind::Text => format!("row ->> {at}"),
            Kind::Number => format!("(row ->> {at})::bigint"),
            Kind::Bytes => format!("decode(row ->> {at}, 'hex')"),
        }
    }
}

impl Tally {
    fn add(&mut self, row: &[Option<String>]) {
        let mut digest = Sha256::new();
        for value in row {
            match value {
                None => digest.update([0]),
                Some(text) => {
                    digest.update([1]);
                    digest.update((text.len() as u64).to_be_bytes());
                    digest.update(text);
                }
            }
        }
        let digest: [u8; 32] = digest.finalize().into();
        let (half, _) = digest.split_at(16);
        let number = half
            .iter()
            .fold(0_u128, |n, byte| n << 8 | u128::from(*byte));
        self.sum = self.sum.wrapping_add(number);
        self.rows += 1;
    }
}
