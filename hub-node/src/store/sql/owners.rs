//! Who owns the devices that a batch writes about.
//!
//! Owns the fence: a write must name the generation of the join that owns its device. The devices are read and locked once, in one
//! order, at the start of the transaction, so that what is known here stays true until it ends.

use std::collections::HashMap;

use super::Db;
use hub_proto::id::{ConnGen, DeviceId};

use super::failure::store_failure;
use super::rows::json_list;
use crate::store::StoreResult;
use crate::store::delivery::DeviceOutcome;

/// The owners of the devices of one batch.
pub(super) struct Owners(HashMap<i64, Owner>);

struct Owner {
    generation: ConnGen,
    org: i64,
}

impl Owners {
    /// Locks these devices, each of which may be named many times.
    pub(super) async fn hold(db: &mut Db, devices: &[i64]) -> StoreResult<Self> {
        let rows: Vec<(i64, i64, i64)> = sqlx::query_as(concat!(
            "SELECT id, conn_gen, org_id FROM device WHERE id IN (SELECT held.value FROM ",
            ids!("$1", "held"),
            ") ORDER BY id",
            locked!()
        ))
        .bind(json_list(devices))
        .fetch_all(db)
        .await
        .map_err(store_failure)?;
        let owner = |(device, generation, org)| {
            let generation = ConnGen(generation);
            (device, Owner { generation, org })
        };
        Ok(Self(rows.into_iter().map(owner).collect()))
    }

    /// The device's org, if this generation owns it; otherwise what is to be answered.
    pub(super) fn fence(
        &self,
        device: DeviceId,
        generation: ConnGen,
    ) -> Result<i64, DeviceOutcome> {
        match self.0.get(&device.0) {
            None => Err(DeviceOutcome::NotFound),
            Some(owner) if owner.generation == generation => Ok(owner.org),
            Some(_) => Err(DeviceOutcome::Fenced),
        }
    }

    /// A join took the device over.
    pub(super) fn took(&mut self, device: DeviceId, generation: ConnGen) {
        if let Some(owner) = self.0.get_mut(&device.0) {
            owner.generation = generation;
        }
    }
}
