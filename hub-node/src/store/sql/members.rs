//! Who is in a group, and since and until which of its commands.
//!
//! Owns the two ends of a membership: it starts at the group's head, so that it hears of the next command first, and ends at a
//! position of its own in the group's channel, so that what was accepted before stays due and no node can hand on what comes
//! after without having seen the leave. Of the ended memberships that span no command, only a device's last one stays.

use super::Db;
use hub_core::limits::{GROUP_MEMBERS_PER_CALL_MAX, GROUPS_PER_DEVICE_MAX};
use hub_proto::id::{ChannelId, DeviceId, GroupId, Seq};

use super::channels::{self, device_channel};
use super::devices;
use super::due::one_more;
use super::failure::{conflict, damaged, found, store_failure};
use super::lookup::RowKey;
use super::paging::Window;
use super::rows::json_list;
use crate::store::delivery::{Changed, Left};
use crate::store::records::{Device, Page};
use crate::store::{StoreError, StoreResult};

/// A page of a group's devices.
pub(super) async fn page(db: &mut Db, key: RowKey, window: Window) -> StoreResult<Page<Device>> {
    let ids: Vec<i64> = sqlx::query_scalar(
        "SELECT device_id FROM member WHERE group_id = $1 AND to_seq IS NULL AND device_id > $2 \
         ORDER BY device_id LIMIT $3",
    )
    .bind(key.id)
    .bind(window.above())
    .bind(window.fetch())
    .fetch_all(&mut *db)
    .await
    .map_err(store_failure)?;
    devices::page_of(db, ids, window).await
}

/// Adds devices by name; how many were not in the group yet.
pub(super) async fn add(db: &mut Db, key: RowKey, names: &[&str]) -> StoreResult<Changed<u32>> {
    if names.len() > GROUP_MEMBERS_PER_CALL_MAX {
        let detail = format!(
            "{} devices are more than the {GROUP_MEMBERS_PER_CALL_MAX} of one call",
            names.len()
        );
        return Err(conflict("too_many", detail));
    }
    let names = json_list(names);
    let unknown: Option<i64> = sqlx::query_scalar(concat!(
        "SELECT CAST(1 AS BIGINT) FROM ",
        list!("$2", "name"),
        " WHERE NOT EXISTS \
             (SELECT 1 FROM device d WHERE d.product_id = $1 AND d.name = name.value) LIMIT 1",
    ))
    .bind(key.product)
    .bind(&names)
    .fetch_optional(&mut *db)
    .await
    .map_err(store_failure)?;
    if unknown.is_some() {
        return Err(StoreError::NotFound { what: "device" });
    }
    // the cross joins keep the planner from walking over the product's devices for each name
    let added: Vec<i64> = sqlx::query_scalar(
        concat!("INSERT INTO member (org_id, product_id, group_id, device_id, from_seq) \
         SELECT DISTINCT $1, $2, $3, d.id, h.seq FROM ", list!("$4", "name"), " CROSS JOIN device d CROSS JOIN channel_head h \
         WHERE d.product_id = $2 AND d.name = name.value AND h.ch = 'g:' || $3 ON CONFLICT (group_id, device_id) WHERE to_seq IS NULL DO NOTHING RETURNING device_id"),
    )
    .bind(key.org)
    .bind(key.product)
    .bind(key.id)
    .bind(&names)
    .fetch_all(&mut *db)
    .await
    .map_err(store_failure)?;
    refuse_too_many_groups(db, &added).await?;
    let value = u32::try_from(added.len()).map_err(|_| damaged("list"))?;
    Ok(Changed {
        value,
        changes: channels::change_devices(db, &added).await?,
    })
}

/// The list of a device's groups is part of the reply to its join, so it has a bound.
async fn refuse_too_many_groups(db: &mut Db, devices: &[i64]) -> StoreResult<()> {
    let over: Option<i64> = sqlx::query_scalar(concat!(
        "SELECT m.device_id FROM ",
        ids!("$1", "device"),
        " CROSS JOIN member m \
         WHERE m.device_id = device.value AND m.to_seq IS NULL \
         GROUP BY m.device_id HAVING count(*) > $2 LIMIT 1"
    ))
    .bind(json_list(devices))
    .bind(GROUPS_PER_DEVICE_MAX)
    .fetch_optional(db)
    .await
    .map_err(store_failure)?;
    match over {
        None => Ok(()),
        Some(_) => Err(conflict(
            "too_many_groups",
            format!("a device can be in at most {GROUPS_PER_DEVICE_MAX} groups"),
        )),
    }
}

/// Ends one membership. The leave takes a position in the group's channel, which is where the membership ends.
pub(super) async fn remove(db: &mut Db, group: RowKey, device: i64) -> StoreResult<Changed<()>> {
    forget_idle(db, group, device).await?;
    let left = channels::change(db, ChannelId::Group(GroupId(group.id)), None).await?;
    let ended = sqlx::query(
        "UPDATE member SET to_seq = $3 WHERE group_id = $1 AND device_id = $2 AND to_seq IS NULL",
    )
    .bind(group.id)
    .bind(device)
    .bind(left.seq.0)
    .execute(&mut *db)
    .await
    .map_err(store_failure)?;
    found((ended.rows_affected() > 0).then_some(()), "member")?;
    let changed = channels::change(db, device_channel(device), None).await?;
    Ok(Changed {
        value: (),
        changes: vec![left, changed],
    })
}

/// Forgets a device's ended memberships of a group that no command fell into: one that comes and goes adds no row each time.
async fn forget_idle(db: &mut Db, group: RowKey, device: i64) -> StoreResult<()> {
    sqlx::query(
        "DELETE FROM member WHERE group_id = $1 AND device_id = $2 AND to_seq IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM command c WHERE c.ch = 'g:' || $1 AND c.seq > member.from_seq AND c.seq <= member.to_seq)",
    )
    .bind(group.id)
    .bind(device)
    .execute(db)
    .await
    .map_err(store_failure)?;
    Ok(())
}

/// Who left a group above a position of its channel, up to a number.
pub(super) async fn left_since(
    db: &mut Db,
    group: GroupId,
    after: Seq,
    limit: usize,
) -> StoreResult<Left> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT device_id, to_seq FROM member WHERE group_id = $1 AND to_seq > $2 ORDER BY to_seq LIMIT $3",
    )
    .bind(group.0)
    .bind(after.0)
    .bind(one_more(limit))
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    let more = rows.len() > limit;
    let named = rows.into_iter().take(limit);
    Ok(Left {
        devices: named.map(|(id, seq)| (DeviceId(id), Seq(seq))).collect(),
        more,
    })
}
