//! Reads what a device should be and run. Join and reconciliation share this code, so they cannot disagree.
//!
//! Owns the order of refusals: a revoked device, then its authority, then its certificate.

use std::collections::HashMap;
use std::sync::Arc;

use super::Db;
use hub_core::level::{Level, Membership, Refusal, Standing, Target};
use hub_proto::id::{ChannelId, DeviceId, FirmwareId, GroupId, Seq};
use hub_proto::time::Timestamp;

use super::channels;
use super::failure::{damaged, found, store_failure};
use super::offers::OffersRow;
use super::rows::{bytes32, count, json_list, slug};
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

/// Whose level is asked for: a device, as the holder of this certificate sees it, at this time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pub(super) device: DeviceId,
    pub(super) certificate: [u8; 32],
    pub(super) at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct DeviceRow {
    device: i64,
    head: i64,
    certificate: Option<i64>,
    #[sqlx(flatten)]
    standing: StandingRow,
    #[sqlx(flatten)]
    target: TargetRow,
    #[sqlx(flatten)]
    offers: OffersRow,
}

impl DeviceRow {
    fn refusal(&self) -> Option<Refusal> {
        let unknown = self.certificate.is_none().then_some(Refusal::Unknown);
        self.standing.refusal().or(unknown)
    }
}

#[derive(sqlx::FromRow)]
struct GroupRow {
    group_id: i64,
    name: String,
    priority: i64,
    head: i64,
    #[sqlx(flatten)]
    target: TargetRow,
}

/// Reads the levels of devices, each once, in their order. A device that is gone is a revoked one.
pub(super) async fn levels(db: &mut Db, holders: &[Holder]) -> StoreResult<Vec<Level>> {
    let mut rows = device_rows(db, holders).await?;
    let may = |holder: &&Holder| {
        let row = rows.get(&holder.device.0);
        row.is_some_and(|row| row.refusal().is_none())
    };
    let active: Vec<i64> = holders
        .iter()
        .filter(may)
        .map(|holder| holder.device.0)
        .collect();
    let mut memberships = memberships(db, &active).await?;
    let mut levels = Vec::with_capacity(holders.len());
    for holder in holders {
        let Some(row) = rows.remove(&holder.device.0) else {
            let head = channels::head(db, ChannelId::Device(holder.device)).await?;
            levels.push(refused(Refusal::DeviceRevoked, head));
            continue;
        };
        if let Some(refusal) = row.refusal() {
            levels.push(refused(refusal, Seq(row.head)));
            continue;
        }
        levels.push(Level {
            standing: Standing::Active,
            head: Seq(row.head),
            target: row.target.optional(Seq::ZERO)?,
            groups: memberships.remove(&holder.device.0).unwrap_or_default(),
            offers: row.offers.offers(holder.at)?,
        });
    }
    Ok(levels)
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

async fn device_rows(db: &mut Db, holders: &[Holder]) -> StoreResult<HashMap<i64, DeviceRow>> {
    let item = |holder: &Holder| serde_json::json!({"d": holder.device.0, "k": hex::encode(holder.certificate)});
    let items: Vec<_> = holders.iter().map(item).collect();
    let rows: Vec<DeviceRow> = sqlx::query_as(concat!(
        "SELECT d.id AS device, h.seq AS head, k.id AS certificate, d.revoked_at AS device_revoked_at, \
         a.revoked_at AS authority_revoked_at, k.revoked_at AS certificate_revoked_at, \
         f.id, f.uuid, f.version, f.meta_product, f.platform, f.architecture, f.size, f.sha256, \
         d.target_revision AS revision, d.offer_ch, d.offer_revision, d.offer_count, d.offer_at \
         FROM (SELECT ", number!("item", "d"), " AS device, ", bytes!("item", "k"), " AS sha256 FROM ", list!("$1", "item"), ") r \
         JOIN device d ON d.id = r.device JOIN channel_head h ON h.ch = 'd:' || d.id \
         LEFT JOIN firmware f ON f.id = d.target_id \
         LEFT JOIN device_certificate k ON k.sha256 = r.sha256 AND k.device_id = d.id \
         LEFT JOIN authority a ON a.id = k.authority_id",
    ))
    .bind(json_list(&items))
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    Ok(rows.into_iter().map(|row| (row.device, row)).collect())
}

/// The memberships of devices. Groups are read once, however many of the devices are in them, and share their texts.
async fn memberships(db: &mut Db, devices: &[i64]) -> StoreResult<HashMap<i64, Vec<Membership>>> {
    let mut memberships: HashMap<i64, Vec<Membership>> = HashMap::new();
    if devices.is_empty() {
        return Ok(memberships);
    }
    let rows: Vec<(i64, i64, i64)> = sqlx::query_as(concat!(
        "SELECT m.device_id, m.group_id, m.from_seq FROM ",
        ids!("$1", "device"),
        " \
         JOIN member m ON m.device_id = device.value AND m.to_seq IS NULL ORDER BY m.group_id",
    ))
    .bind(json_list(devices))
    .fetch_all(&mut *db)
    .await
    .map_err(store_failure)?;
    let mut groups: Vec<i64> = rows.iter().map(|(_, group, _)| *group).collect();
    groups.dedup();
    let groups = group_rows(db, &groups).await?;
    for (device, group, from_seq) in rows {
        let membership = Membership {
            from_seq: Seq(from_seq),
            ..found(groups.get(&group).cloned(), "group")?
        };
        memberships.entry(device).or_default().push(membership);
    }
    for held in memberships.values_mut() {
        // They stay as long as the socket.
        held.shrink_to_fit();
    }
    Ok(memberships)
}

/// Groups as a member from the start sees them.
async fn group_rows(db: &mut Db, groups: &[i64]) -> StoreResult<HashMap<i64, Membership>> {
    if groups.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<GroupRow> = sqlx::query_as(concat!(
        "SELECT g.id AS group_id, g.name, g.priority, h.seq AS head, \
         f.id, f.uuid, f.version, f.meta_product, f.platform, f.architecture, f.size, f.sha256, \
         g.target_revision AS revision FROM ",
        ids!("$1", "wanted"),
        " JOIN device_group g ON g.id = wanted.value \
         JOIN channel_head h ON h.ch = 'g:' || g.id LEFT JOIN firmware f ON f.id = g.target_id",
    ))
    .bind(json_list(groups))
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    let group = |row: GroupRow| {
        let membership = Membership {
            group: GroupId(row.group_id),
            name: slug(&row.name)?,
            priority: priority(row.priority)?,
            from_seq: Seq::ZERO,
            head: Seq(row.head),
            target: row.target.optional(Seq::ZERO)?,
        };
        Ok((row.group_id, membership))
    };
    rows.into_iter().map(group).collect()
}

/// A stored priority.
pub(super) fn priority(value: i64) -> StoreResult<i32> {
    i32::try_from(value).map_err(|_| damaged("priority"))
}
