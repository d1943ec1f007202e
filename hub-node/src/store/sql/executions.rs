//! The state of a command on a device: how it is stored, when it may move, and how it is read back.
//!
//! Owns the rules that a state only moves forward and that expiry is a matter of reading: it is never stored, so a result
//! that comes late can still be written over it. The same goes for the members a cancelled group command had not
//! heard from: they may have had it, so what they report counts. An acknowledgement is no result and amends nothing.

use std::collections::HashMap;

use super::Db;
use hub_core::command::ExecutionState;
use hub_proto::id::{CommandId, DeviceId};
use hub_proto::time::Timestamp;

use super::audience::Scope;
use super::due::command_id;
use super::failure::{damaged, store_failure};
use super::paging::Window;
use super::rows::{count, slug, time_opt};
use crate::store::StoreResult;
use crate::store::records::{Execution, Page};

/// A command's counts per state.
pub(super) type Counts = Vec<(ExecutionState, u64)>;

/// Every state, by its code.
const STATES: [ExecutionState; 8] = [
    ExecutionState::Queued,
    ExecutionState::Sent,
    ExecutionState::Delivered,
    ExecutionState::Succeeded,
    ExecutionState::Failed,
    ExecutionState::Rejected,
    ExecutionState::Expired,
    ExecutionState::Cancelled,
];

/// A state as it is stored.
pub(super) fn code_of(state: ExecutionState) -> i64 {
    match state {
        ExecutionState::Queued => 0,
        ExecutionState::Sent => 1,
        ExecutionState::Delivered => 2,
        ExecutionState::Succeeded => 3,
        ExecutionState::Failed => 4,
        ExecutionState::Rejected => 5,
        ExecutionState::Expired => 6,
        ExecutionState::Cancelled => 7,
    }
}

/// A stored state.
pub(super) fn state_of(code: i64) -> StoreResult<ExecutionState> {
    let state = usize::try_from(code)
        .ok()
        .and_then(|code| STATES.get(code).copied());
    state.ok_or_else(|| damaged("execution state"))
}

/// Whether a device's report changes what is stored; `over` when the command is cancelled or past its time.
pub(super) fn moves(stored: ExecutionState, reported: ExecutionState, over: bool) -> bool {
    let settled = match stored {
        ExecutionState::Queued | ExecutionState::Sent | ExecutionState::Delivered => false,
        ExecutionState::Succeeded
        | ExecutionState::Failed
        | ExecutionState::Rejected
        | ExecutionState::Expired
        | ExecutionState::Cancelled => true,
    };
    match reported {
        ExecutionState::Delivered => !over && !settled && stored < ExecutionState::Delivered,
        ExecutionState::Succeeded | ExecutionState::Failed | ExecutionState::Rejected => !settled,
        // a device cannot report these
        ExecutionState::Queued
        | ExecutionState::Sent
        | ExecutionState::Expired
        | ExecutionState::Cancelled => false,
    }
}

#[derive(sqlx::FromRow)]
struct ExecutionRow {
    device_id: i64,
    device_name: String,
    state: i64,
    output: Option<String>,
    at: Option<i64>,
}

/// One page of a command's exact audience, by device id.
pub(super) async fn page(
    db: &mut Db,
    scope: Scope,
    id: CommandId,
    window: Window,
    now: Timestamp,
) -> StoreResult<Page<Execution>> {
    let sql = match scope {
        Scope::Device(_) => {
            "SELECT d.id AS device_id, d.name AS device_name, e.output, \
             CASE WHEN e.state >= 2 THEN e.state WHEN c.expires_at <= $2 THEN 6 ELSE e.state END AS state, \
             CASE WHEN e.state >= 2 THEN e.at WHEN c.expires_at <= $2 THEN c.expires_at ELSE e.at END AS at \
             FROM command c JOIN execution e ON e.command_id = c.id JOIN device d ON d.id = e.device_id \
             WHERE c.id = $1 AND d.id > $3 ORDER BY d.id LIMIT $4"
        }
        Scope::Group(_) => {
            "SELECT d.id AS device_id, d.name AS device_name, e.output, \
             CASE WHEN e.state >= 2 THEN e.state WHEN c.cancelled_at IS NOT NULL THEN 7 \
               WHEN c.expires_at <= $2 THEN 6 ELSE 0 END AS state, \
             CASE WHEN e.state >= 2 THEN e.at WHEN c.cancelled_at IS NOT NULL THEN c.cancelled_at \
               WHEN c.expires_at <= $2 THEN c.expires_at END AS at \
             FROM command c JOIN member m ON m.group_id = c.group_id AND m.from_seq < c.seq \
               AND (m.to_seq IS NULL OR c.seq <= m.to_seq) \
             JOIN device d ON d.id = m.device_id LEFT JOIN execution e ON e.command_id = c.id AND e.device_id = d.id \
             WHERE c.id = $1 AND m.device_id > $3 ORDER BY m.device_id LIMIT $4"
        }
    };
    let rows: Vec<ExecutionRow> = sqlx::query_as(sql)
        .bind(&id.0.as_bytes()[..])
        .bind(now.as_micros())
        .bind(window.above())
        .bind(window.fetch())
        .fetch_all(db)
        .await
        .map_err(store_failure)?;
    window.page(rows, |row| row.device_id, execution_of)
}

fn execution_of(row: ExecutionRow) -> StoreResult<Execution> {
    Ok(Execution {
        device: DeviceId(row.device_id),
        device_name: slug(&row.device_name)?,
        state: state_of(row.state)?,
        output: row.output,
        at: time_opt(row.at),
    })
}

/// Counts per state of commands of one channel with seqs between two, over their exact audiences: one aggregate query.
pub(super) async fn counts(
    db: &mut Db,
    scope: Scope,
    seqs: (i64, i64),
    now: Timestamp,
) -> StoreResult<HashMap<CommandId, Counts>> {
    let sql = match scope {
        Scope::Device(_) => {
            "SELECT c.id, CASE WHEN e.state >= 2 THEN e.state WHEN c.expires_at <= $4 THEN 6 ELSE e.state END AS state, \
             count(*) FROM command c JOIN execution e ON e.command_id = c.id \
             WHERE c.ch = $1 AND c.seq BETWEEN $2 AND $3 GROUP BY 1, 2 ORDER BY 1, 2"
        }
        Scope::Group(_) => {
            "SELECT c.id, CASE WHEN e.state >= 2 THEN e.state WHEN c.cancelled_at IS NOT NULL THEN 7 \
               WHEN c.expires_at <= $4 THEN 6 ELSE 0 END AS state, \
             count(*) FROM command c JOIN member m ON m.group_id = c.group_id AND m.from_seq < c.seq \
               AND (m.to_seq IS NULL OR c.seq <= m.to_seq) \
             LEFT JOIN execution e ON e.command_id = c.id AND e.device_id = m.device_id \
             WHERE c.ch = $1 AND c.seq BETWEEN $2 AND $3 GROUP BY 1, 2 ORDER BY 1, 2"
        }
    };
    let rows: Vec<(Vec<u8>, i64, i64)> = sqlx::query_as(sql)
        .bind(scope.channel().to_string())
        .bind(seqs.0)
        .bind(seqs.1)
        .bind(now.as_micros())
        .fetch_all(db)
        .await
        .map_err(store_failure)?;
    let mut counts: HashMap<CommandId, Counts> = HashMap::new();
    for (id, state, many) in rows {
        counts
            .entry(command_id(&id)?)
            .or_default()
            .push((state_of(state)?, count(many)?));
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_back() {
        for state in STATES {
            assert_eq!(state_of(code_of(state)).unwrap(), state);
        }
        assert!(state_of(8).is_err());
        assert!(state_of(-1).is_err());
    }

    #[test]
    fn states_only_move_forward() {
        for stored in STATES {
            for reported in STATES {
                for over in [false, true] {
                    if moves(stored, reported, over) {
                        assert!(stored < reported, "{stored:?} to {reported:?}");
                        assert!(stored <= ExecutionState::Delivered);
                    }
                }
            }
        }
        assert!(moves(ExecutionState::Sent, ExecutionState::Succeeded, true));
        assert!(!moves(
            ExecutionState::Sent,
            ExecutionState::Delivered,
            true
        ));
        assert!(!moves(
            ExecutionState::Cancelled,
            ExecutionState::Failed,
            false
        ));
    }
}
