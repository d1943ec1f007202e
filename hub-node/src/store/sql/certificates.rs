//! Pinned certificates.
//!
//! Owns the rule that a certificate belongs to one device of all orgs, and a key to one org.

use super::{Db, engine};
use hub_proto::id::{CaId, CertId, DeviceId};
use hub_proto::time::Timestamp;

use super::channels::{self, device_channel};
use super::failure::{conflict, found, store_failure, unique_or};
use super::lookup::{self, RowKey};
use super::rows::{bytes32, time, time_opt};
use crate::store::StoreResult;
use crate::store::delivery::Changed;
use crate::store::records::{Certificate, DevicePath, NewCertificate};

#[derive(sqlx::FromRow)]
struct CertificateRow {
    id: i64,
    device_id: i64,
    sha256: Vec<u8>,
    serial: String,
    authority_id: Option<i64>,
    not_before: i64,
    not_after: i64,
    revoked_at: Option<i64>,
    created_at: i64,
}

/// Pins a certificate at the operator's word.
pub(super) async fn pin(
    db: &mut Db,
    path: DevicePath<'_>,
    new: &NewCertificate,
) -> StoreResult<Certificate> {
    let key = lookup::device(db, path).await?;
    engine::lock_key(db, &new.key_sha256).await?;
    let elsewhere: Option<i64> = sqlx::query_scalar(
        "SELECT id FROM device_certificate WHERE key_sha256 = $1 AND org_id <> $2 LIMIT 1",
    )
    .bind(&new.key_sha256[..])
    .bind(key.org)
    .fetch_optional(&mut *db)
    .await
    .map_err(store_failure)?;
    // said first of a certificate that both rules refuse: it is the plainer of the two
    let known: Option<i64> =
        sqlx::query_scalar("SELECT id FROM device_certificate WHERE sha256 = $1")
            .bind(&new.sha256[..])
            .fetch_optional(&mut *db)
            .await
            .map_err(store_failure)?;
    if known.is_some() {
        return Err(conflict("certificate_taken", TAKEN));
    }
    if elsewhere.is_some() {
        return Err(conflict(
            "key_taken",
            "the certificate's key is in use elsewhere",
        ));
    }
    insert(db, key, None, new).await
}

const TAKEN: &str = "the certificate is pinned to a device already";

/// Stores a certificate of a device.
pub(super) async fn insert(
    db: &mut Db,
    key: RowKey,
    authority: Option<CaId>,
    new: &NewCertificate,
) -> StoreResult<Certificate> {
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO device_certificate (org_id, device_id, authority_id, sha256, key_sha256, serial, not_before, \
         not_after, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id",
    )
    .bind(key.org)
    .bind(key.id)
    .bind(authority.map(|authority| authority.0))
    .bind(&new.sha256[..])
    .bind(&new.key_sha256[..])
    .bind(&new.serial)
    .bind(new.not_before.as_micros())
    .bind(new.not_after.as_micros())
    .bind(new.now.as_micros())
    .fetch_one(db)
    .await
    .map_err(unique_or("certificate_taken", || TAKEN.to_owned()))?;
    Ok(Certificate {
        id: CertId(id),
        device: DeviceId(key.id),
        sha256: new.sha256,
        serial: new.serial.clone(),
        authority,
        not_before: new.not_before,
        not_after: new.not_after,
        revoked_at: None,
        created_at: new.now,
    })
}

/// A device's certificates.
pub(super) async fn of_device(db: &mut Db, path: DevicePath<'_>) -> StoreResult<Vec<Certificate>> {
    let key = lookup::device(db, path).await?;
    let rows: Vec<CertificateRow> = sqlx::query_as(
        "SELECT id, device_id, sha256, serial, authority_id, not_before, not_after, revoked_at, created_at \
         FROM device_certificate WHERE org_id = $1 AND device_id = $2 ORDER BY id",
    )
    .bind(key.org)
    .bind(key.id)
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    rows.into_iter().map(certificate_of).collect()
}

/// Revokes a certificate; the first revocation's time stays.
pub(super) async fn revoke(
    db: &mut Db,
    path: DevicePath<'_>,
    sha256: [u8; 32],
    now: Timestamp,
) -> StoreResult<Changed<Certificate>> {
    let key = lookup::device(db, path).await?;
    let row: Option<CertificateRow> = sqlx::query_as(
        "UPDATE device_certificate SET revoked_at = coalesce(revoked_at, $3) WHERE device_id = $1 AND sha256 = $2 \
         RETURNING id, device_id, sha256, serial, authority_id, not_before, not_after, revoked_at, created_at",
    )
    .bind(key.id)
    .bind(&sha256[..])
    .bind(now.as_micros())
    .fetch_optional(&mut *db)
    .await
    .map_err(store_failure)?;
    let value = certificate_of(found(row, "certificate")?)?;
    let change = channels::change(db, device_channel(key.id), None).await?;
    Ok(Changed {
        value,
        changes: vec![change],
    })
}

fn certificate_of(row: CertificateRow) -> StoreResult<Certificate> {
    Ok(Certificate {
        id: CertId(row.id),
        device: DeviceId(row.device_id),
        sha256: bytes32(&row.sha256)?,
        serial: row.serial,
        authority: row.authority_id.map(CaId),
        not_before: time(row.not_before),
        not_after: time(row.not_after),
        revoked_at: time_opt(row.revoked_at),
        created_at: time(row.created_at),
    })
}
