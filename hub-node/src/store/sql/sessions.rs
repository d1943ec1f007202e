//! Joins and leaves of devices: who owns a device's connection.
//!
//! Owns the generation: a join takes the next one, and every later write must name it.

use super::Db;
use hub_core::command::ExecutionState;
use hub_core::level::Standing;
use hub_core::limits::TAKEOVERS_MAX;
use hub_proto::event::FirmwareMetadata;
use hub_proto::id::{ChannelId, ConnGen, DeviceId, Seq};
use hub_proto::time::Timestamp;

use super::delivery::reconciled;
use super::executions::code_of;
use super::failure::store_failure;
use super::rows::storable;
use super::{contests, engine, nodes};
use crate::store::StoreResult;
use crate::store::delivery::{Attach, Attached, DeviceOutcome, Reconciled};

/// What a fenced write may go on with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fence {
    /// The writer owns the device, which is of this org.
    Owner {
        /// Org of the device.
        org: i64,
    },
    /// It does not (any more), and this is to be answered.
    Stop(FenceStop),
}

/// Why a write stops at the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FenceStop {
    /// A newer join owns the device.
    Fenced,
    /// The device is gone.
    Gone,
}

impl From<FenceStop> for DeviceOutcome {
    fn from(stop: FenceStop) -> Self {
        match stop {
            FenceStop::Fenced => Self::Fenced,
            FenceStop::Gone => Self::NotFound,
        }
    }
}

/// Does this generation own the device? Inside a writing transaction the answer holds until it ends.
pub(super) async fn fence(
    db: &mut Db,
    device: DeviceId,
    generation: ConnGen,
) -> StoreResult<Fence> {
    let row: Option<(i64, i64)> = sqlx::query_as(concat!(
        "SELECT conn_gen, org_id FROM device WHERE id = $1",
        locked!()
    ))
    .bind(device.0)
    .fetch_optional(db)
    .await
    .map_err(store_failure)?;
    Ok(match row {
        None => Fence::Stop(FenceStop::Gone),
        Some((owner, org)) if owner == generation.0 => Fence::Owner { org },
        Some(_) => Fence::Stop(FenceStop::Fenced),
    })
}

/// A join: four small statements when nothing is due. It ends what was said about an update: with other firmware than before
/// that succeeded, whatever was reported last, and a device that is back is no longer rebooting. `now` is the database's.
pub(super) async fn attach(db: &mut Db, join: &Attach, now: i64) -> StoreResult<DeviceOutcome> {
    engine::lock_device(db, join.device).await?;
    let mut reconciled = reconciled(db, join.device, join.certificate, join.at).await?;
    match reconciled.level.standing {
        Standing::Active => {}
        Standing::Refused(_) => {
            let attached = Attached {
                generation: ConnGen(0),
                reconciled,
            };
            return Ok(DeviceOutcome::Attached {
                attached: Box::new(attached),
                taken_from: None,
            });
        }
    }
    let Some((generation, taken_from)) = take(db, join, now).await? else {
        return contests::contested(db, join, now).await;
    };
    if let Some(node) = taken_from.as_deref().filter(|node| **node != *join.node) {
        nodes::notify(db, node, join.device, generation).await?;
    }
    claim_due(db, join, &mut reconciled).await?;
    let attached = Attached {
        generation,
        reconciled,
    };
    Ok(DeviceOutcome::Attached {
        attached: Box::new(attached),
        taken_from: taken_from.map(String::into_boxed_str),
    })
}

/// Makes the joiner the owner, unless its holder is to be asked first: the new generation, and the node it was taken from.
async fn take(
    db: &mut Db,
    join: &Attach,
    now: i64,
) -> StoreResult<Option<(ConnGen, Option<String>)>> {
    let contest = join.contest.as_ref();
    let taken: Option<(i64, Option<String>)> = sqlx::query_as(
        concat!(
        "UPDATE device SET conn_gen = conn_gen + 1, node = $2, remote = $3, connected_at = $4, taken_from = node, \
         takeovers = CASE WHEN node IS NULL THEN takeovers WHEN takeovers_since < $7 THEN 1 ELSE takeovers + 1 END, \
         takeovers_since = CASE WHEN node IS NOT NULL AND takeovers_since < $7 THEN $6 ELSE takeovers_since END, \
         firmware = coalesce($5, firmware), \
         update_status = CASE WHEN update_status IS NULL THEN NULL WHEN ", json!("$5"), " ->> 'uuid' <> ", json!("firmware"), " ->> 'uuid' \
         THEN 'completed' WHEN update_status = 'rebooting' THEN NULL ELSE update_status END, \
         update_progress = CASE WHEN ", json!("$5"), " ->> 'uuid' <> ", json!("firmware"), " ->> 'uuid' THEN NULL ELSE update_progress END, \
         update_error = CASE WHEN ", json!("$5"), " ->> 'uuid' <> ", json!("firmware"), " ->> 'uuid' THEN NULL ELSE update_error END \
         WHERE id = $1 AND (node IS NULL OR takeovers_since < $7 OR takeovers < $8 \
         OR (conn_gen = $9 AND (proved_gen IS NULL OR proved_gen <> conn_gen OR proved_at < $10))) \
         RETURNING conn_gen, taken_from"
        ),
    )
    .bind(join.device.0)
    .bind(&*join.node)
    .bind(join.remote.as_deref())
    .bind(join.at.as_micros())
    .bind(running(&join.firmware))
    .bind(now)
    .bind(contests::window_start(now))
    .bind(TAKEOVERS_MAX)
    .bind(contest.map_or(-1, |contest| contest.generation.0))
    .bind(contest.map_or(0, |contest| contest.since))
    .fetch_optional(db)
    .await
    .map_err(store_failure)?;
    Ok(taken.map(|(generation, from)| (ConnGen(generation), from)))
}

/// Claims the device's own commands that the join returns: all of the due ones up to the last of them.
async fn claim_due(db: &mut Db, join: &Attach, reconciled: &mut Reconciled) -> StoreResult<()> {
    let own = ChannelId::Device(join.device);
    let mut last = Seq(0);
    for command in reconciled
        .pending
        .iter_mut()
        .filter(|command| command.channel == own)
    {
        command.state = ExecutionState::Sent;
        last = last.max(command.seq);
    }
    if last == Seq(0) {
        return Ok(());
    }
    sqlx::query(
        "UPDATE execution SET state = $4, at = $3 WHERE device_id = $1 AND state = $5 AND command_id IN \
         (SELECT c.id FROM command c WHERE c.ch = 'd:' || $1 AND c.cancelled_at IS NULL AND c.expires_at > $3 \
          AND +c.seq <= $2)",
    )
    .bind(join.device.0)
    .bind(last.0)
    .bind(join.at.as_micros())
    .bind(code_of(ExecutionState::Sent))
    .bind(code_of(ExecutionState::Queued))
    .execute(db)
    .await
    .map_err(store_failure)?;
    Ok(())
}

/// A socket closed. Closing twice is closing once.
pub(super) async fn detach(
    db: &mut Db,
    device: DeviceId,
    generation: ConnGen,
    at: Timestamp,
) -> StoreResult<DeviceOutcome> {
    if let Fence::Stop(stop) = fence(db, device, generation).await? {
        return Ok(stop.into());
    }
    sqlx::query(
        "UPDATE device SET node = NULL, remote = NULL, connected_at = NULL, disconnected_at = $2 \
         WHERE id = $1 AND node IS NOT NULL",
    )
    .bind(device.0)
    .bind(at.as_micros())
    .execute(db)
    .await
    .map_err(store_failure)?;
    Ok(DeviceOutcome::Done)
}

/// What runs, as it is stored: only the fields that were told; nothing when none was, so that a bare join forgets nothing.
fn running(firmware: &FirmwareMetadata) -> Option<String> {
    let Ok(serde_json::Value::Object(mut fields)) = serde_json::to_value(firmware) else {
        return None;
    };
    fields.retain(|_, value| value.is_string());
    for value in fields.values_mut() {
        if let Some(text) = value.as_str().filter(|text| text.contains('\0')) {
            *value = storable(text).into_owned().into();
        }
    }
    if fields.is_empty() {
        None
    } else {
        Some(serde_json::Value::Object(fields).to_string())
    }
}
