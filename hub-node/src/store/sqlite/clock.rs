//! Clocks: the process's, for columns that say when a row was made and decide nothing, and the database's, which leases and
//! contests go by. An embedded database has the clock of its only process.

use std::time::SystemTime;

use hub_proto::time::Timestamp;
use sqlx::SqliteConnection;

use crate::store::StoreResult;

/// Now, by this process.
pub(super) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// Now, by the database, in microseconds.
#[allow(clippy::unused_async, reason = "a database server must be asked")]
pub(super) async fn database(_db: &mut SqliteConnection) -> StoreResult<i64> {
    Ok(now().as_micros())
}
