//! Joins and leaves of devices: who owns a device's connection.
//!
//! Owns the generation: a join takes the next one, and every later write must name it.

use std::collections::HashMap;

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
use super::level::Holder;
use super::owners::Owners;
use super::rows::{json_list, storable};
use super::{contests, nodes};
use crate::store::StoreResult;
use crate::store::delivery::{Attach, Attached, DeviceOutcome, Reconciled};

/// Joins of as many devices, in few statements when nothing is due to them and nobody holds them. A join ends what was said about an
/// update: with other firmware than before that succeeded, whatever was reported last, and a device that is back is no longer
/// rebooting. `now` is the database's.
pub(super) async fn attach(
    db: &mut Db,
    joins: &[&Attach],
    owners: &mut Owners,
    now: i64,
) -> StoreResult<Vec<DeviceOutcome>> {
    if joins.is_empty() {
        return Ok(Vec::new());
    }
    let holder = |join: &&Attach| Holder {
        device: join.device,
        certificate: join.certificate,
        at: join.at,
    };
    let holders: Vec<Holder> = joins.iter().map(holder).collect();
    let lacking = reconciled(db, &holders).await?;
    let may = |(join, lacks): (&&'_ Attach, &Reconciled)| match lacks.level.standing {
        Standing::Active => Some(take_item(join)),
        Standing::Refused(_) => None,
    };
    let items: Vec<_> = joins.iter().zip(&lacking).filter_map(may).collect();
    let mut taken = take(db, &items, now).await?;
    let mut outcomes = Vec::with_capacity(joins.len());
    for (join, reconciled) in joins.iter().zip(lacking) {
        let taken = taken.remove(&join.device.0);
        outcomes.push(joined(db, join, reconciled, taken, owners, now).await?);
    }
    Ok(outcomes)
}

/// What becomes of one join, which was refused, took the device, or has to wait.
async fn joined(
    db: &mut Db,
    join: &Attach,
    mut reconciled: Reconciled,
    taken: Option<Taken>,
    owners: &mut Owners,
    now: i64,
) -> StoreResult<DeviceOutcome> {
    let attached = |generation, reconciled, taken_from: Option<String>| DeviceOutcome::Attached {
        attached: Box::new(Attached {
            generation,
            reconciled,
        }),
        taken_from: taken_from.map(String::into_boxed_str),
    };
    match reconciled.level.standing {
        Standing::Active => {}
        Standing::Refused(_) => return Ok(attached(ConnGen(0), reconciled, None)),
    }
    let Some(Taken {
        conn_gen,
        taken_from,
        ..
    }) = taken
    else {
        return contests::contested(db, join, now).await;
    };
    let generation = ConnGen(conn_gen);
    owners.took(join.device, generation);
    if let Some(node) = taken_from.as_deref().filter(|node| **node != *join.node) {
        nodes::notify(db, node, join.device, generation).await?;
    }
    claim_due(db, join, &mut reconciled).await?;
    Ok(attached(generation, reconciled, taken_from))
}

/// A device that a join took.
#[derive(sqlx::FromRow)]
struct Taken {
    id: i64,
    conn_gen: i64,
    taken_from: Option<String>,
}

/// A join as the statement reads it.
fn take_item(join: &Attach) -> serde_json::Value {
    let contest = join.contest.as_ref();
    serde_json::json!({
        "d": join.device.0,
        "n": &*join.node,
        "r": join.remote.as_deref(),
        "t": join.at.as_micros(),
        "f": running(&join.firmware),
        "g": contest.map_or(-1, |contest| contest.generation.0),
        "s": contest.map_or(0, |contest| contest.since),
    })
}

/// Makes each joiner the owner, unless its holder is to be asked first: by device, the new generation and the node it was taken from.
async fn take(
    db: &mut Db,
    items: &[serde_json::Value],
    now: i64,
) -> StoreResult<HashMap<i64, Taken>> {
    if items.is_empty() {
        return Ok(HashMap::new());
    }
    let taken: Vec<Taken> = sqlx::query_as(concat!(
        "UPDATE device SET conn_gen = conn_gen + 1, node = j.node, remote = j.remote, connected_at = j.now, taken_from = device.node, \
         takeovers = CASE WHEN device.node IS NULL THEN takeovers WHEN takeovers_since < $3 THEN 1 ELSE takeovers + 1 END, \
         takeovers_since = CASE WHEN device.node IS NOT NULL AND takeovers_since < $3 THEN $2 ELSE takeovers_since END, \
         firmware = coalesce(j.firmware, device.firmware), \
         update_status = CASE WHEN update_status IS NULL THEN NULL WHEN j.uuid <> ", json!("device.firmware"), " ->> 'uuid' \
         THEN 'completed' WHEN update_status = 'rebooting' THEN NULL ELSE update_status END, \
         update_progress = CASE WHEN j.uuid <> ", json!("device.firmware"), " ->> 'uuid' THEN NULL ELSE update_progress END, \
         update_error = CASE WHEN j.uuid <> ", json!("device.firmware"), " ->> 'uuid' THEN NULL ELSE update_error END \
         FROM (SELECT ", number!("item", "d"), " AS id, ", text!("item", "n"), " AS node, ", text!("item", "r"), " AS remote, ",
         number!("item", "t"), " AS now, ", text!("item", "f"), " AS firmware, ", json!(text!("item", "f")), " ->> 'uuid' AS uuid, ",
         number!("item", "g"), " AS holder, ", number!("item", "s"), " AS since FROM ", list!("$1", "item"), ") j \
         WHERE device.id = j.id AND (device.node IS NULL OR takeovers_since < $3 OR takeovers < $4 \
         OR (conn_gen = j.holder AND (proved_gen IS NULL OR proved_gen <> conn_gen OR proved_at < j.since))) \
         RETURNING device.id, conn_gen, taken_from"
    ))
    .bind(json_list(items))
    .bind(now)
    .bind(contests::window_start(now))
    .bind(TAKEOVERS_MAX)
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    Ok(taken.into_iter().map(|taken| (taken.id, taken)).collect())
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

/// The end of a socket that had joined.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) device: DeviceId,
    pub(super) generation: ConnGen,
    pub(super) at: Timestamp,
}

/// Sockets of as many devices closed. Closing twice is closing once.
pub(super) async fn detach(
    db: &mut Db,
    ends: &[End],
    owners: &Owners,
) -> StoreResult<Vec<DeviceOutcome>> {
    let stop = |end: &End| owners.fence(end.device, end.generation).err();
    let stops: Vec<_> = ends.iter().map(stop).collect();
    let item = |(end, stop): (&End, &Option<_>)| match stop {
        None => Some(serde_json::json!({"d": end.device.0, "t": end.at.as_micros()})),
        Some(_) => None,
    };
    let items: Vec<_> = ends.iter().zip(&stops).filter_map(item).collect();
    if !items.is_empty() {
        sqlx::query(concat!(
            "UPDATE device SET node = NULL, remote = NULL, connected_at = NULL, disconnected_at = gone.at \
             FROM (SELECT ", number!("item", "d"), " AS id, ", number!("item", "t"), " AS at FROM ", list!("$1", "item"), ") gone \
             WHERE device.id = gone.id AND node IS NOT NULL",
        ))
        .bind(json_list(&items))
        .execute(db)
        .await
        .map_err(store_failure)?;
    }
    let outcome = |stop: Option<_>| stop.unwrap_or(DeviceOutcome::Done);
    Ok(stops.into_iter().map(outcome).collect())
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
