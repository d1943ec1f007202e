//! What nodes hold, and by which rules they are to be levelled.

use hub_core::limits::NODES_MAX;
use hub_core::rebalance::Rules;
use hub_proto::time::Timestamp;

use super::super::Db;
use super::super::failure::store_failure;
use super::limit;
use crate::store::StoreResult;
use crate::store::cluster::{NodeLoad, NodeRow};

/// A load as its columns have it.
pub(super) fn of(sockets: i64, ready: i64) -> NodeLoad {
    NodeLoad {
        sockets: u64::try_from(sockets).unwrap_or_default(),
        ready: ready != 0,
    }
}

/// The nodes that hold a lease.
pub(super) async fn nodes(db: &mut Db, now: i64) -> StoreResult<Vec<NodeRow>> {
    let rows: Vec<(String, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT name, sockets, ready, started_at, lease_until FROM node WHERE lease_until >= $1 ORDER BY name LIMIT $2",
    )
    .bind(now)
    .bind(limit(NODES_MAX))
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    let row = |(name, sockets, ready, started_at, lease_until)| NodeRow {
        name,
        load: of(sockets, ready),
        started_at: Timestamp::from_unix_micros(started_at),
        lease_until: Timestamp::from_unix_micros(lease_until),
    };
    Ok(rows.into_iter().map(row).collect())
}

/// The rules that are in force, if there are some.
pub(super) async fn ordered(db: &mut Db, now: i64) -> StoreResult<Option<Rules>> {
    let row: Option<(i64, i64, i64)> = sqlx::query_as(
        "SELECT absolute, relative_percent, per_second FROM rebalance WHERE until > $1",
    )
    .bind(now)
    .fetch_optional(db)
    .await
    .map_err(store_failure)?;
    let number = |value| u32::try_from(value).unwrap_or(u32::MAX);
    Ok(row.map(|(absolute, relative_percent, per_second)| Rules {
        absolute: number(absolute),
        relative_percent: number(relative_percent),
        per_second: number(per_second),
    }))
}

/// Puts rules in force, in place of earlier ones.
pub(super) async fn order(db: &mut Db, rules: Rules, until: i64) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO rebalance (id, absolute, relative_percent, per_second, until) VALUES (1, $1, $2, $3, $4) \
         ON CONFLICT (id) DO UPDATE SET absolute = excluded.absolute, relative_percent = excluded.relative_percent, \
         per_second = excluded.per_second, until = excluded.until",
    )
    .bind(i64::from(rules.absolute))
    .bind(i64::from(rules.relative_percent))
    .bind(i64::from(rules.per_second))
    .bind(until)
    .execute(db)
    .await
    .map_err(store_failure)?;
    Ok(())
}
