//! Heads of channels and the change log.
//!
//! Owns the rule that every change a device must learn of moves its channel's head inside the same transaction and
//! takes the next place in the log.

use super::{Db, engine};
use hub_proto::cluster::HintBody;
use hub_proto::id::{ChannelId, DeviceId, OrgId, Seq};

use super::failure::{damaged, found, store_failure};
use super::rows::json_list;
use crate::store::StoreResult;
use crate::store::delivery::Change;

/// Gives a new device, group or org its channel.
pub(super) async fn create(db: &mut Db, org: OrgId, channel: ChannelId) -> StoreResult<()> {
    sqlx::query("INSERT INTO channel_head (ch, org_id, seq, rev) VALUES ($1, $2, 0, 0)")
        .bind(channel.to_string())
        .bind(org.0)
        .execute(db)
        .await
        .map_err(store_failure)?;
    Ok(())
}

/// Moves a channel's head by one.
pub(super) async fn bump(db: &mut Db, channel: ChannelId) -> StoreResult<Seq> {
    let rev = engine::take_places(db, 1).await?;
    let head: Option<i64> = sqlx::query_scalar(
        "UPDATE channel_head SET seq = seq + 1, rev = $2 WHERE ch = $1 RETURNING seq",
    )
    .bind(channel.to_string())
    .bind(rev)
    .fetch_optional(db)
    .await
    .map_err(store_failure)?;
    Ok(Seq(found(head, "channel")?))
}

/// Moves a channel's head by one and says so.
pub(super) async fn change(
    db: &mut Db,
    channel: ChannelId,
    body: Option<HintBody>,
) -> StoreResult<Change> {
    let seq = bump(db, channel).await?;
    Ok(Change { channel, seq, body })
}

/// Moves the heads of many devices' channels by one each, in one statement.
pub(super) async fn change_devices(db: &mut Db, devices: &[i64]) -> StoreResult<Vec<Change>> {
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    let many = i64::try_from(devices.len()).map_err(|_| damaged("list"))?;
    let first = engine::take_places(db, many).await?;
    let heads: Vec<(String, i64)> = sqlx::query_as(concat!(
        "UPDATE channel_head SET seq = seq + 1, rev = ",
        place!(),
        " FROM ",
        ids!("$1", "place"),
        " WHERE channel_head.ch = 'd:' || place.value RETURNING channel_head.ch, seq",
    ))
    .bind(json_list(devices))
    .bind(first)
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    heads
        .into_iter()
        .map(|(ch, seq)| {
            Ok(Change {
                channel: channel(&ch)?,
                seq: Seq(seq),
                body: None,
            })
        })
        .collect()
}

/// The head of a channel.
pub(super) async fn head(db: &mut Db, channel: ChannelId) -> StoreResult<Seq> {
    let seq: Option<i64> = sqlx::query_scalar("SELECT seq FROM channel_head WHERE ch = $1")
        .bind(channel.to_string())
        .fetch_optional(db)
        .await
        .map_err(store_failure)?;
    Ok(Seq(seq.unwrap_or(0)))
}

/// A device's channel.
pub(super) fn device_channel(device: i64) -> ChannelId {
    ChannelId::Device(DeviceId(device))
}

/// A stored channel's name.
pub(super) fn channel(text: &str) -> StoreResult<ChannelId> {
    text.parse()
        .map_err(|_| damaged(format!("channel {text:?}")))
}
