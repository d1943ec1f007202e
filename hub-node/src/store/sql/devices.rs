//! Devices as operators see them: the row, its groups, the target in effect, the live connection.
//!
//! Owns the precedence of targets in what is shown: the device's own, then that of its highest-priority group with
//! one (the lower id among equals), then none.

use std::collections::HashMap;

use super::Db;
use hub_proto::id::{ChannelId, ConnGen, DeviceId, OrgId, ProductId};
use hub_proto::slug::Slug;
use hub_proto::time::Timestamp;

use super::failure::{damaged, found, store_failure, unique_or};
use super::lookup::{ProductKey, RowKey};
use super::paging::Window;
use super::rows::{json_list, slug, texts, time, time_opt};
use super::{channels, clock};
use crate::store::StoreResult;
use crate::store::records::{Connection, Device, FirmwareName, Page, UpdateState};

#[derive(sqlx::FromRow)]
struct DeviceRow {
    id: i64,
    product_id: i64,
    product_name: String,
    name: String,
    created_at: i64,
    revoked_at: Option<i64>,
    firmware: String,
    target_uuid: Option<String>,
    target_version: Option<String>,
    conn_gen: i64,
    node: Option<String>,
    remote: Option<String>,
    connected_at: Option<i64>,
    disconnected_at: Option<i64>,
    update_status: Option<String>,
    update_progress: Option<i64>,
    update_error: Option<String>,
    update_at: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct GroupOfRow {
    device_id: i64,
    name: String,
    target_uuid: Option<String>,
    target_version: Option<String>,
}

#[derive(sqlx::FromRow)]
struct ConnectionRow {
    id: i64,
    name: String,
    product_name: String,
    conn_gen: i64,
    node: String,
    remote: Option<String>,
    connected_at: i64,
}

/// Makes a device's row and channel.
pub(super) async fn create(
    db: &mut Db,
    key: ProductKey,
    name: &Slug,
    at: Timestamp,
) -> StoreResult<RowKey> {
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO device (org_id, product_id, name, created_at, firmware, conn_gen) VALUES ($1, $2, $3, $4, '{}', 0) \
         RETURNING id",
    )
    .bind(key.org)
    .bind(key.product)
    .bind(&**name)
    .bind(at.as_micros())
    .fetch_one(&mut *db)
    .await
    .map_err(unique_or("name_taken", || format!("there is a device named {name} already")))?;
    channels::create(db, OrgId(key.org), ChannelId::Device(DeviceId(id))).await?;
    Ok(RowKey {
        org: key.org,
        product: key.product,
        id,
    })
}

/// Makes a device at the operator's word.
pub(super) async fn register(db: &mut Db, key: ProductKey, name: &Slug) -> StoreResult<Device> {
    let key = create(db, key, name, clock::now()).await?;
    one(db, key.id).await
}

/// One device by id.
pub(super) async fn one(db: &mut Db, id: i64) -> StoreResult<Device> {
    let rows = by_ids(db, &[id]).await?;
    found(complete(db, rows).await?.pop(), "device")
}

/// A page of a product's devices.
pub(super) async fn of_product(
    db: &mut Db,
    key: ProductKey,
    window: Window,
) -> StoreResult<Page<Device>> {
    let ids: Vec<i64> = sqlx::query_scalar(
        "SELECT id FROM device WHERE product_id = $1 AND id > $2 ORDER BY id LIMIT $3",
    )
    .bind(key.product)
    .bind(window.above())
    .bind(window.fetch())
    .fetch_all(&mut *db)
    .await
    .map_err(store_failure)?;
    page_of(db, ids, window).await
}

/// A page of devices by their ids, one more than fits when there is another page.
pub(super) async fn page_of(
    db: &mut Db,
    mut ids: Vec<i64>,
    window: Window,
) -> StoreResult<Page<Device>> {
    let next = window.cut(&mut ids, |id| *id);
    let rows = by_ids(db, &ids).await?;
    Ok(Page {
        items: complete(db, rows).await?,
        next,
    })
}

async fn by_ids(db: &mut Db, ids: &[i64]) -> StoreResult<Vec<DeviceRow>> {
    sqlx::query_as(concat!(
        "SELECT d.id, d.product_id, p.name AS product_name, d.name, d.created_at, d.revoked_at, d.firmware, \
         f.uuid AS target_uuid, f.version AS target_version, d.conn_gen, d.node, d.remote, d.connected_at, \
         d.disconnected_at, d.update_status, d.update_progress, d.update_error, d.update_at \
         FROM device d JOIN product p ON p.id = d.product_id LEFT JOIN firmware f ON f.id = d.target_id \
         WHERE d.id IN (SELECT id.value FROM ", ids!("$1", "id"), ") ORDER BY d.id",
    ))
    .bind(json_list(ids))
    .fetch_all(db)
    .await
    .map_err(store_failure)
}

/// Adds what is not in the rows themselves, for all of them in one query.
async fn complete(db: &mut Db, rows: Vec<DeviceRow>) -> StoreResult<Vec<Device>> {
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let memberships: Vec<GroupOfRow> = sqlx::query_as(concat!(
        "SELECT m.device_id, g.name, f.uuid AS target_uuid, f.version AS target_version \
         FROM member m JOIN device_group g ON g.id = m.group_id LEFT JOIN firmware f ON f.id = g.target_id \
         WHERE m.to_seq IS NULL AND m.device_id IN (SELECT id.value FROM ", ids!("$1", "id"), ") ORDER BY g.priority DESC, g.id",
    ))
    .bind(json_list(&ids))
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    let mut groups: HashMap<i64, Vec<GroupOfRow>> = HashMap::new();
    for row in memberships {
        groups.entry(row.device_id).or_default().push(row);
    }
    rows.into_iter()
        .map(|row| {
            let groups = groups.remove(&row.id).unwrap_or_default();
            device_of(row, groups)
        })
        .collect()
}

fn device_of(row: DeviceRow, groups: Vec<GroupOfRow>) -> StoreResult<Device> {
    let product_name = slug(&row.product_name)?;
    let name = slug(&row.name)?;
    let target = firmware_name(row.target_uuid, row.target_version);
    let group_names = groups
        .iter()
        .map(|group| slug(&group.name))
        .collect::<StoreResult<Vec<Slug>>>()?;
    let inherited = groups
        .into_iter()
        .find_map(|group| firmware_name(group.target_uuid, group.target_version));
    let connection = match (row.node, row.connected_at) {
        (Some(node), Some(since)) => Some(Connection {
            device: DeviceId(row.id),
            device_name: name.clone(),
            product_name: product_name.clone(),
            node,
            generation: ConnGen(row.conn_gen),
            remote: row.remote,
            since: time(since),
        }),
        (None | Some(_), _) => None,
    };
    let update = match (row.update_status, row.update_at) {
        (Some(status), Some(at)) => Some(UpdateState {
            status,
            progress: row.update_progress.map(percent).transpose()?,
            error: row.update_error,
            at: time(at),
        }),
        (None | Some(_), _) => None,
    };
    Ok(Device {
        id: DeviceId(row.id),
        product: ProductId(row.product_id),
        product_name,
        name,
        created_at: time(row.created_at),
        revoked_at: time_opt(row.revoked_at),
        firmware: texts(&row.firmware)?,
        effective_target: target.clone().or(inherited),
        target,
        groups: group_names,
        update,
        connection,
        disconnected_at: time_opt(row.disconnected_at),
    })
}

fn percent(value: i64) -> StoreResult<u8> {
    u8::try_from(value).map_err(|_| damaged("progress"))
}

/// The two names of a joined firmware.
pub(super) fn firmware_name(uuid: Option<String>, version: Option<String>) -> Option<FirmwareName> {
    Some(FirmwareName {
        uuid: uuid?,
        version: version?,
    })
}

/// A page of an org's live connections.
pub(super) async fn connections(
    db: &mut Db,
    org: OrgId,
    window: Window,
) -> StoreResult<Page<Connection>> {
    let rows: Vec<ConnectionRow> = sqlx::query_as(
        "SELECT d.id, d.name, p.name AS product_name, d.conn_gen, d.node, d.remote, d.connected_at \
         FROM device d JOIN product p ON p.id = d.product_id \
         WHERE d.org_id = $1 AND d.node IS NOT NULL AND d.id > $2 ORDER BY d.id LIMIT $3",
    )
    .bind(org.0)
    .bind(window.above())
    .bind(window.fetch())
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    window.page(
        rows,
        |row| row.id,
        |row| {
            Ok(Connection {
                device: DeviceId(row.id),
                device_name: slug(&row.name)?,
                product_name: slug(&row.product_name)?,
                node: row.node,
                generation: ConnGen(row.conn_gen),
                remote: row.remote,
                since: time(row.connected_at),
            })
        },
    )
}
