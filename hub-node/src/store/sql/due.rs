//! Which commands are still due, to a device or in a group's channel.
//!
//! Owns the rule of the exact audience (`from_seq < seq <= to_seq`, ended memberships included) and of what is over:
//! delivered, cancelled or expired. The cursor only says where not to look again; it decides nothing.

use std::collections::HashMap;

use super::Db;
use hub_core::command::PendingCommand;
use hub_core::limits::UNACKED_COMMANDS_MAX;
use hub_proto::id::{ChannelId, CommandId, DeviceId, Seq};
use hub_proto::time::Timestamp;

use uuid::Uuid;

use super::channels::channel;
use super::executions::state_of;
use super::failure::{damaged, store_failure};
use super::rows::{json_list, time};
use crate::store::StoreResult;

#[derive(sqlx::FromRow)]
struct DueRow {
    id: Vec<u8>,
    ch: String,
    seq: i64,
    name: String,
    args: String,
    expires_at: i64,
    state: i64,
}

#[derive(sqlx::FromRow)]
struct DeviceDueRow {
    device: i64,
    #[sqlx(flatten)]
    due: DueRow,
}

/// A stored command id.
pub(super) fn command_id(bytes: &[u8]) -> StoreResult<CommandId> {
    Uuid::from_slice(bytes)
        .map(CommandId)
        .map_err(|_| damaged("command id"))
}

fn pending_of(row: DueRow) -> StoreResult<PendingCommand> {
    Ok(PendingCommand {
        id: command_id(&row.id)?,
        channel: channel(&row.ch)?,
        seq: Seq(row.seq),
        name: row.name.into(),
        args: row.args.into(),
        expires_at: time(row.expires_at),
        state: state_of(row.state)?,
    })
}

/// What each device is owed over its own channel and those of its groups, and whether there is more than fits; nothing for one that
/// is owed nothing. Inside a channel the order is that of the channel; over all channels the oldest come first, or what a device
/// was sent and the store could not note would wait behind newer commands until the device no longer knows it.
pub(super) async fn due_to_devices(
    db: &mut Db,
    devices: &[(DeviceId, Timestamp)],
) -> StoreResult<HashMap<DeviceId, (Vec<PendingCommand>, bool)>> {
    if devices.is_empty() {
        return Ok(HashMap::new());
    }
    // the unary plus keeps the planner on (ch, expires_at): what expired is then never walked over
    let rows: Vec<DeviceDueRow> = sqlx::query_as(concat!(
        "WITH asked AS (SELECT ", number!("item", "d"), " AS device, ", number!("item", "t"), " AS now \
           FROM ", list!("$1", "item"), "), \
         owed AS (SELECT a.device, c.id, c.ch, c.seq, c.name, c.args, c.expires_at, coalesce(e.state, 0) AS state, \
           max(c.created_at) OVER (PARTITION BY a.device, c.ch ORDER BY c.seq) AS age \
           FROM (SELECT device, now, 'd:' || device AS ch, CAST(0 AS BIGINT) AS from_seq, CAST(NULL AS BIGINT) AS to_seq \
             FROM asked UNION ALL SELECT q.device, q.now, 'g:' || m.group_id, m.from_seq, m.to_seq \
             FROM asked q JOIN member m ON m.device_id = q.device) a \
           JOIN command c ON c.ch = a.ch AND c.cancelled_at IS NULL AND c.expires_at > a.now \
             AND +c.seq > a.from_seq AND (a.to_seq IS NULL OR +c.seq <= a.to_seq) \
           LEFT JOIN cursor k ON k.device_id = a.device AND k.ch = a.ch \
           LEFT JOIN execution e ON e.command_id = c.id AND e.device_id = a.device \
           WHERE c.seq > coalesce(k.acked_seq, 0) AND coalesce(e.state, 0) < 2), \
         placed AS (SELECT owed.*, row_number() OVER (PARTITION BY device ORDER BY age, ch, seq) AS place FROM owed) \
         SELECT * FROM placed WHERE place <= $2 ORDER BY device, place",
    ))
    .bind(json_list(&asked(devices)))
    .bind(one_more(UNACKED_COMMANDS_MAX))
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    let mut by_device: HashMap<DeviceId, Vec<DueRow>> = HashMap::new();
    for row in rows {
        let device = DeviceId(row.device);
        by_device.entry(device).or_default().push(row.due);
    }
    let cut = |(device, rows)| Ok((device, cut(rows, UNACKED_COMMANDS_MAX)?));
    by_device.into_iter().map(cut).collect()
}

fn asked(devices: &[(DeviceId, Timestamp)]) -> Vec<serde_json::Value> {
    let asked = |(device, now): &(DeviceId, Timestamp)| serde_json::json!({"d": device.0, "t": now.as_micros()});
    devices.iter().map(asked).collect()
}

/// Live commands of a group's channel above a position, oldest first.
pub(super) async fn due_in_group(
    db: &mut Db,
    group: ChannelId,
    after: Seq,
    limit: usize,
    now: Timestamp,
) -> StoreResult<(Vec<PendingCommand>, bool)> {
    let rows: Vec<DueRow> = sqlx::query_as(
        "SELECT id, ch, seq, name, args, expires_at, CAST(0 AS BIGINT) AS state FROM command \
         WHERE ch = $1 AND seq > $2 AND +expires_at > $3 AND cancelled_at IS NULL ORDER BY seq LIMIT $4",
    )
    .bind(group.to_string())
    .bind(after.0)
    .bind(now.as_micros())
    .bind(one_more(limit))
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    cut(rows, limit)
}

/// Moves cursors of devices up to just before the first command that is still owed in the channel, or to its head.
pub(super) async fn advance_cursors(db: &mut Db, cursors: &[Cursor<'_>]) -> StoreResult<()> {
    // the unary plus keeps the planner from walking over the group's members
    sqlx::query(concat!(
        "INSERT INTO cursor (org_id, device_id, ch, acked_seq) \
         SELECT r.org, r.device, h.ch, coalesce((SELECT min(c.seq) - 1 FROM command c \
           LEFT JOIN execution e ON e.command_id = c.id AND e.device_id = r.device \
           WHERE c.ch = h.ch AND c.cancelled_at IS NULL AND c.expires_at > r.now AND coalesce(e.state, 0) < 2 \
           AND +c.seq > coalesce((SELECT k.acked_seq FROM cursor k WHERE k.device_id = r.device AND k.ch = h.ch), 0) \
           AND (c.device_id = r.device OR EXISTS (SELECT 1 FROM member m WHERE +m.group_id = c.group_id \
             AND m.device_id = r.device AND m.from_seq < c.seq AND (m.to_seq IS NULL OR c.seq <= m.to_seq)))), h.seq) \
         FROM (SELECT ", number!("item", "o"), " AS org, ", number!("item", "d"), " AS device, ", text!("item", "ch"), " AS ch, ",
           number!("item", "t"), " AS now FROM ", list!("$1", "item"), ") r \
         JOIN channel_head h ON h.ch = r.ch WHERE true \
         ON CONFLICT (device_id, ch) DO UPDATE SET acked_seq = excluded.acked_seq \
         WHERE excluded.acked_seq > cursor.acked_seq",
    ))
    .bind(json_list(cursors))
    .execute(db)
    .await
    .map_err(store_failure)?;
    Ok(())
}

/// A device's place in a channel, to be moved.
#[derive(serde::Serialize)]
pub(super) struct Cursor<'a> {
    #[serde(rename = "o")]
    pub(super) org: i64,
    #[serde(rename = "d")]
    pub(super) device: i64,
    pub(super) ch: &'a str,
    #[serde(rename = "t")]
    pub(super) now: i64,
}

/// One row more than fits tells whether there are more.
pub(super) fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

fn cut(mut rows: Vec<DueRow>, limit: usize) -> StoreResult<(Vec<PendingCommand>, bool)> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let pending = rows
        .into_iter()
        .map(pending_of)
        .collect::<StoreResult<Vec<_>>>()?;
    Ok((pending, more))
}
