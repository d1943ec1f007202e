//! Nodes: their leases, and what the database says about them once they are gone.
//!
//! Owns the rule that a lease is judged by the database's clock inside the statement that acts on it, and that marking a
//! device as not connected leaves its generation alone: only a join takes a device from its holder.

mod load;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::Db;
use async_trait::async_trait;
use hub_core::limits::{LEASE_DEVICES_MAX, LEASE_KEPT, LEASE_TTL, NODES_MAX, NOTICES_MAX};
use hub_core::rebalance::Rules;
use hub_proto::id::{ConnGen, DeviceId};
use hub_proto::time::Timestamp;

use super::failure::store_failure;
use super::rows::json_list;
use super::{Backend, commit, engine};
use crate::store::cluster::{ClusterStore, NodeLoad, NodeRow, NodeRun, Notice, Reaped, Renewal};
use crate::store::{StoreError, StoreResult};

#[async_trait]
impl ClusterStore for Backend {
    async fn start_node(&self, node: &NodeRun) -> StoreResult<()> {
        let mut tx = self.write().await?;
        let now = engine::clock(&mut tx).await?;
        insert(&mut tx, node, now, Over::Any).await?;
        // the generation rises too: should the dead node still write, it is fenced
        sqlx::query(
            "UPDATE device SET conn_gen = conn_gen + 1, node = NULL, remote = NULL, connected_at = NULL, \
             disconnected_at = $2 WHERE node = $1",
        )
        .bind(&*node.name)
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(store_failure)?;
        forget_notices(&mut tx, &node.name).await?;
        commit(tx).await
    }

    async fn enter_node(&self, node: &NodeRun) -> StoreResult<bool> {
        let mut tx = self.write().await?;
        let now = engine::clock(&mut tx).await?;
        let entered = insert(&mut tx, node, now, Over::Itself).await?;
        commit(tx).await?;
        Ok(entered)
    }

    async fn renew_lease(&self, node: &NodeRun, load: NodeLoad) -> StoreResult<Renewal> {
        let mut tx = self.write().await?;
        let now = engine::clock(&mut tx).await?;
        let lapsed: Option<i64> = sqlx::query_scalar(
            "UPDATE node SET lapsed = CASE WHEN lease_until < $3 OR buried = 1 THEN 1 ELSE 0 END, buried = 0, \
             lease_until = $4, sockets = $5, ready = $6 WHERE name = $1 AND run = $2 RETURNING lapsed",
        )
        .bind(&*node.name)
        .bind(node.run)
        .bind(now)
        .bind(now.saturating_add(micros(LEASE_TTL)))
        .bind(load.sockets.cast_signed())
        .bind(i64::from(load.ready))
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_failure)?;
        let renewal = match lapsed {
            Some(lapsed) => Renewal::Held {
                lapsed: lapsed != 0,
                others: others(&mut tx, node, now).await?,
                ordered: load::ordered(&mut tx, now).await?,
            },
            None if is_known(&mut tx, &node.name).await? => Renewal::Replaced,
            None => Renewal::Gone,
        };
        commit(tx).await?;
        Ok(renewal)
    }

    async fn nodes(&self) -> StoreResult<Vec<NodeRow>> {
        let mut tx = self.read().await?;
        let now = engine::clock(&mut tx).await?;
        load::nodes(&mut tx, now).await
    }

    async fn order_rebalance(&self, rules: Rules, lasting: Duration) -> StoreResult<Timestamp> {
        let mut tx = self.write().await?;
        let until = engine::clock(&mut tx)
            .await?
            .saturating_add(micros(lasting));
        load::order(&mut tx, rules, until).await?;
        commit(tx).await?;
        Ok(Timestamp::from_unix_micros(until))
    }

    async fn release_lease(&self, node: &NodeRun) -> StoreResult<()> {
        let mut tx = self.write().await?;
        let now = engine::clock(&mut tx).await?;
        let gone = sqlx::query("DELETE FROM node WHERE name = $1 AND run = $2")
            .bind(&*node.name)
            .bind(node.run)
            .execute(&mut *tx)
            .await
            .map_err(store_failure)?;
        if gone.rows_affected() > 0 {
            disconnect(&mut tx, &node.name, now, i64::MAX).await?;
            forget_notices(&mut tx, &node.name).await?;
        }
        commit(tx).await
    }

    async fn reap(&self, by: &NodeRun) -> StoreResult<Reaped> {
        let mut tx = self.write().await?;
        let now = engine::clock(&mut tx).await?;
        let reaped = reap(&mut tx, by, now).await?;
        commit(tx).await?;
        Ok(reaped)
    }

    async fn reclaim(
        &self,
        node: &NodeRun,
        held: &[(DeviceId, ConnGen)],
    ) -> StoreResult<Vec<DeviceId>> {
        let mut tx = self.write().await?;
        let now = engine::clock(&mut tx).await?;
        let lost = reclaim(&mut tx, node, held, now).await?;
        commit(tx).await?;
        Ok(lost)
    }

    async fn held(&self, node: &NodeRun, after: DeviceId) -> StoreResult<Vec<(DeviceId, ConnGen)>> {
        let mut tx = self.read().await?;
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT id, conn_gen FROM device WHERE node = $1 AND id > $2 ORDER BY id LIMIT $3",
        )
        .bind(&*node.name)
        .bind(after.0)
        .bind(limit(LEASE_DEVICES_MAX))
        .fetch_all(&mut *tx)
        .await
        .map_err(store_failure)?;
        Ok(rows
            .into_iter()
            .map(|(id, generation)| (DeviceId(id), ConnGen(generation)))
            .collect())
    }

    async fn notices(&self, node: &NodeRun) -> StoreResult<Vec<Notice>> {
        let mut tx = self.read().await?;
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT device_id, conn_gen FROM notice WHERE node = $1 ORDER BY device_id LIMIT $2",
        )
        .bind(&*node.name)
        .bind(limit(NOTICES_MAX))
        .fetch_all(&mut *tx)
        .await
        .map_err(store_failure)?;
        Ok(rows
            .into_iter()
            .map(|(id, generation)| Notice {
                device: DeviceId(id),
                generation: ConnGen(generation),
            })
            .collect())
    }

    async fn clear_notices(&self, node: &NodeRun, notices: &[Notice]) -> StoreResult<()> {
        let mut tx = self.write().await?;
        let done = notices.iter().map(|n| (n.device, n.generation));
        sqlx::query(concat!(
            "DELETE FROM notice WHERE node = $1 AND device_id || ':' || conn_gen IN (SELECT done.value FROM ",
            list!("$2", "done"),
            ")",
        ))
        .bind(&*node.name)
        .bind(json_list(&keys(done)))
        .execute(&mut *tx)
        .await
        .map_err(store_failure)?;
        commit(tx).await
    }
}

/// Leaves word for the node that holds a device.
pub(super) async fn notify(
    db: &mut Db,
    node: &str,
    device: DeviceId,
    generation: ConnGen,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO notice (node, device_id, conn_gen) VALUES ($1, $2, $3) \
         ON CONFLICT (node, device_id) DO UPDATE SET conn_gen = excluded.conn_gen",
    )
    .bind(node)
    .bind(device.0)
    .bind(generation.0)
    .execute(db)
    .await
    .map_err(store_failure)?;
    Ok(())
}

/// Whose row a new one may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Any,
    Itself,
}

async fn insert(db: &mut Db, node: &NodeRun, now: i64, over: Over) -> StoreResult<bool> {
    let written = sqlx::query(
        "INSERT INTO node (name, run, peer_address, started_at, lease_until, lapsed, buried) \
         VALUES ($1, $2, $3, $4, $5, 0, 0) ON CONFLICT (name) DO UPDATE SET run = excluded.run, \
         peer_address = excluded.peer_address, started_at = excluded.started_at, lease_until = excluded.lease_until, \
         lapsed = 0, buried = 0 WHERE $6 = 1 OR node.run = excluded.run",
    )
    .bind(&*node.name)
    .bind(node.run)
    .bind(node.peer_address.as_deref())
    .bind(now)
    .bind(now.saturating_add(micros(LEASE_TTL)))
    .bind(i64::from(over == Over::Any))
    .execute(db)
    .await
    .map_err(store_failure)?;
    Ok(written.rows_affected() > 0)
}

async fn is_known(db: &mut Db, name: &str) -> StoreResult<bool> {
    let run: Option<i64> = sqlx::query_scalar("SELECT run FROM node WHERE name = $1")
        .bind(name)
        .fetch_optional(db)
        .await
        .map_err(store_failure)?;
    Ok(run.is_some())
}

async fn others(db: &mut Db, node: &NodeRun, now: i64) -> StoreResult<Vec<(NodeRun, NodeLoad)>> {
    let rows: Vec<(String, i64, Option<String>, i64, i64)> = sqlx::query_as(
        "SELECT name, run, peer_address, sockets, ready FROM node WHERE lease_until >= $2 AND name <> $1 ORDER BY name LIMIT $3",
    )
    .bind(&*node.name)
    .bind(now)
    .bind(limit(NODES_MAX))
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    Ok(rows
        .into_iter()
        .map(|(name, run, peer, sockets, ready)| {
            let other = NodeRun {
                name: name.into(),
                run,
                peer_address: peer.map(Arc::from),
            };
            (other, load::of(sockets, ready))
        })
        .collect())
}

/// Looks at every node whose lease ran out within `LEASE_KEPT`: a join that was under way when it did may show only later.
async fn reap(db: &mut Db, by: &NodeRun, now: i64) -> StoreResult<Reaped> {
    let late: Vec<String> = sqlx::query_scalar(
        "UPDATE node SET buried = 1 WHERE lease_until < $2 AND name <> $1 RETURNING name",
    )
    .bind(&*by.name)
    .bind(now)
    .fetch_all(&mut *db)
    .await
    .map_err(store_failure)?;
    let mut reaped = Reaped {
        devices: 0,
        more: false,
    };
    for name in &late {
        let devices = disconnect(db, name, now, limit(LEASE_DEVICES_MAX)).await?;
        forget_notices(db, name).await?;
        reaped.devices += devices;
        reaped.more |= devices >= LEASE_DEVICES_MAX as u64;
    }
    if !late.is_empty() && !reaped.more {
        sqlx::query("DELETE FROM node WHERE lease_until < $1")
            .bind(now.saturating_sub(micros(LEASE_KEPT)))
            .execute(db)
            .await
            .map_err(store_failure)?;
    }
    Ok(reaped)
}

async fn reclaim(
    db: &mut Db,
    node: &NodeRun,
    held: &[(DeviceId, ConnGen)],
    now: i64,
) -> StoreResult<Vec<DeviceId>> {
    if held.len() > LEASE_DEVICES_MAX {
        let error = format!(
            "{} devices are more than the {LEASE_DEVICES_MAX} of one call",
            held.len()
        );
        return Err(StoreError::Failed(error.into()));
    }
    let ids: Vec<i64> = held.iter().map(|(device, _)| device.0).collect();
    let mine: Vec<i64> = sqlx::query_scalar(concat!(
        "UPDATE device SET node = $1, connected_at = coalesce(connected_at, $4) WHERE id IN (SELECT held.value FROM ",
        ids!("$2", "held"),
        ") AND id || ':' || conn_gen IN (SELECT held.value FROM ",
        list!("$3", "held"),
        ") RETURNING id",
    ))
    .bind(&*node.name)
    .bind(json_list(&ids))
    .bind(json_list(&keys(held.iter().copied())))
    .bind(now)
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    let mine: HashSet<i64> = mine.into_iter().collect();
    let mut lost: Vec<DeviceId> = held
        .iter()
        .map(|(device, _)| *device)
        .filter(|device| !mine.contains(&device.0))
        .collect();
    lost.sort_unstable();
    Ok(lost)
}

/// Says of a node's devices that they are not connected. The generation stays. Rows are locked as they are chosen, in the order
/// in which batches of device writes lock them: a device that another node has just taken is left alone.
async fn disconnect(db: &mut Db, name: &str, now: i64, many: i64) -> StoreResult<u64> {
    let done = sqlx::query(concat!(
        "UPDATE device SET node = NULL, disconnected_at = $2 \
         WHERE id IN (SELECT id FROM device WHERE node = $1 ORDER BY id LIMIT $3",
        locked!(),
        ")",
    ))
    .bind(name)
    .bind(now)
    .bind(many)
    .execute(db)
    .await
    .map_err(store_failure)?;
    Ok(done.rows_affected())
}

async fn forget_notices(db: &mut Db, name: &str) -> StoreResult<()> {
    sqlx::query("DELETE FROM notice WHERE node = $1")
        .bind(name)
        .execute(db)
        .await
        .map_err(store_failure)?;
    Ok(())
}

/// Device and generation as one text, so that a list of pairs is a list of texts.
fn keys(pairs: impl Iterator<Item = (DeviceId, ConnGen)>) -> Vec<String> {
    pairs
        .map(|(device, generation)| format!("{}:{}", device.0, generation.0))
        .collect()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
