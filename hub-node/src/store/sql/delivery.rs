//! What the device side of a node writes and reads.
//!
//! Owns batching: one transaction holds the writes of many sockets. A row that cannot be written takes nobody else's write
//! with it: then the batch is written again with a savepoint around each. A failure of the database itself fails the whole call.

use async_trait::async_trait;
use hub_core::level::{Level, Standing};
use hub_core::limits::DEVICE_WRITES_MAX;
use hub_proto::id::{ChannelId, DeviceId, Epoch, GroupId, Seq};
use hub_proto::time::Timestamp;
use sqlx::Connection;

use super::batch::{self, device_of};
use super::failure::{damaged, store_failure};
use super::level::Holder;
use super::{Backend, Db, commit, due, engine, groups, level, members};
use crate::store::delivery::{
    Change, DeviceOutcome, DeviceWrite, GroupChanges, Left, Mark, Reconciled,
};
use crate::store::{DeliveryStore, StoreError, StoreResult};

#[async_trait]
impl DeliveryStore for Backend {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    async fn device_writes(&self, writes: Vec<DeviceWrite>) -> StoreResult<Vec<DeviceOutcome>> {
        if writes.len() > DEVICE_WRITES_MAX {
            let error = format!(
                "{} writes are more than the {DEVICE_WRITES_MAX} of one call",
                writes.len()
            );
            return Err(StoreError::Failed(error.into()));
        }
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        // By device, so that two nodes that write about the same devices wait for each other in one order.
        let mut order: Vec<usize> = (0..writes.len()).collect();
        order.sort_by_key(|&at| writes.get(at).map(device_of));
        let sorted: Vec<&DeviceWrite> = order.iter().filter_map(|&at| writes.get(at)).collect();
        let outcomes = match together(self, &sorted).await {
            Ok(outcomes) => outcomes,
            Err(error @ (StoreError::Unavailable(_) | StoreError::Busy(_))) => return Err(error),
            // one of them cannot be written: the others are, each on its own
            Err(_) => one_by_one(self, &sorted).await?,
        };
        let mut placed: Vec<_> = order.into_iter().zip(outcomes).collect();
        placed.sort_by_key(|(at, _)| *at);
        Ok(placed.into_iter().map(|(_, outcome)| outcome).collect())
    }

    async fn reconcile(
        &self,
        device: DeviceId,
        certificate: [u8; 32],
        now: Timestamp,
    ) -> StoreResult<Reconciled> {
        let mut tx = self.read().await?;
        let holder = Holder {
            device,
            certificate,
            at: now,
        };
        let mut read = reconciled(&mut tx, &[holder]).await?;
        read.pop().ok_or_else(|| damaged("device"))
    }

    async fn group_changes(
        &self,
        group: GroupId,
        after: Seq,
        limit: usize,
        now: Timestamp,
    ) -> StoreResult<GroupChanges> {
        let mut tx = self.read().await?;
        let Some((head, priority, target)) = groups::state(&mut tx, group).await? else {
            return Ok(GroupChanges {
                head: None,
                priority: 0,
                target: None,
                commands: Vec::new(),
                more: false,
                left: Left::default(),
            });
        };
        let (commands, more) =
            due::due_in_group(&mut tx, ChannelId::Group(group), after, limit, now).await?;
        let left = members::left_since(&mut tx, group, after, limit).await?;
        Ok(GroupChanges {
            head: Some(head),
            priority,
            target,
            commands,
            more,
            left,
        })
    }

    async fn mark(&self) -> StoreResult<Mark> {
        let mut tx = self.read().await?;
        engine::mark(&mut tx).await
    }

    async fn changes_since(&self, mark: Mark, limit: usize) -> StoreResult<(Mark, Vec<Change>)> {
        let mut tx = self.read().await?;
        engine::changes_since(&mut tx, mark, limit).await
    }
}

/// Carries out all writes, or none.
async fn together(store: &Backend, writes: &[&DeviceWrite]) -> StoreResult<Vec<DeviceOutcome>> {
    let mut tx = store.write().await?;
    let now = engine::clock(&mut tx).await?;
    let outcomes = batch::apply(&mut tx, writes, now).await?;
    commit(tx).await?;
    Ok(outcomes)
}

/// Carries out each write behind a savepoint of its own.
async fn one_by_one(store: &Backend, writes: &[&DeviceWrite]) -> StoreResult<Vec<DeviceOutcome>> {
    let mut tx = store.write().await?;
    let now = engine::clock(&mut tx).await?;
    let mut outcomes = Vec::with_capacity(writes.len());
    for write in writes {
        outcomes.push(alone(&mut tx, write, now).await?);
    }
    commit(tx).await?;
    Ok(outcomes)
}

/// Carries out one write behind a savepoint.
async fn alone(db: &mut Db, write: &DeviceWrite, now: i64) -> StoreResult<DeviceOutcome> {
    let mut savepoint = db.begin().await.map_err(store_failure)?;
    match batch::apply(&mut savepoint, &[write], now).await {
        Ok(outcomes) => {
            savepoint.commit().await.map_err(store_failure)?;
            Ok(outcomes.into_iter().next().unwrap_or(DeviceOutcome::Failed))
        }
        Err(error @ (StoreError::Unavailable(_) | StoreError::Busy(_))) => Err(error),
        Err(
            error @ (StoreError::NotFound { .. }
            | StoreError::Conflict { .. }
            | StoreError::Damaged { .. }
            | StoreError::Failed(_)),
        ) => {
            savepoint.rollback().await.map_err(store_failure)?;
            tracing::error!(
                device = device_of(write).0,
                error = &error as &dyn std::error::Error,
                "device write failed"
            );
            Ok(DeviceOutcome::Failed)
        }
    }
}

/// Everything each of these devices lacks, in their order; nothing for one that may not be here.
pub(super) async fn reconciled(db: &mut Db, holders: &[Holder]) -> StoreResult<Vec<Reconciled>> {
    let levels = level::levels(db, holders).await?;
    let here = |(holder, level): (&Holder, &Level)| match level.standing {
        Standing::Active => Some((holder.device, holder.at)),
        Standing::Refused(_) => None,
    };
    let here: Vec<_> = holders.iter().zip(&levels).filter_map(here).collect();
    let mut due = due::due_to_devices(db, &here).await?;
    let lacking = holders.iter().zip(levels).map(|(holder, level)| {
        let (pending, more) = due.remove(&holder.device).unwrap_or_default();
        Reconciled {
            level,
            pending,
            more,
        }
    });
    Ok(lacking.collect())
}
