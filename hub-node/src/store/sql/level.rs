//! Reads what a device should be and run. Join and reconciliation share this code, so they cannot disagree.
//!
//! Owns the order of refusals: a revoked device, then its authority, then its certificate.

use std::sync::Arc;

use super::Db;
use hub_core::level::{Level, Membership, Refusal, Standing, Target};
use hub_proto::id::{ChannelId, DeviceId, FirmwareId, GroupId, Seq};
use hub_proto::time::Timestamp;

use super::channels;
use super::failure::{damaged, store_failure};
use super::offers::OffersRow;
use super::rows::{bytes32, count, slug};
use crate::store::StoreResult;

/// The firmware columns of a joined row; all empty when there is no target.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct TargetRow {
    id: Option<i64>,
    uuid: Option<String>,
    version: Option<String>,
    meta_product: Option<String>,
    platform: Option<String>,
    architecture: Option<String>,
    size: Option<i64>,
    sha256: Option<Vec<u8>>,
    revision: Option<i64>,
}

impl TargetRow {
    /// The target, which is there: `revision` stands in for a missing one.
    pub(super) fn target(self, revision: Seq) -> StoreResult<Arc<Target>> {
        self.optional(revision)?.ok_or_else(|| damaged("target"))
    }

    /// The target, if there is one.
    pub(super) fn optional(self, revision: Seq) -> StoreResult<Option<Arc<Target>>> {
        let Some(id) = self.id else { return Ok(None) };
        let text = |text: Option<String>| {
            text.map(String::into_boxed_str)
                .ok_or_else(|| damaged("firmware"))
        };
        Ok(Some(Arc::new(Target {
            firmware: FirmwareId(id),
            revision: self.revision.map_or(revision, Seq),
            uuid: text(self.uuid)?,
            version: text(self.version)?,
            product: text(self.meta_product)?,
            platform: text(self.platform)?,
            architecture: text(self.architecture)?,
            size: count(self.size.unwrap_or(-1))?,
            sha256: bytes32(&self.sha256.unwrap_or_default())?,
        })))
    }
}

/// What may stop an identity.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct StandingRow {
    device_revoked_at: Option<i64>,
    authority_revoked_at: Option<i64>,
    certificate_revoked_at: Option<i64>,
}

impl StandingRow {
    /// Why this identity is refused, if it is.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let reasons = [
            (self.device_revoked_at, Refusal::DeviceRevoked),
            (self.authority_revoked_at, Refusal::AuthorityRevoked),
            (self.certificate_revoked_at, Refusal::CertificateRevoked),
        ];
        reasons
            .into_iter()
            .find_map(|(at, refusal)| at.map(|_| refusal))
    }
}

#[derive(sqlx::FromRow)]
struct DeviceRow {
    head: i64,
    certificate: Option<i64>,
    #[sqlx(flatten)]
    standing: StandingRow,
    #[sqlx(flatten)]
    target: TargetRow,
    #[sqlx(flatten)]
    offers: OffersRow,
}

#[derive(sqlx::FromRow)]
struct MembershipRow {
    group_id: i64,
    name: String,
    priority: i64,
    from_seq: i64,
    head: i64,
    #[sqlx(flatten)]
    target: TargetRow,
}

/// Reads a device's level as the holder of this certificate sees it. A device that is gone is a revoked one.
pub(super) async fn level(
    db: &mut Db,
    device: DeviceId,
    certificate: [u8; 32],
    now: Timestamp,
) -> StoreResult<Level> {
    let row: Option<DeviceRow> = sqlx::query_as(
        "SELECT h.seq AS head, k.id AS certificate, d.revoked_at AS device_revoked_at, \
         a.revoked_at AS authority_revoked_at, k.revoked_at AS certificate_revoked_at, \
         f.id, f.uuid, f.version, f.meta_product, f.platform, f.architecture, f.size, f.sha256, \
         d.target_revision AS revision, d.offer_ch, d.offer_revision, d.offer_count, d.offer_at \
         FROM device d JOIN channel_head h ON h.ch = 'd:' || d.id \
         LEFT JOIN firmware f ON f.id = d.target_id \
         LEFT JOIN device_certificate k ON k.sha256 = $2 AND k.device_id = d.id \
         LEFT JOIN authority a ON a.id = k.authority_id WHERE d.id = $1",
    )
    .bind(device.0)
    .bind(&certificate[..])
    .fetch_optional(&mut *db)
    .await
    .map_err(store_failure)?;
    let Some(row) = row else {
        let head = channels::head(db, ChannelId::Device(device)).await?;
        return Ok(refused(Refusal::DeviceRevoked, head));
    };
    let refusal = row.standing.refusal().or(if row.certificate.is_none() {
        Some(Refusal::Unknown)
    } else {
        None
    });
    if let Some(refusal) = refusal {
        return Ok(refused(refusal, Seq(row.head)));
    }
    Ok(Level {
        standing: Standing::Active,
        head: Seq(row.head),
        target: row.target.optional(Seq::ZERO)?,
        groups: memberships(db, device).await?,
        offers: row.offers.offers(now)?,
    })
}

/// The level of one who may not be here: there is nothing to run and nothing to join.
fn refused(refusal: Refusal, head: Seq) -> Level {
    Level {
        standing: Standing::Refused(refusal),
        head,
        target: None,
        groups: Vec::new(),
        offers: None,
    }
}

async fn memberships(db: &mut Db, device: DeviceId) -> StoreResult<Vec<Membership>> {
    let rows: Vec<MembershipRow> = sqlx::query_as(
        "SELECT g.id AS group_id, g.name, g.priority, m.from_seq, h.seq AS head, \
         f.id, f.uuid, f.version, f.meta_product, f.platform, f.architecture, f.size, f.sha256, \
         g.target_revision AS revision \
         FROM member m JOIN device_group g ON g.id = m.group_id JOIN channel_head h ON h.ch = 'g:' || g.id \
         LEFT JOIN firmware f ON f.id = g.target_id WHERE m.device_id = $1 AND m.to_seq IS NULL",
    )
    .bind(device.0)
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    let mut memberships: Vec<_> = rows
        .into_iter()
        .map(membership_of)
        .collect::<StoreResult<_>>()?;
    // They take over the memory of the rows, which is several times what they need, and stay as long as the socket.
    memberships.shrink_to_fit();
    Ok(memberships)
}

fn membership_of(row: MembershipRow) -> StoreResult<Membership> {
    Ok(Membership {
        group: GroupId(row.group_id),
        name: slug(&row.name)?,
        priority: priority(row.priority)?,
        from_seq: Seq(row.from_seq),
        head: Seq(row.head),
        target: row.target.optional(Seq::ZERO)?,
    })
}

/// A stored priority.
pub(super) fn priority(value: i64) -> StoreResult<i32> {
    i32::try_from(value).map_err(|_| damaged("priority"))
}
