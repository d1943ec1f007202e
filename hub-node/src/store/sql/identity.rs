//! Certificates, authorities and the verdict on an identity.

use super::Db;
use async_trait::async_trait;
use hub_core::level::Refusal;
use hub_proto::id::{CaId, DeviceId, OrgId, ProductId};
use hub_proto::time::Timestamp;

use super::failure::store_failure;
use super::level::StandingRow;
use super::rows::{bytes32, json_list, slug, time};
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
    async fn identities(&self, certificates: Vec<[u8; 32]>) -> StoreResult<Vec<Identity>> {
        let mut conn = self.reader().await?;
        by_pins(&mut conn, &certificates).await
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

/// Who holds a pinned certificate.
pub(super) async fn by_pin(db: &mut Db, sha256: [u8; 32]) -> StoreResult<Option<Identity>> {
    Ok(by_pins(db, &[sha256]).await?.pop())
}

/// Who holds pinned certificates, in one statement.
async fn by_pins(db: &mut Db, certificates: &[[u8; 32]]) -> StoreResult<Vec<Identity>> {
    let item = |sha256: &[u8; 32]| serde_json::json!({"k": hex::encode(sha256)});
    let items: Vec<_> = certificates.iter().map(item).collect();
    let rows: Vec<IdentityRow> = sqlx::query_as(concat!(
        "SELECT o.id AS org_id, o.name AS org_name, p.id AS product_id, p.name AS product_name, d.id AS device_id, \
         d.name AS device_name, k.sha256, k.authority_id, k.not_before, k.not_after, \
         d.revoked_at AS device_revoked_at, a.revoked_at AS authority_revoked_at, \
         k.revoked_at AS certificate_revoked_at \
         FROM (SELECT ",
        bytes!("item", "k"),
        " AS sha256 FROM ",
        list!("$1", "item"),
        ") asked JOIN device_certificate k ON k.sha256 = asked.sha256 \
         JOIN device d ON d.id = k.device_id JOIN product p ON p.id = d.product_id \
         JOIN org o ON o.id = d.org_id LEFT JOIN authority a ON a.id = k.authority_id",
    ))
    .bind(json_list(&items))
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    rows.into_iter().map(identity_of).collect()
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
