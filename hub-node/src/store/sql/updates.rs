//! The last news about a device's firmware update.
//!
//! Owns "latest wins": older news than what is stored is dropped, and so is progress that trails a finished update on
//! the same connection. An update that starts over is news: announced, or after a failure again from a lower percentage.
//! A completed one does not go on; what follows it is a restart, and with it another connection.

use super::Db;
use hub_proto::event::UpdateStatus;
use hub_proto::id::{ConnGen, DeviceId};
use hub_proto::time::Timestamp;

use super::failure::store_failure;
use super::rows::storable;
use crate::store::StoreResult;
use crate::store::delivery::{DeviceOutcome, UpdateReport};

#[derive(sqlx::FromRow)]
struct UpdateRow {
    update_status: Option<String>,
    update_progress: Option<i64>,
    update_at: Option<i64>,
    update_gen: Option<i64>,
}

pub(super) async fn report(
    db: &mut Db,
    device: DeviceId,
    generation: ConnGen,
    report: &UpdateReport,
    at: Timestamp,
) -> StoreResult<DeviceOutcome> {
    let row: Option<UpdateRow> = sqlx::query_as(
        "SELECT update_status, update_progress, update_at, update_gen FROM device WHERE id = $1",
    )
    .bind(device.0)
    .fetch_optional(&mut *db)
    .await
    .map_err(store_failure)?;
    let Some(row) = row else {
        return Ok(DeviceOutcome::NotFound);
    };
    if stale(&row, generation, report, at) {
        return Ok(DeviceOutcome::Done);
    }
    sqlx::query(
        "UPDATE device SET update_status = $2, update_progress = $3, update_error = $4, update_at = $5, \
         update_gen = $6 WHERE id = $1",
    )
    .bind(device.0)
    .bind(storable(&report.status))
    .bind(report.progress.map(i64::from).or(if finished(&report.status) { row.update_progress } else { None }))
    .bind(report.error.as_deref().map(storable))
    .bind(at.as_micros())
    .bind(generation.0)
    .execute(db)
    .await
    .map_err(store_failure)?;
    Ok(DeviceOutcome::Done)
}

/// Says nothing that is not known, or known to be over.
fn stale(row: &UpdateRow, generation: ConnGen, report: &UpdateReport, at: Timestamp) -> bool {
    if row.update_gen != Some(generation.0) {
        return false;
    }
    if row.update_at.is_some_and(|known| at.as_micros() < known) {
        return true;
    }
    let known = row.update_status.as_deref().unwrap_or_default();
    let trails = match UpdateStatus::of(&report.status) {
        UpdateStatus::Downloading | UpdateStatus::Updating | UpdateStatus::Rescheduled => {
            UpdateStatus::of(known) == UpdateStatus::Completed
                || report
                    .progress
                    .is_some_and(|percent| i64::from(percent) >= row.update_progress.unwrap_or(100))
        }
        UpdateStatus::Received
        | UpdateStatus::Started
        | UpdateStatus::Completed
        | UpdateStatus::Ignored
        | UpdateStatus::Failed
        | UpdateStatus::Other => false,
    };
    finished(known) && trails
}

/// Does this status end an update?
fn finished(status: &str) -> bool {
    match UpdateStatus::of(status) {
        UpdateStatus::Completed | UpdateStatus::Failed | UpdateStatus::Ignored => true,
        UpdateStatus::Received
        | UpdateStatus::Started
        | UpdateStatus::Downloading
        | UpdateStatus::Updating
        | UpdateStatus::Rescheduled
        | UpdateStatus::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(status: &str, progress: Option<i64>) -> UpdateRow {
        UpdateRow {
            update_status: Some(status.to_owned()),
            update_progress: progress,
            update_at: Some(100),
            update_gen: Some(7),
        }
    }

    fn says(status: &str, progress: Option<u8>) -> UpdateReport {
        UpdateReport {
            status: status.into(),
            progress,
            error: None,
        }
    }

    #[test]
    fn trailing_progress_does_not_reopen_a_finished_update() {
        let done = row("completed", None);
        assert!(stale(
            &done,
            ConnGen(7),
            &says("updating", Some(100)),
            Timestamp(101)
        ));
        let failed = row("failed", Some(60));
        assert!(stale(
            &failed,
            ConnGen(7),
            &says("updating", Some(60)),
            Timestamp(101)
        ));
    }

    #[test]
    fn case_72_a_completed_update_does_not_go_on() {
        let done = row("completed", Some(100));
        for (status, progress) in [
            ("downloading", None),
            ("updating", Some(3)),
            ("rescheduled", None),
        ] {
            let said = says(status, progress);
            assert!(stale(&done, ConnGen(7), &said, Timestamp(101)), "{status}");
            assert!(!stale(&done, ConnGen(8), &said, Timestamp(101)), "{status}");
        }
        for status in ["received", "started", "failed", "rebooting"] {
            let said = says(status, None);
            assert!(!stale(&done, ConnGen(7), &said, Timestamp(101)), "{status}");
        }
    }

    #[test]
    fn a_new_run_is_news() {
        let failed = row("failed", Some(60));
        assert!(!stale(
            &failed,
            ConnGen(7),
            &says("updating", Some(1)),
            Timestamp(101)
        ));
        assert!(!stale(
            &failed,
            ConnGen(7),
            &says("received", None),
            Timestamp(101)
        ));
        assert!(!stale(
            &failed,
            ConnGen(8),
            &says("updating", Some(60)),
            Timestamp(99)
        ));
    }

    #[test]
    fn older_news_is_dropped() {
        assert!(stale(
            &row("updating", Some(50)),
            ConnGen(7),
            &says("updating", Some(60)),
            Timestamp(99)
        ));
    }
}
