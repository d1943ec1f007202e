//! Claims of commands before they are sent, and what devices report about them.

use super::Db;
use hub_core::command::ExecutionState;
use hub_core::limits::UNACKED_COMMANDS_MAX;
use hub_proto::id::{CommandId, ConnGen, DeviceId};
use hub_proto::time::Timestamp;

use super::due::advance_cursor;
use super::executions::{code_of, moves, state_of};
use super::failure::store_failure;
use super::rows::storable;
use super::sessions::{Fence, fence};
use crate::store::StoreResult;
use crate::store::delivery::{DeviceOutcome, ExecutionReport};

/// A command as its device's report finds it.
#[derive(sqlx::FromRow)]
struct ReportedRow {
    ch: String,
    expires_at: i64,
    cancelled_at: Option<i64>,
    state: i64,
}

/// Marks commands of the device's own channel as sent and answers which of them may be. Claiming again what was sent
/// already is allowed: that is a resend.
pub(super) async fn claim(
    db: &mut Db,
    device: DeviceId,
    generation: ConnGen,
    commands: &[CommandId],
    at: Timestamp,
) -> StoreResult<DeviceOutcome> {
    if let Fence::Stop(stop) = fence(db, device, generation).await? {
        return Ok(stop.into());
    }
    let mut claimed = Vec::with_capacity(commands.len().min(UNACKED_COMMANDS_MAX));
    for id in commands.iter().take(UNACKED_COMMANDS_MAX) {
        let row: Option<i64> = sqlx::query_scalar(
            "UPDATE execution SET state = $4, at = CASE WHEN state = $4 THEN at ELSE $3 END \
             WHERE command_id = $2 AND device_id = $1 AND state <= $4 AND EXISTS (SELECT 1 FROM command c \
             WHERE c.id = $2 AND c.device_id = $1 AND c.cancelled_at IS NULL AND c.expires_at > $3) RETURNING state",
        )
        .bind(device.0)
        .bind(&id.0.as_bytes()[..])
        .bind(at.as_micros())
        .bind(code_of(ExecutionState::Sent))
        .fetch_optional(&mut *db)
        .await
        .map_err(store_failure)?;
        if row.is_some() {
            claimed.push(*id);
        }
    }
    Ok(DeviceOutcome::Claimed(claimed))
}

/// Takes a device's report about a command. What was reported before, or comes after the end, is done already.
pub(super) async fn execution(
    db: &mut Db,
    device: DeviceId,
    generation: ConnGen,
    report: &ExecutionReport,
    at: Timestamp,
) -> StoreResult<DeviceOutcome> {
    let org = match fence(db, device, generation).await? {
        Fence::Owner { org } => org,
        Fence::Stop(stop) => return Ok(stop.into()),
    };
    let Some(row) = reported(db, org, device, report.command).await? else {
        return Ok(DeviceOutcome::NotFound);
    };
    let over = row.cancelled_at.is_some() || row.expires_at <= at.as_micros();
    if !moves(state_of(row.state)?, report.state, over) {
        return Ok(DeviceOutcome::Done);
    }
    sqlx::query(
        "INSERT INTO execution (command_id, device_id, org_id, state, output, at) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (command_id, device_id) DO UPDATE SET state = excluded.state, output = excluded.output, \
         at = excluded.at",
    )
    .bind(&report.command.0.as_bytes()[..])
    .bind(device.0)
    .bind(org)
    .bind(code_of(report.state))
    .bind(report.output.as_deref().map(storable))
    .bind(at.as_micros())
    .execute(&mut *db)
    .await
    .map_err(store_failure)?;
    advance_cursor(db, org, device, &row.ch, at).await?;
    Ok(DeviceOutcome::Done)
}

/// The command, if this device is in its exact audience. The unary plus keeps the planner from walking over the
/// group's members.
async fn reported(
    db: &mut Db,
    org: i64,
    device: DeviceId,
    command: CommandId,
) -> StoreResult<Option<ReportedRow>> {
    sqlx::query_as(
        "SELECT c.ch, c.expires_at, c.cancelled_at, coalesce(e.state, 0) AS state FROM command c \
         LEFT JOIN execution e ON e.command_id = c.id AND e.device_id = $2 \
         WHERE c.id = $3 AND c.org_id = $1 AND (c.device_id = $2 OR EXISTS (SELECT 1 FROM member m \
           WHERE +m.group_id = c.group_id AND m.device_id = $2 AND m.from_seq < c.seq \
           AND (m.to_seq IS NULL OR c.seq <= m.to_seq)))",
    )
    .bind(org)
    .bind(device.0)
    .bind(&command.0.as_bytes()[..])
    .fetch_optional(db)
    .await
    .map_err(store_failure)
}
