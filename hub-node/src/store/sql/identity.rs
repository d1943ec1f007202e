//! Certificates, authorities and the verdict on an identity.

use super::Db;
use async_trait::async_trait;
use hub_core::level::Refusal;
use hub_proto::id::{CaId, DeviceId, OrgId, ProductId};
use hub_proto::time::Timestamp;

use super::failure::store_failure;
use super::level::StandingRow;
use super::rows::{bytes32, slug, time};
use super::{Backend, anchors, authorities, certificates, commit, provision};
use crate::store::delivery::Changed;
use crate::store::records::{
    Anchor, Authority, Certificate, DevicePath, Identity, NewAuthority, NewCertificate, Page,
    PageQuery, Provision, Registration,
};
use crate::store::{IdentityStore, StoreResult};

#[derive(sqlx::FromRow)]
struct IdentityRow {
    org_id: i64,
    org_name: String,
    product_id: i64,
    product_name: String,
    device_id: i64,
    device_name: String,
    sha256: Vec<u8>,
    authority_id: Option<i64>,
    not_before: i64,
    not_after: i64,
    #[sqlx(flatten)]
    standing: StandingRow,
}

#[async_trait]
impl IdentityStore for Backend {
    async fn identity(&self, sha256: [u8; 32]) -> StoreResult<Option<Identity>> {
        let mut conn = self.reader().await?;
        by_pin(&mut conn, sha256).await
    }

    async fn anchors(
        &self,
        key_id: Option<&[u8]>,
        issuer_der: &[u8],
        limit: usize,
    ) -> StoreResult<Vec<Anchor>> {
        let mut conn = self.reader().await?;
        anchors::anchors(&mut conn, key_id, issuer_der, limit).await
    }

    async fn provision(&self, provision: Provision) -> StoreResult<Result<Identity, Refusal>> {
        let mut tx = self.write().await?;
        let verdict = provision::provision(&mut tx, &provision).await?;
        if verdict.is_ok() {
            commit(tx).await?;
        }
        Ok(verdict)
    }

    async fn pin_certificate(
        &self,
        path: DevicePath<'_>,
        certificate: NewCertificate,
    ) -> StoreResult<Certificate> {
        let mut tx = self.write_in(path.product.org).await?;
        let pinned = certificates::pin(&mut tx, path, &certificate).await?;
        commit(tx).await?;
        Ok(pinned)
    }

    async fn certificates(&self, path: DevicePath<'_>) -> StoreResult<Vec<Certificate>> {
        let mut tx = self.read().await?;
        certificates::of_device(&mut tx, path).await
    }

    async fn revoke_certificate(
        &self,
        path: DevicePath<'_>,
        sha256: [u8; 32],
        now: Timestamp,
    ) -> StoreResult<Changed<Certificate>> {
        let mut tx = self.write_in(path.product.org).await?;
        let revoked = certificates::revoke(&mut tx, path, sha256, now).await?;
        commit(tx).await?;
        Ok(revoked)
    }

    async fn create_registration(&self, registration: Registration) -> StoreResult<()> {
        authorities::create_registration(self, registration).await
    }

    async fn create_authority(
        &self,
        authority: NewAuthority,
        now: Timestamp,
    ) -> StoreResult<Authority> {
        authorities::create(self, authority, now).await
    }

    async fn authorities(&self, org: OrgId, page: PageQuery) -> StoreResult<Page<Authority>> {
        authorities::list(self, org, page).await
    }

    async fn authority(&self, org: OrgId, id: CaId) -> StoreResult<Authority> {
        let mut tx = self.read().await?;
        authorities::one(&mut tx, org, id).await
    }

    async fn set_provisioning(
        &self,
        org: OrgId,
        id: CaId,
        provisioning: Option<(ProductId, u32)>,
    ) -> StoreResult<Authority> {
        authorities::set_provisioning(self, org, id, provisioning).await
    }

    async fn revoke_authority(
        &self,
        org: OrgId,
        id: CaId,
        now: Timestamp,
    ) -> StoreResult<Changed<Authority>> {
        authorities::revoke(self, org, id, now).await
    }
}

/// Who holds a pinned certificate: one statement.
pub(super) async fn by_pin(db: &mut Db, sha256: [u8; 32]) -> StoreResult<Option<Identity>> {
    let row: Option<IdentityRow> = sqlx::query_as(
        "SELECT o.id AS org_id, o.name AS org_name, p.id AS product_id, p.name AS product_name, d.id AS device_id, \
         d.name AS device_name, k.sha256, k.authority_id, k.not_before, k.not_after, \
         d.revoked_at AS device_revoked_at, a.revoked_at AS authority_revoked_at, \
         k.revoked_at AS certificate_revoked_at \
         FROM device_certificate k JOIN device d ON d.id = k.device_id JOIN product p ON p.id = d.product_id \
         JOIN org o ON o.id = d.org_id LEFT JOIN authority a ON a.id = k.authority_id WHERE k.sha256 = $1",
    )
    .bind(&sha256[..])
    .fetch_optional(db)
    .await
    .map_err(store_failure)?;
    row.map(identity_of).transpose()
}

fn identity_of(row: IdentityRow) -> StoreResult<Identity> {
    Ok(Identity {
        org: OrgId(row.org_id),
        org_name: slug(&row.org_name)?,
        product: ProductId(row.product_id),
        product_name: slug(&row.product_name)?,
        device: DeviceId(row.device_id),
        device_name: slug(&row.device_name)?,
        certificate: bytes32(&row.sha256)?,
        authority: row.authority_id.map(CaId),
        refusal: row.standing.refusal(),
        not_before: time(row.not_before),
        not_after: time(row.not_after),
    })
}
