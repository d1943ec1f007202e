//! Heads of channels and the change log.
//!
//! Owns the rule that every change a device must learn of moves its channel's head inside the same transaction and
//! takes the next place in the log.

use hub_proto::cluster::HintBody;
use hub_proto::id::{ChannelId, DeviceId, OrgId, Seq};
use sqlx::SqliteConnection;

use super::failure::{damaged, found, store_failure};
use super::rows::json_list;
use crate::store::StoreResult;
use crate::store::delivery::{Change, Mark};

/// Gives a new device, group or org its channel.
pub(super) async fn create(
    db: &mut SqliteConnection,
    org: OrgId,
    channel: ChannelId,
) -> StoreResult<()> {
    sqlx::query("INSERT INTO channel_head (ch, org_id, seq, rev) VALUES ($1, $2, 0, 0)")
        .bind(channel.to_string())
        .bind(org.0)
        .execute(db)
        .await
        .map_err(store_failure)?;
    Ok(())
}

/// Moves a channel's head by one.
pub(super) async fn bump(db: &mut SqliteConnection, channel: ChannelId) -> StoreResult<Seq> {
    let rev = take_revs(db, 1).await?;
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
    db: &mut SqliteConnection,
    channel: ChannelId,
    body: Option<HintBody>,
) -> StoreResult<Change> {
    let seq = bump(db, channel).await?;
    Ok(Change { channel, seq, body })
}

/// Moves the heads of many devices' channels by one each, in one statement.
pub(super) async fn change_devices(
    db: &mut SqliteConnection,
    devices: &[i64],
) -> StoreResult<Vec<Change>> {
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    let many = i64::try_from(devices.len()).map_err(|_| damaged("list"))?;
    let last = take_revs(db, many).await?;
    let heads: Vec<(String, i64)> = sqlx::query_as(
        "UPDATE channel_head SET seq = seq + 1, rev = $2 + place.key \
         FROM json_each($1) AS place WHERE channel_head.ch = 'd:' || place.value RETURNING channel_head.ch, seq",
    )
    .bind(json_list(devices))
    .bind(last - many + 1)
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
pub(super) async fn head(db: &mut SqliteConnection, channel: ChannelId) -> StoreResult<Seq> {
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

/// The end of the log.
pub(super) async fn mark(db: &mut SqliteConnection) -> StoreResult<Mark> {
    let rev: i64 = sqlx::query_scalar("SELECT rev FROM meta WHERE id = 1")
        .fetch_one(db)
        .await
        .map_err(store_failure)?;
    Ok(Mark(rev))
}

/// The channels whose last change is behind a mark, in the order of those changes.
pub(super) async fn changes_since(
    db: &mut SqliteConnection,
    mark: Mark,
    limit: usize,
) -> StoreResult<(Mark, Vec<Change>)> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT ch, seq, rev FROM channel_head WHERE rev > $1 AND rev > 0 ORDER BY rev LIMIT $2",
    )
    .bind(mark.0)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(db)
    .await
    .map_err(store_failure)?;
    let next = rows.last().map_or(mark, |(_, _, rev)| Mark(*rev));
    let changes = rows
        .into_iter()
        .map(|(ch, seq, _)| {
            Ok(Change {
                channel: channel(&ch)?,
                seq: Seq(seq),
                body: None,
            })
        })
        .collect::<StoreResult<Vec<Change>>>()?;
    Ok((next, changes))
}

/// Takes the next places in the log; the last one of them.
async fn take_revs(db: &mut SqliteConnection, many: i64) -> StoreResult<i64> {
    sqlx::query_scalar("UPDATE meta SET rev = rev + $1 WHERE id = 1 RETURNING rev")
        .bind(many)
        .fetch_one(db)
        .await
        .map_err(store_failure)
}

/// A stored channel's name.
pub(super) fn channel(text: &str) -> StoreResult<ChannelId> {
    text.parse()
        .map_err(|_| damaged(format!("channel {text:?}")))
}
