//! How often a device was offered its last target. Counted per decision: a new target starts again at one.

use super::Db;
use hub_core::level::Offers;
use hub_proto::id::{ChannelId, DeviceId, Seq};
use hub_proto::time::Timestamp;

use super::failure::{damaged, store_failure};
use crate::store::StoreResult;
use crate::store::delivery::DeviceOutcome;

/// The offer columns of a device.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct OffersRow {
    offer_ch: Option<String>,
    offer_revision: Option<i64>,
    offer_count: Option<i64>,
    offer_at: Option<i64>,
}

impl OffersRow {
    /// The history as of `now`, if anything was ever offered.
    pub(super) fn offers(&self, now: Timestamp) -> StoreResult<Option<Offers>> {
        let (Some(channel), Some(revision), Some(count), Some(at)) = (
            &self.offer_ch,
            self.offer_revision,
            self.offer_count,
            self.offer_at,
        ) else {
            return Ok(None);
        };
        Ok(Some(Offers {
            channel: channel.parse::<ChannelId>().map_err(|_| damaged("offer"))?,
            revision: Seq(revision),
            count: u32::try_from(count).unwrap_or(u32::MAX),
            ago: now.saturating_since(Timestamp::from_unix_micros(at)),
        }))
    }
}

/// Counts one more offer of this decision.
pub(super) async fn offered(
    db: &mut Db,
    device: DeviceId,
    (channel, revision): (ChannelId, Seq),
    at: Timestamp,
) -> StoreResult<DeviceOutcome> {
    sqlx::query(
        "UPDATE device SET offer_count = CASE WHEN offer_ch = $2 AND offer_revision = $3 THEN offer_count + 1 ELSE 1 END, \
         offer_ch = $2, offer_revision = $3, offer_at = $4 WHERE id = $1",
    )
    .bind(device.0)
    .bind(channel.to_string())
    .bind(revision.0)
    .bind(at.as_micros())
    .execute(db)
    .await
    .map_err(store_failure)?;
    Ok(DeviceOutcome::Done)
}
