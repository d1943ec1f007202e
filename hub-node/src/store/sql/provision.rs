//! First use of a certificate whose authority provisions devices.
//!
//! Owns the order of the questions: the authority, the certificate's own pin, its key, the name, the quota. The quota
//! counts devices ever made, so that deleting one does not let a stolen authority make another; renewals are free.

use super::{Db, engine};
use hub_core::level::Refusal;
use hub_proto::id::CaId;

use super::failure::{found, store_failure};
use super::identity::by_pin;
use super::lookup::{ProductKey, RowKey};
use super::{certificates, devices};
use crate::store::StoreResult;
use crate::store::records::{Identity, Provision};

#[derive(sqlx::FromRow)]
struct AuthorityRow {
    org_id: i64,
    product_id: Option<i64>,
    revoked_at: Option<i64>,
}

/// A device that holds a certificate of the same key.
#[derive(sqlx::FromRow)]
struct HolderRow {
    org_id: i64,
    product_id: i64,
    device_id: i64,
    name: String,
    authority_id: Option<i64>,
    certificate_revoked_at: Option<i64>,
    device_revoked_at: Option<i64>,
}

/// What is known of the certificate's key.
enum Key {
    /// Nothing.
    New,
    /// It is this device's.
    Of(RowKey),
    /// It may not be used so.
    Refused(Refusal),
}

/// Gives the certificate a device, or says why not.
pub(super) async fn provision(
    db: &mut Db,
    new: &Provision,
) -> StoreResult<Result<Identity, Refusal>> {
    let authority: Option<AuthorityRow> = sqlx::query_as(concat!(
        "SELECT org_id, product_id, revoked_at FROM authority WHERE id = $1",
        locked!()
    ))
    .bind(new.authority.0)
    .fetch_optional(&mut *db)
    .await
    .map_err(store_failure)?;
    let Some(authority) = authority else {
        return Ok(Err(Refusal::Unknown));
    };
    if authority.revoked_at.is_some() {
        return Ok(Err(Refusal::AuthorityRevoked));
    }
    engine::lock_key(db, &new.certificate.key_sha256).await?;
    // two first uses may race: the second one finds what the first one made
    if let Some(identity) = by_pin(db, new.certificate.sha256).await? {
        return Ok(match identity.refusal {
            Some(refusal) => Err(refusal),
            None => Ok(identity),
        });
    }
    let Some(product) = authority.product_id else {
        return Ok(Err(Refusal::Unknown));
    };
    let into = ProductKey {
        org: authority.org_id,
        product,
    };
    let device = match holder(db, into, new).await? {
        Key::Refused(refusal) => return Ok(Err(refusal)),
        Key::Of(device) => device,
        Key::New => match make(db, into, new).await? {
            Ok(device) => device,
            Err(refusal) => return Ok(Err(refusal)),
        },
    };
    certificates::insert(db, device, Some(new.authority), &new.certificate).await?;
    Ok(Ok(found(
        by_pin(db, new.certificate.sha256).await?,
        "certificate",
    )?))
}

/// Whose key this is. Renewal needs a pin of the key that was not revoked: revoking a certificate gives up its key.
async fn holder(db: &mut Db, into: ProductKey, new: &Provision) -> StoreResult<Key> {
    let holders: Vec<HolderRow> = sqlx::query_as(
        "SELECT d.org_id, d.product_id, d.id AS device_id, d.name, k.authority_id, \
         k.revoked_at AS certificate_revoked_at, d.revoked_at AS device_revoked_at \
         FROM device_certificate k JOIN device d ON d.id = k.device_id WHERE k.key_sha256 = $1 ORDER BY k.id",
    )
    .bind(&new.certificate.key_sha256[..])
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    if holders.is_empty() {
        return Ok(Key::New);
    }
    let own = |row: &&HolderRow| {
        let same = row.authority_id.map(CaId) == Some(new.authority) || row.name == *new.name;
        row.org_id == into.org && row.product_id == into.product && same
    };
    let mut own = holders.iter().filter(own).peekable();
    let Some(first) = own.peek() else {
        // of another org's devices nothing may be told
        let here = holders.iter().any(|row| row.org_id == into.org);
        return Ok(Key::Refused(if here {
            Refusal::BadIdentifier
        } else {
            Refusal::Unknown
        }));
    };
    if first.device_revoked_at.is_some() {
        return Ok(Key::Refused(Refusal::DeviceRevoked));
    }
    Ok(match own.find(|row| row.certificate_revoked_at.is_none()) {
        Some(row) => Key::Of(RowKey {
            org: row.org_id,
            product: row.product_id,
            id: row.device_id,
        }),
        None => Key::Refused(Refusal::CertificateRevoked),
    })
}

/// Makes the device, if its name and the quota allow.
async fn make(
    db: &mut Db,
    into: ProductKey,
    new: &Provision,
) -> StoreResult<Result<RowKey, Refusal>> {
    let taken: Option<i64> =
        sqlx::query_scalar("SELECT id FROM device WHERE product_id = $1 AND name = $2")
            .bind(into.product)
            .bind(&*new.name)
            .fetch_optional(&mut *db)
            .await
            .map_err(store_failure)?;
    if taken.is_some() {
        return Ok(Err(Refusal::BadIdentifier));
    }
    let counted: Option<i64> = sqlx::query_scalar(
        "UPDATE authority SET provisioned = provisioned + 1 WHERE id = $1 AND provisioned < quota RETURNING provisioned",
    )
    .bind(new.authority.0)
    .fetch_optional(&mut *db)
    .await
    .map_err(store_failure)?;
    if counted.is_none() {
        return Ok(Err(Refusal::QuotaExceeded));
    }
    Ok(Ok(devices::create(
        db,
        into,
        &new.name,
        new.certificate.now,
    )
    .await?))
}
