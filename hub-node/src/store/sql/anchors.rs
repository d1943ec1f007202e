//! Registered authorities as the TLS verifier looks for them.

use super::Db;
use hub_proto::id::{CaId, OrgId};

use super::failure::store_failure;
use crate::store::StoreResult;
use crate::store::records::Anchor;

#[derive(sqlx::FromRow)]
struct AnchorRow {
    id: i64,
    org_id: i64,
    der: Vec<u8>,
    revoked: i64,
    provisions: i64,
}

/// Authorities with this key id, and those that have none but this name; without a key id all with this name.
pub(super) async fn anchors(
    db: &mut Db,
    key_id: Option<&[u8]>,
    issuer_der: &[u8],
    limit: usize,
) -> StoreResult<Vec<Anchor>> {
    let rows: Vec<AnchorRow> = sqlx::query_as(
        "SELECT id, org_id, der, CASE WHEN revoked_at IS NULL THEN CAST(0 AS BIGINT) ELSE 1 END AS revoked, \
         CASE WHEN product_id IS NULL THEN CAST(0 AS BIGINT) ELSE 1 END AS provisions FROM authority WHERE key_id = $1 \
         UNION ALL \
         SELECT id, org_id, der, CASE WHEN revoked_at IS NULL THEN CAST(0 AS BIGINT) ELSE 1 END AS revoked, \
         CASE WHEN product_id IS NULL THEN CAST(0 AS BIGINT) ELSE 1 END AS provisions FROM authority \
         WHERE subject_der = $2 AND ($1 IS NULL OR key_id IS NULL) ORDER BY revoked, id LIMIT $3",
    )
    .bind(key_id)
    .bind(issuer_der)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    let anchor = |row: AnchorRow| Anchor {
        authority: CaId(row.id),
        org: OrgId(row.org_id),
        der: row.der.into(),
        revoked: row.revoked != 0,
        provisions: row.provisions != 0,
    };
    Ok(rows.into_iter().map(anchor).collect())
}
