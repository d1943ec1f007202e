//! Claims of commands before they are sent, and what devices report about them.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Db;
use hub_core::command::ExecutionState;
use hub_core::limits::UNACKED_COMMANDS_MAX;
use hub_proto::id::{CommandId, ConnGen, DeviceId};
use hub_proto::time::Timestamp;

use super::due::{Cursor, advance_cursors};
use super::executions::{code_of, moves, state_of};
use super::failure::store_failure;
use super::owners::Owners;
use super::rows::{json_list, storable};
use crate::store::StoreResult;
use crate::store::delivery::{DeviceOutcome, ExecutionReport};

/// A command as its device's report finds it.
#[derive(sqlx::FromRow)]
struct ReportedRow {
    device: i64,
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
    commands: &[CommandId],
    at: Timestamp,
) -> StoreResult<DeviceOutcome> {
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

/// What a device reports about one command.
pub(super) struct Said<'a> {
    pub(super) device: DeviceId,
    pub(super) generation: ConnGen,
    pub(super) report: &'a ExecutionReport,
    pub(super) at: Timestamp,
}

/// A report as a statement reads it.
#[derive(serde::Serialize)]
struct ReportItem<'a> {
    #[serde(rename = "d")]
    device: i64,
    #[serde(rename = "o")]
    org: i64,
    #[serde(rename = "c")]
    command: String,
    #[serde(rename = "s")]
    state: i64,
    #[serde(rename = "x")]
    output: Option<Cow<'a, str>>,
    #[serde(rename = "t")]
    at: i64,
}

/// Takes reports of as many devices, in three statements. What was reported before, or comes after the end, is done already.
pub(super) async fn executions(
    db: &mut Db,
    reports: &[Said<'_>],
    owners: &Owners,
) -> StoreResult<Vec<DeviceOutcome>> {
    let (mut fenced, mut items) = (Vec::with_capacity(reports.len()), Vec::new());
    for said in reports {
        let org = owners.fence(said.device, said.generation);
        if let Ok(org) = org {
            items.push(said.item(org));
        }
        fenced.push(org);
    }
    let found = reported(db, &items).await?;
    let (mut news, mut cursors) = (Vec::new(), Vec::new());
    for item in items {
        let Some(row) = found.get(&item.device) else {
            continue;
        };
        let over = row.cancelled_at.is_some() || row.expires_at <= item.at;
        if moves(state_of(row.state)?, state_of(item.state)?, over) {
            cursors.push(Cursor {
                org: item.org,
                device: item.device,
                ch: &row.ch,
                now: item.at,
            });
            news.push(item);
        }
    }
    write(db, &news, &cursors).await?;
    let outcome = |(said, fenced): (&Said<'_>, Result<i64, DeviceOutcome>)| match fenced {
        Err(stop) => stop,
        Ok(_) if found.contains_key(&said.device.0) => DeviceOutcome::Done,
        Ok(_) => DeviceOutcome::NotFound,
    };
    Ok(reports.iter().zip(fenced).map(outcome).collect())
}

impl Said<'_> {
    fn item(&self, org: i64) -> ReportItem<'_> {
        ReportItem {
            device: self.device.0,
            org,
            command: self.report.command.0.simple().to_string(),
            state: code_of(self.report.state),
            output: self.report.output.as_deref().map(storable),
            at: self.at.as_micros(),
        }
    }
}

/// The commands whose exact audience holds the device, by device. The unary plus keeps the planner from walking over the
/// group's members.
async fn reported(db: &mut Db, items: &[ReportItem<'_>]) -> StoreResult<HashMap<i64, ReportedRow>> {
    if items.is_empty() {
        return Ok(HashMap::new());
    }
    let key = |item: &ReportItem<'_>| serde_json::json!({"d": item.device, "o": item.org, "c": item.command});
    let keys: Vec<_> = items.iter().map(key).collect();
    let rows: Vec<ReportedRow> = sqlx::query_as(concat!(
        "SELECT r.device, c.ch, c.expires_at, c.cancelled_at, coalesce(e.state, 0) AS state \
         FROM (SELECT ",
        number!("item", "d"),
        " AS device, ",
        number!("item", "o"),
        " AS org, ",
        bytes!("item", "c"),
        " AS command \
           FROM ",
        list!("$1", "item"),
        ") r \
         JOIN command c ON c.id = r.command AND c.org_id = r.org \
         LEFT JOIN execution e ON e.command_id = c.id AND e.device_id = r.device \
         WHERE c.device_id = r.device OR EXISTS (SELECT 1 FROM member m \
           WHERE +m.group_id = c.group_id AND m.device_id = r.device AND m.from_seq < c.seq \
           AND (m.to_seq IS NULL OR c.seq <= m.to_seq))",
    ))
    .bind(json_list(&keys))
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    Ok(rows.into_iter().map(|row| (row.device, row)).collect())
}

async fn write(db: &mut Db, news: &[ReportItem<'_>], cursors: &[Cursor<'_>]) -> StoreResult<()> {
    if news.is_empty() {
        return Ok(());
    }
    sqlx::query(concat!(
        "INSERT INTO execution (command_id, device_id, org_id, state, output, at) \
         SELECT ", bytes!("item", "c"), ", ", number!("item", "d"), ", ", number!("item", "o"), ", ", number!("item", "s"), ", ",
         text!("item", "x"), ", ", number!("item", "t"), " FROM ", list!("$1", "item"), " WHERE true \
         ON CONFLICT (command_id, device_id) DO UPDATE SET state = excluded.state, output = excluded.output, \
         at = excluded.at",
    ))
    .bind(json_list(news))
    .execute(&mut *db)
    .await
    .map_err(store_failure)?;
    advance_cursors(db, cursors).await
}
