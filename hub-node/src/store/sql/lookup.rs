//! From the names in a path to the ids of rows: the one place that decides that a row belongs to the org that asks.

use super::Db;
use hub_proto::id::OrgId;

use super::failure::{found, store_failure};
use crate::store::StoreResult;
use crate::store::records::{DevicePath, GroupPath, ProductPath};

/// Ids of an org and a product of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProductKey {
    pub(super) org: i64,
    pub(super) product: i64,
}

/// Ids of a device or a group and what it belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowKey {
    pub(super) org: i64,
    pub(super) product: i64,
    pub(super) id: i64,
}

/// There is such an org.
pub(super) async fn org(db: &mut Db, org: OrgId) -> StoreResult<()> {
    let row: Option<i64> = sqlx::query_scalar("SELECT id FROM org WHERE id = $1")
        .bind(org.0)
        .fetch_optional(db)
        .await
        .map_err(store_failure)?;
    found(row, "org").map(|_| ())
}

/// The product a path names.
pub(super) async fn product(db: &mut Db, path: ProductPath<'_>) -> StoreResult<ProductKey> {
    let row: Option<i64> =
        sqlx::query_scalar("SELECT id FROM product WHERE org_id = $1 AND name = $2")
            .bind(path.org.0)
            .bind(path.product)
            .fetch_optional(db)
            .await
            .map_err(store_failure)?;
    Ok(ProductKey {
        org: path.org.0,
        product: found(row, "product")?,
    })
}

/// The device a path names.
pub(super) async fn device(db: &mut Db, path: DevicePath<'_>) -> StoreResult<RowKey> {
    let row: Option<(i64, i64)> = sqlx::query_as(
        "SELECT p.id, d.id FROM product p JOIN device d ON d.product_id = p.id AND d.name = $3 \
         WHERE p.org_id = $1 AND p.name = $2",
    )
    .bind(path.product.org.0)
    .bind(path.product.product)
    .bind(path.device)
    .fetch_optional(db)
    .await
    .map_err(store_failure)?;
    let (product, id) = found(row, "device")?;
    Ok(RowKey {
        org: path.product.org.0,
        product,
        id,
    })
}

/// The group a path names; deleted groups have no name any more.
pub(super) async fn group(db: &mut Db, path: GroupPath<'_>) -> StoreResult<RowKey> {
    let row: Option<(i64, i64)> = sqlx::query_as(
        "SELECT p.id, g.id FROM product p JOIN device_group g ON g.product_id = p.id AND g.name = $3 \
         AND g.deleted_at IS NULL WHERE p.org_id = $1 AND p.name = $2",
    )
    .bind(path.product.org.0)
    .bind(path.product.product)
    .bind(path.group)
    .fetch_optional(db)
    .await
    .map_err(store_failure)?;
    let (product, id) = found(row, "group")?;
    Ok(RowKey {
        org: path.product.org.0,
        product,
        id,
    })
}

/// The firmware a target names, looked up in the product of what shall run it.
pub(super) async fn firmware(db: &mut Db, product: i64, uuid: &str) -> StoreResult<i64> {
    let row: Option<i64> =
        sqlx::query_scalar("SELECT id FROM firmware WHERE product_id = $1 AND uuid = $2")
            .bind(product)
            .bind(uuid)
            .fetch_optional(db)
            .await
            .map_err(store_failure)?;
    found(row, "firmware")
}
