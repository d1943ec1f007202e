//! Devices, groups, membership and targets: each call is one transaction that moves the channels it concerns.

use super::Db;
use async_trait::async_trait;
use hub_proto::id::{ChannelId, GroupId, OrgId, Seq};
use hub_proto::slug::Slug;
use hub_proto::time::Timestamp;

use super::channels::{self, device_channel};
use super::failure::store_failure;
use super::lookup::RowKey;
use super::paging::Window;
use super::{Backend, commit, devices, groups, lookup, members};
use crate::store::delivery::Changed;
use crate::store::records::{
    Connection, Device, DevicePath, Group, GroupPath, NewGroup, Page, PageQuery, ProductPath,
};
use crate::store::{FleetStore, StoreResult};

#[async_trait]
impl FleetStore for Backend {
    async fn create_device(&self, path: ProductPath<'_>, name: &Slug) -> StoreResult<Device> {
        let mut tx = self.write_in(path.org).await?;
        let key = lookup::product(&mut tx, path).await?;
        let device = devices::register(&mut tx, key, name).await?;
        commit(tx).await?;
        Ok(device)
    }

    async fn device(&self, path: DevicePath<'_>) -> StoreResult<Device> {
        let mut tx = self.read().await?;
        let key = lookup::device(&mut tx, path).await?;
        devices::one(&mut tx, key.id).await
    }

    async fn devices(&self, path: ProductPath<'_>, page: PageQuery) -> StoreResult<Page<Device>> {
        let window = Window::new(&page)?;
        let mut tx = self.read().await?;
        let key = lookup::product(&mut tx, path).await?;
        devices::of_product(&mut tx, key, window).await
    }

    async fn delete_device(&self, path: DevicePath<'_>) -> StoreResult<Changed<()>> {
        let mut tx = self.write_in(path.product.org).await?;
        let key = lookup::device(&mut tx, path).await?;
        sqlx::query("DELETE FROM device WHERE id = $1")
            .bind(key.id)
            .execute(&mut *tx)
            .await
            .map_err(store_failure)?;
        let change = channels::change(&mut tx, device_channel(key.id), None).await?;
        commit(tx).await?;
        Ok(Changed {
            value: (),
            changes: vec![change],
        })
    }

    async fn set_device_revoked(
        &self,
        path: DevicePath<'_>,
        revoked: bool,
        now: Timestamp,
    ) -> StoreResult<Changed<Device>> {
        let mut tx = self.write_in(path.product.org).await?;
        let key = lookup::device(&mut tx, path).await?;
        // the first revocation's time stays
        sqlx::query("UPDATE device SET revoked_at = CASE WHEN $2 THEN coalesce(revoked_at, $3) END WHERE id = $1")
            .bind(key.id)
            .bind(revoked)
            .bind(now.as_micros())
            .execute(&mut *tx)
            .await
            .map_err(store_failure)?;
        let change = channels::change(&mut tx, device_channel(key.id), None).await?;
        let value = devices::one(&mut tx, key.id).await?;
        commit(tx).await?;
        Ok(Changed {
            value,
            changes: vec![change],
        })
    }

    async fn set_device_target(
        &self,
        path: DevicePath<'_>,
        firmware_uuid: Option<&str>,
    ) -> StoreResult<Changed<Device>> {
        let mut tx = self.write_in(path.product.org).await?;
        let key = lookup::device(&mut tx, path).await?;
        let change = channels::change(&mut tx, device_channel(key.id), None).await?;
        let sql = "UPDATE device SET target_id = $2, target_revision = $3 WHERE id = $1";
        set_target(&mut tx, sql, key, firmware_uuid, change.seq).await?;
        let value = devices::one(&mut tx, key.id).await?;
        commit(tx).await?;
        Ok(Changed {
            value,
            changes: vec![change],
        })
    }

    async fn connections(&self, org: OrgId, page: PageQuery) -> StoreResult<Page<Connection>> {
        let window = Window::new(&page)?;
        let mut tx = self.read().await?;
        devices::connections(&mut tx, org, window).await
    }

    async fn create_group(&self, path: ProductPath<'_>, group: NewGroup) -> StoreResult<Group> {
        let mut tx = self.write_in(path.org).await?;
        let key = lookup::product(&mut tx, path).await?;
        let group = groups::create(&mut tx, key, &group).await?;
        commit(tx).await?;
        Ok(group)
    }

    async fn group(&self, path: GroupPath<'_>) -> StoreResult<Group> {
        let mut tx = self.read().await?;
        let key = lookup::group(&mut tx, path).await?;
        groups::one(&mut tx, key.id).await
    }

    async fn groups(&self, path: ProductPath<'_>, page: PageQuery) -> StoreResult<Page<Group>> {
        let window = Window::new(&page)?;
        let mut tx = self.read().await?;
        let key = lookup::product(&mut tx, path).await?;
        groups::of_product(&mut tx, key, window).await
    }

    async fn set_group_priority(
        &self,
        path: GroupPath<'_>,
        priority: i32,
    ) -> StoreResult<Changed<Group>> {
        let mut tx = self.write_in(path.product.org).await?;
        let key = lookup::group(&mut tx, path).await?;
        sqlx::query("UPDATE device_group SET priority = $2 WHERE id = $1")
            .bind(key.id)
            .bind(i64::from(priority))
            .execute(&mut *tx)
            .await
            .map_err(store_failure)?;
        let change = channels::change(&mut tx, group_channel(key), None).await?;
        let value = groups::one(&mut tx, key.id).await?;
        commit(tx).await?;
        Ok(Changed {
            value,
            changes: vec![change],
        })
    }

    async fn delete_group(&self, path: GroupPath<'_>) -> StoreResult<Changed<()>> {
        let mut tx = self.write_in(path.product.org).await?;
        let key = lookup::group(&mut tx, path).await?;
        groups::delete(&mut tx, key).await?;
        let change = channels::change(&mut tx, group_channel(key), None).await?;
        commit(tx).await?;
        Ok(Changed {
            value: (),
            changes: vec![change],
        })
    }

    async fn set_group_target(
        &self,
        path: GroupPath<'_>,
        firmware_uuid: Option<&str>,
    ) -> StoreResult<Changed<Group>> {
        let mut tx = self.write_in(path.product.org).await?;
        let key = lookup::group(&mut tx, path).await?;
        let change = channels::change(&mut tx, group_channel(key), None).await?;
        let sql = "UPDATE device_group SET target_id = $2, target_revision = $3 WHERE id = $1";
        set_target(&mut tx, sql, key, firmware_uuid, change.seq).await?;
        let value = groups::one(&mut tx, key.id).await?;
        commit(tx).await?;
        Ok(Changed {
            value,
            changes: vec![change],
        })
    }

    async fn members(&self, path: GroupPath<'_>, page: PageQuery) -> StoreResult<Page<Device>> {
        let window = Window::new(&page)?;
        let mut tx = self.read().await?;
        let key = lookup::group(&mut tx, path).await?;
        members::page(&mut tx, key, window).await
    }

    async fn add_members(
        &self,
        path: GroupPath<'_>,
        devices: &[&str],
    ) -> StoreResult<Changed<u32>> {
        let mut tx = self.write_in(path.product.org).await?;
        let key = lookup::group(&mut tx, path).await?;
        let added = members::add(&mut tx, key, devices).await?;
        commit(tx).await?;
        Ok(added)
    }

    async fn remove_member(&self, path: GroupPath<'_>, device: &str) -> StoreResult<Changed<()>> {
        let mut tx = self.write_in(path.product.org).await?;
        let key = lookup::group(&mut tx, path).await?;
        let device = lookup::device(
            &mut tx,
            DevicePath {
                product: path.product,
                device,
            },
        )
        .await?;
        let removed = members::remove(&mut tx, key, device.id).await?;
        commit(tx).await?;
        Ok(removed)
    }
}

fn group_channel(key: RowKey) -> ChannelId {
    ChannelId::Group(GroupId(key.id))
}

/// Sets or clears a target with one of two statements; the revision is the place of the change in the channel.
async fn set_target(
    db: &mut Db,
    sql: &'static str,
    key: RowKey,
    firmware_uuid: Option<&str>,
    revision: Seq,
) -> StoreResult<()> {
    let firmware = match firmware_uuid {
        Some(uuid) => Some(lookup::firmware(db, key.product, uuid).await?),
        None => None,
    };
    sqlx::query(sql)
        .bind(key.id)
        .bind(firmware)
        .bind(firmware.map(|_| revision.0))
        .execute(db)
        .await
        .map_err(store_failure)?;
    Ok(())
}
