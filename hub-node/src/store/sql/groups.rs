//! Groups: their rows and what their channel says.

use std::sync::Arc;

use super::Db;
use hub_core::level::Target;
use hub_proto::id::{ChannelId, GroupId, OrgId, ProductId, Seq};

use super::devices::firmware_name;
use super::failure::{found, store_failure, unique_or};
use super::level::{TargetRow, priority};
use super::lookup::{ProductKey, RowKey};
use super::paging::Window;
use super::rows::{count, slug, time};
use super::{channels, clock};
use crate::store::StoreResult;
use crate::store::records::{Group, NewGroup, Page};

#[derive(sqlx::FromRow)]
struct GroupRow {
    id: i64,
    product_id: i64,
    name: String,
    priority: i64,
    target_uuid: Option<String>,
    target_version: Option<String>,
    members: i64,
    head: i64,
    created_at: i64,
}

#[derive(sqlx::FromRow)]
struct StateRow {
    head: i64,
    priority: i64,
    #[sqlx(flatten)]
    target: TargetRow,
}

/// Makes a group's row and channel.
pub(super) async fn create(db: &mut Db, key: ProductKey, new: &NewGroup) -> StoreResult<Group> {
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO device_group (org_id, product_id, name, priority, created_at) VALUES ($1, $2, $3, $4, $5) \
         RETURNING id",
    )
    .bind(key.org)
    .bind(key.product)
    .bind(&*new.name)
    .bind(i64::from(new.priority))
    .bind(clock::now().as_micros())
    .fetch_one(&mut *db)
    .await
    .map_err(unique_or("name_taken", || format!("there is a group named {} already", new.name)))?;
    channels::create(db, OrgId(key.org), ChannelId::Group(GroupId(id))).await?;
    one(db, id).await
}

/// One group by id.
pub(super) async fn one(db: &mut Db, id: i64) -> StoreResult<Group> {
    let row: Option<GroupRow> = sqlx::query_as(
        "SELECT g.id, g.product_id, g.name, g.priority, f.uuid AS target_uuid, f.version AS target_version, \
         (SELECT count(*) FROM member m WHERE m.group_id = g.id AND m.to_seq IS NULL) AS members, \
         h.seq AS head, g.created_at FROM device_group g JOIN channel_head h ON h.ch = 'g:' || g.id \
         LEFT JOIN firmware f ON f.id = g.target_id WHERE g.id = $1",
    )
    .bind(id)
    .fetch_optional(db)
    .await
    .map_err(store_failure)?;
    group_of(found(row, "group")?)
}

/// A page of a product's groups.
pub(super) async fn of_product(
    db: &mut Db,
    key: ProductKey,
    window: Window,
) -> StoreResult<Page<Group>> {
    let rows: Vec<GroupRow> = sqlx::query_as(
        "SELECT g.id, g.product_id, g.name, g.priority, f.uuid AS target_uuid, f.version AS target_version, \
         (SELECT count(*) FROM member m WHERE m.group_id = g.id AND m.to_seq IS NULL) AS members, \
         h.seq AS head, g.created_at FROM device_group g JOIN channel_head h ON h.ch = 'g:' || g.id \
         LEFT JOIN firmware f ON f.id = g.target_id \
         WHERE g.product_id = $1 AND g.deleted_at IS NULL AND g.id > $2 ORDER BY g.id LIMIT $3",
    )
    .bind(key.product)
    .bind(window.above())
    .bind(window.fetch())
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    window.page(rows, |row| row.id, group_of)
}

fn group_of(row: GroupRow) -> StoreResult<Group> {
    Ok(Group {
        id: GroupId(row.id),
        product: ProductId(row.product_id),
        name: slug(&row.name)?,
        priority: priority(row.priority)?,
        target: firmware_name(row.target_uuid, row.target_version),
        members: count(row.members)?,
        head: Seq(row.head),
        created_at: time(row.created_at),
    })
}

/// Head, priority and target of a group that was not deleted.
pub(super) async fn state(
    db: &mut Db,
    group: GroupId,
) -> StoreResult<Option<(Seq, i32, Option<Arc<Target>>)>> {
    let row: Option<StateRow> = sqlx::query_as(
        "SELECT h.seq AS head, g.priority, f.id, f.uuid, f.version, f.meta_product, f.platform, f.architecture, \
         f.size, f.sha256, g.target_revision AS revision \
         FROM device_group g JOIN channel_head h ON h.ch = 'g:' || g.id LEFT JOIN firmware f ON f.id = g.target_id \
         WHERE g.id = $1 AND g.deleted_at IS NULL",
    )
    .bind(group.0)
    .fetch_optional(db)
    .await
    .map_err(store_failure)?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((
        Seq(row.head),
        priority(row.priority)?,
        row.target.optional(Seq::ZERO)?,
    )))
}

/// Deletes a group: its name is free again, its target is dropped, every membership ends at the head before this change.
pub(super) async fn delete(db: &mut Db, key: RowKey) -> StoreResult<()> {
    for sql in [
        "DELETE FROM member WHERE group_id = $1 AND to_seq IS NULL \
         AND from_seq = (SELECT seq FROM channel_head WHERE ch = 'g:' || $1)",
        "UPDATE member SET to_seq = (SELECT seq FROM channel_head WHERE ch = 'g:' || $1) \
         WHERE group_id = $1 AND to_seq IS NULL",
        "UPDATE device_group SET target_id = NULL, target_revision = NULL WHERE id = $1",
    ] {
        sqlx::query(sql)
            .bind(key.id)
            .execute(&mut *db)
            .await
            .map_err(store_failure)?;
    }
    sqlx::query("UPDATE device_group SET deleted_at = $2 WHERE id = $1")
        .bind(key.id)
        .bind(clock::now().as_micros())
        .execute(db)
        .await
        .map_err(store_failure)?;
    Ok(())
}
