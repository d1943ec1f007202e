//! Registered authorities and the codes that prove possession of their keys.

use super::Db;
use hub_proto::id::{CaId, ChannelId, OrgId, ProductId};
use hub_proto::time::Timestamp;

use super::failure::{conflict, damaged, found, store_failure, unique_or};
use super::paging::Window;
use super::rows::{bytes32, count32, slug, storable, time, time_opt};
use super::{Backend, channels, clock, commit, lookup};
use crate::store::StoreResult;
use crate::store::delivery::Changed;
use crate::store::records::{Authority, NewAuthority, Page, PageQuery, Registration};

#[derive(sqlx::FromRow)]
struct AuthorityRow {
    id: i64,
    org_id: i64,
    sha256: Vec<u8>,
    subject: String,
    not_before: i64,
    not_after: i64,
    product_id: Option<i64>,
    product_name: Option<String>,
    quota: i64,
    provisioned: i64,
    revoked_at: Option<i64>,
    created_at: i64,
}

pub(super) async fn create_registration(
    store: &Backend,
    registration: Registration,
) -> StoreResult<()> {
    let mut tx = store.write_in(registration.org).await?;
    lookup::org(&mut tx, registration.org).await?;
    // codes nobody used keep the table no larger than what is open
    sqlx::query("DELETE FROM registration WHERE expires_at <= $1")
        .bind(clock::now().as_micros())
        .execute(&mut *tx)
        .await
        .map_err(store_failure)?;
    sqlx::query("INSERT INTO registration (code, org_id, expires_at) VALUES ($1, $2, $3)")
        .bind(&registration.code)
        .bind(registration.org.0)
        .bind(registration.expires_at.as_micros())
        .execute(&mut *tx)
        .await
        .map_err(unique_or("code_taken", || {
            "this code was issued already".to_owned()
        }))?;
    commit(tx).await
}

pub(super) async fn create(
    store: &Backend,
    new: NewAuthority,
    now: Timestamp,
) -> StoreResult<Authority> {
    let mut tx = store.write_in(new.org).await?;
    let code: Option<String> = sqlx::query_scalar(
        "DELETE FROM registration WHERE code = $1 AND org_id = $2 AND expires_at > $3 RETURNING code",
    )
    .bind(&new.code)
    .bind(new.org.0)
    .bind(now.as_micros())
    .fetch_optional(&mut *tx)
    .await
    .map_err(store_failure)?;
    if code.is_none() {
        return Err(conflict(
            "code_unknown",
            "the registration code is unknown, used or expired",
        ));
    }
    if let Some((product, _)) = new.provisioning {
        product_of_org(&mut tx, new.org, product).await?;
    }
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO authority (org_id, der, sha256, key_sha256, key_id, subject_der, subject, not_before, not_after, \
         product_id, quota, provisioned, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12) RETURNING id",
    )
    .bind(new.org.0)
    .bind(&new.der)
    .bind(&new.sha256[..])
    .bind(&new.key_sha256[..])
    .bind(&new.key_id)
    .bind(&new.subject_der)
    .bind(storable(&new.subject))
    .bind(new.not_before.as_micros())
    .bind(new.not_after.as_micros())
    .bind(new.provisioning.map(|(product, _)| product.0))
    .bind(new.provisioning.map_or(0, |(_, quota)| i64::from(quota)))
    .bind(now.as_micros())
    .fetch_one(&mut *tx)
    .await
    .map_err(unique_or("key_taken", || "the authority's key is registered already".to_owned()))?;
    let authority = one(&mut tx, new.org, CaId(id)).await?;
    commit(tx).await?;
    Ok(authority)
}

pub(super) async fn list(
    store: &Backend,
    org: OrgId,
    page: PageQuery,
) -> StoreResult<Page<Authority>> {
    let window = Window::new(&page)?;
    let mut tx = store.read().await?;
    let rows: Vec<AuthorityRow> = sqlx::query_as(
        "SELECT a.id, a.org_id, a.sha256, a.subject, a.not_before, a.not_after, a.product_id, p.name AS product_name, \
         a.quota, a.provisioned, a.revoked_at, a.created_at FROM authority a LEFT JOIN product p ON p.id = a.product_id \
         WHERE a.org_id = $1 AND a.id > $2 ORDER BY a.id LIMIT $3",
    )
    .bind(org.0)
    .bind(window.above())
    .bind(window.fetch())
    .fetch_all(&mut *tx)
    .await
    .map_err(store_failure)?;
    window.page(rows, |row| row.id, authority_of)
}

/// One authority of an org.
pub(super) async fn one(db: &mut Db, org: OrgId, id: CaId) -> StoreResult<Authority> {
    let row: Option<AuthorityRow> = sqlx::query_as(
        "SELECT a.id, a.org_id, a.sha256, a.subject, a.not_before, a.not_after, a.product_id, p.name AS product_name, \
         a.quota, a.provisioned, a.revoked_at, a.created_at FROM authority a LEFT JOIN product p ON p.id = a.product_id \
         WHERE a.org_id = $1 AND a.id = $2",
    )
    .bind(org.0)
    .bind(id.0)
    .fetch_optional(db)
    .await
    .map_err(store_failure)?;
    authority_of(found(row, "authority")?)
}

pub(super) async fn set_provisioning(
    store: &Backend,
    org: OrgId,
    id: CaId,
    provisioning: Option<(ProductId, u32)>,
) -> StoreResult<Authority> {
    let mut tx = store.write_in(org).await?;
    one(&mut tx, org, id).await?;
    if let Some((product, _)) = provisioning {
        product_of_org(&mut tx, org, product).await?;
    }
    sqlx::query("UPDATE authority SET product_id = $2, quota = $3 WHERE id = $1")
        .bind(id.0)
        .bind(provisioning.map(|(product, _)| product.0))
        .bind(provisioning.map_or(0, |(_, quota)| i64::from(quota)))
        .execute(&mut *tx)
        .await
        .map_err(store_failure)?;
    let authority = one(&mut tx, org, id).await?;
    commit(tx).await?;
    Ok(authority)
}

pub(super) async fn revoke(
    store: &Backend,
    org: OrgId,
    id: CaId,
    now: Timestamp,
) -> StoreResult<Changed<Authority>> {
    let mut tx = store.write_in(org).await?;
    one(&mut tx, org, id).await?;
    sqlx::query("UPDATE authority SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1")
        .bind(id.0)
        .bind(now.as_micros())
        .execute(&mut *tx)
        .await
        .map_err(store_failure)?;
    let change = channels::change(&mut tx, ChannelId::Org(org), None).await?;
    let value = one(&mut tx, org, id).await?;
    commit(tx).await?;
    Ok(Changed {
        value,
        changes: vec![change],
    })
}

async fn product_of_org(db: &mut Db, org: OrgId, product: ProductId) -> StoreResult<()> {
    let row: Option<i64> =
        sqlx::query_scalar("SELECT id FROM product WHERE org_id = $1 AND id = $2")
            .bind(org.0)
            .bind(product.0)
            .fetch_optional(db)
            .await
            .map_err(store_failure)?;
    found(row, "product").map(|_| ())
}

fn authority_of(row: AuthorityRow) -> StoreResult<Authority> {
    let provisioning = match row.product_id {
        None => None,
        Some(product) => {
            let name = row.product_name.ok_or_else(|| damaged("authority"))?;
            Some((ProductId(product), slug(&name)?, count32(row.quota)?))
        }
    };
    Ok(Authority {
        id: CaId(row.id),
        org: OrgId(row.org_id),
        sha256: bytes32(&row.sha256)?,
        subject: row.subject,
        not_before: time(row.not_before),
        not_after: time(row.not_after),
        provisioning,
        provisioned: count32(row.provisioned)?,
        revoked_at: time_opt(row.revoked_at),
        created_at: time(row.created_at),
    })
}
