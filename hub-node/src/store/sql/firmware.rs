//! Firmware records: what was uploaded, by which key, and who still targets it.

use std::sync::Arc;

use async_trait::async_trait;
use hub_core::level::Target;
use hub_proto::id::{FirmwareId, KeyId, OrgId, Seq};
use hub_proto::slug::Slug;

use super::failure::{conflict, found, store_failure, unique_or};
use super::level::TargetRow;
use super::paging::Window;
use super::rows::{bytes32, count, texts, texts_json, time};
use super::{Backend, clock, commit, engine, lookup, signing_keys};
use crate::store::records::{
    FirmwareRecord, NewFirmware, Page, PageQuery, ProductPath, SigningKey,
};
use crate::store::{FirmwareStore, StoreError, StoreResult};

#[derive(sqlx::FromRow)]
struct FirmwareRow {
    id: i64,
    uuid: String,
    version: String,
    meta_product: String,
    platform: String,
    architecture: String,
    extra: String,
    size: i64,
    sha256: Vec<u8>,
    key_id: i64,
    created_at: i64,
}

#[async_trait]
impl FirmwareStore for Backend {
    async fn create_signing_key(
        &self,
        org: OrgId,
        name: &Slug,
        public_key: [u8; 32],
    ) -> StoreResult<SigningKey> {
        signing_keys::create(self, org, name, public_key).await
    }

    async fn signing_keys(&self, org: OrgId) -> StoreResult<Vec<SigningKey>> {
        signing_keys::list(self, org).await
    }

    async fn delete_signing_key(&self, org: OrgId, id: KeyId) -> StoreResult<()> {
        signing_keys::delete(self, org, id).await
    }

    async fn create_firmware(
        &self,
        path: ProductPath<'_>,
        firmware: NewFirmware,
    ) -> StoreResult<FirmwareRecord> {
        let size =
            i64::try_from(firmware.size).map_err(|error| StoreError::Failed(Box::new(error)))?;
        let mut tx = self.write_in(path.org).await?;
        let key = lookup::product(&mut tx, path).await?;
        signing_keys::live(&mut tx, path.org, firmware.key).await?;
        engine::lock_key(&mut tx, &firmware.sha256).await?;
        let created_at = clock::now();
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO firmware (org_id, product_id, uuid, version, meta_product, platform, architecture, extra, \
             size, sha256, key_id, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id",
        )
        .bind(key.org)
        .bind(key.product)
        .bind(&firmware.uuid)
        .bind(&firmware.version)
        .bind(&firmware.product)
        .bind(&firmware.platform)
        .bind(&firmware.architecture)
        .bind(texts_json(&firmware.extra))
        .bind(size)
        .bind(&firmware.sha256[..])
        .bind(firmware.key.0)
        .bind(created_at.as_micros())
        .fetch_one(&mut *tx)
        .await
        .map_err(unique_or("firmware_exists", || format!("the product has firmware {} already", firmware.uuid)))?;
        commit(tx).await?;
        Ok(FirmwareRecord {
            id: FirmwareId(id),
            firmware,
            created_at,
        })
    }

    async fn firmware(&self, path: ProductPath<'_>, uuid: &str) -> StoreResult<FirmwareRecord> {
        let mut tx = self.read().await?;
        let key = lookup::product(&mut tx, path).await?;
        let row: Option<FirmwareRow> = sqlx::query_as(
            "SELECT id, uuid, version, meta_product, platform, architecture, extra, size, sha256, key_id, created_at \
             FROM firmware WHERE product_id = $1 AND uuid = $2",
        )
        .bind(key.product)
        .bind(uuid)
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_failure)?;
        firmware_of(found(row, "firmware")?)
    }

    async fn firmwares(
        &self,
        path: ProductPath<'_>,
        page: PageQuery,
    ) -> StoreResult<Page<FirmwareRecord>> {
        let window = Window::new(&page)?;
        let mut tx = self.read().await?;
        let key = lookup::product(&mut tx, path).await?;
        let rows: Vec<FirmwareRow> = sqlx::query_as(
            "SELECT id, uuid, version, meta_product, platform, architecture, extra, size, sha256, key_id, created_at \
             FROM firmware WHERE org_id = $1 AND product_id = $2 AND id > $3 ORDER BY id LIMIT $4",
        )
        .bind(key.org)
        .bind(key.product)
        .bind(window.above())
        .bind(window.fetch())
        .fetch_all(&mut *tx)
        .await
        .map_err(store_failure)?;
        window.page(rows, |row| row.id, firmware_of)
    }

    async fn delete_firmware(&self, path: ProductPath<'_>, uuid: &str) -> StoreResult<bool> {
        let mut tx = self.write_in(path.org).await?;
        let key = lookup::product(&mut tx, path).await?;
        let id = lookup::firmware(&mut tx, key.product, uuid).await?;
        let used: Option<i64> = sqlx::query_scalar(
            "SELECT CAST(1 AS BIGINT) FROM device WHERE target_id = $1 UNION ALL SELECT CAST(1 AS BIGINT) FROM device_group WHERE target_id = $1 LIMIT 1",
        )
        .bind(id)
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_failure)?;
        if used.is_some() {
            return Err(conflict(
                "in_use",
                "a device or a group has this firmware as its target",
            ));
        }
        let sha256: Vec<u8> =
            sqlx::query_scalar("DELETE FROM firmware WHERE id = $1 RETURNING sha256")
                .bind(id)
                .fetch_one(&mut *tx)
                .await
                .map_err(store_failure)?;
        // the blob may be another org's too, and that one may be deleting or uploading it now
        engine::lock_key(&mut tx, &bytes32(&sha256)?).await?;
        let left: Option<i64> =
            sqlx::query_scalar("SELECT CAST(1 AS BIGINT) FROM firmware WHERE sha256 = $1 LIMIT 1")
                .bind(&sha256[..])
                .fetch_optional(&mut *tx)
                .await
                .map_err(store_failure)?;
        commit(tx).await?;
        Ok(left.is_none())
    }

    async fn download(&self, org: OrgId, uuid: &str) -> StoreResult<Arc<Target>> {
        let mut tx = self.read().await?;
        let row: Option<TargetRow> = sqlx::query_as(
            "SELECT id, uuid, version, meta_product, platform, architecture, size, sha256, NULL AS revision \
             FROM firmware WHERE org_id = $1 AND uuid = $2 ORDER BY id LIMIT 1",
        )
        .bind(org.0)
        .bind(uuid)
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_failure)?;
        found(row, "firmware")?.target(Seq(0))
    }
}

fn firmware_of(row: FirmwareRow) -> StoreResult<FirmwareRecord> {
    let firmware = NewFirmware {
        uuid: row.uuid,
        version: row.version,
        product: row.meta_product,
        platform: row.platform,
        architecture: row.architecture,
        extra: texts(&row.extra)?,
        size: count(row.size)?,
        sha256: bytes32(&row.sha256)?,
        key: KeyId(row.key_id),
    };
    Ok(FirmwareRecord {
        id: FirmwareId(row.id),
        firmware,
        created_at: time(row.created_at),
    })
}
