//! Public keys that may sign an org's firmware. A removed key leaves its row to the firmware it signed.

use super::Db;
use hub_proto::id::{KeyId, OrgId};
use hub_proto::slug::Slug;

use super::failure::{conflict, found, store_failure};
use super::rows::{bytes32, slug, time};
use super::{Backend, clock, commit, lookup};
use crate::store::StoreResult;
use crate::store::records::SigningKey;

pub(super) async fn create(
    store: &Backend,
    org: OrgId,
    name: &Slug,
    public_key: [u8; 32],
) -> StoreResult<SigningKey> {
    let mut tx = store.write_in(org).await?;
    lookup::org(&mut tx, org).await?;
    let rival: Option<String> = sqlx::query_scalar(
        "SELECT name FROM signing_key WHERE org_id = $1 AND deleted_at IS NULL AND (name = $2 OR public_key = $3) \
         ORDER BY name = $2 DESC LIMIT 1",
    )
    .bind(org.0)
    .bind(&**name)
    .bind(&public_key[..])
    .fetch_optional(&mut *tx)
    .await
    .map_err(store_failure)?;
    match rival {
        Some(rival) if rival == **name => {
            return Err(conflict(
                "name_taken",
                format!("there is a key named {name} already"),
            ));
        }
        Some(rival) => {
            return Err(conflict(
                "key_taken",
                format!("this key is registered as {rival}"),
            ));
        }
        None => {}
    }
    let created_at = clock::now();
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO signing_key (org_id, name, public_key, created_at) VALUES ($1, $2, $3, $4) RETURNING id",
    )
    .bind(org.0)
    .bind(&**name)
    .bind(&public_key[..])
    .bind(created_at.as_micros())
    .fetch_one(&mut *tx)
    .await
    .map_err(store_failure)?;
    commit(tx).await?;
    Ok(SigningKey {
        id: KeyId(id),
        name: name.clone(),
        public_key,
        created_at,
    })
}

pub(super) async fn list(store: &Backend, org: OrgId) -> StoreResult<Vec<SigningKey>> {
    let mut tx = store.read().await?;
    let rows: Vec<(i64, String, Vec<u8>, i64)> = sqlx::query_as(
        "SELECT id, name, public_key, created_at FROM signing_key WHERE org_id = $1 AND deleted_at IS NULL ORDER BY id",
    )
    .bind(org.0)
    .fetch_all(&mut *tx)
    .await
    .map_err(store_failure)?;
    rows.into_iter()
        .map(|(id, name, key, created_at)| {
            Ok(SigningKey {
                id: KeyId(id),
                name: slug(&name)?,
                public_key: bytes32(&key)?,
                created_at: time(created_at),
            })
        })
        .collect()
}

pub(super) async fn delete(store: &Backend, org: OrgId, id: KeyId) -> StoreResult<()> {
    let mut tx = store.write_in(org).await?;
    live(&mut tx, org, id).await?;
    sqlx::query("UPDATE signing_key SET deleted_at = $2 WHERE id = $1")
        .bind(id.0)
        .bind(clock::now().as_micros())
        .execute(&mut *tx)
        .await
        .map_err(store_failure)?;
    commit(tx).await
}

/// The org has this key and did not remove it.
pub(super) async fn live(db: &mut Db, org: OrgId, id: KeyId) -> StoreResult<()> {
    let row: Option<i64> = sqlx::query_scalar(
        "SELECT id FROM signing_key WHERE org_id = $1 AND id = $2 AND deleted_at IS NULL",
    )
    .bind(org.0)
    .bind(id.0)
    .fetch_optional(db)
    .await
    .map_err(store_failure)?;
    found(row, "signing key").map(|_| ())
}
