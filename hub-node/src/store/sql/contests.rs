//! Joins of devices that change hands too often.
//!
//! Owns the rule: within `TAKEOVERS_WINDOW` the first `TAKEOVERS_MAX` joins win at once; the next one has to wait while the
//! holder is asked, and wins unless the holder proved itself after the question was put. All times are the database's.

use super::Db;
use hub_core::limits::TAKEOVERS_WINDOW;
use hub_proto::id::{ConnGen, DeviceId};

use super::failure::{found, store_failure};
use super::nodes;
use crate::store::StoreResult;
use crate::store::delivery::{Attach, Contest, DeviceOutcome};

/// Takeovers since this moment count.
pub(super) fn window_start(now: i64) -> i64 {
    now.saturating_sub(i64::try_from(TAKEOVERS_WINDOW.as_micros()).unwrap_or(i64::MAX))
}

/// The answer to a join that did not win: the holder proved itself, or is to be asked now.
pub(super) async fn contested(db: &mut Db, join: &Attach, now: i64) -> StoreResult<DeviceOutcome> {
    let holder: Option<(i64, Option<String>)> =
        sqlx::query_as("SELECT conn_gen, node FROM device WHERE id = $1")
            .bind(join.device.0)
            .fetch_optional(&mut *db)
            .await
            .map_err(store_failure)?;
    let (generation, node) = found(holder, "device")?;
    let generation = ConnGen(generation);
    if join
        .contest
        .as_ref()
        .is_some_and(|contest| contest.generation == generation)
    {
        return Ok(DeviceOutcome::Duplicate);
    }
    let node = found(node, "holder")?;
    if node != *join.node {
        nodes::notify(db, &node, join.device, generation).await?;
    }
    Ok(DeviceOutcome::Contested(Contest {
        node: node.into(),
        generation,
        since: now,
    }))
}

/// The holder's peer answered.
pub(super) async fn alive(
    db: &mut Db,
    device: DeviceId,
    generation: ConnGen,
    now: i64,
) -> StoreResult<DeviceOutcome> {
    sqlx::query("UPDATE device SET proved_gen = $2, proved_at = $3 WHERE id = $1")
        .bind(device.0)
        .bind(generation.0)
        .bind(now)
        .execute(db)
        .await
        .map_err(store_failure)?;
    Ok(DeviceOutcome::Done)
}
