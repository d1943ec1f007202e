//! What a target may be set to.
//!
//! Rule owned here: going back to firmware that is certainly older needs the caller's word for it; versions that cannot be compared pass.

use hub_proto::api::TargetSet;
use hub_proto::version::is_older;

use super::problem::{Answer, Refused};
use super::{ApiState, targeted};
use crate::store::records::ProductPath;

/// The firmware that must not be older than what was wanted so far; `None` when nothing has to be compared.
pub(super) fn guarded(target: &TargetSet) -> Option<String> {
    target
        .firmware
        .filter(|_| !target.allow_downgrade)
        .map(|uuid| uuid.to_string())
}

/// Refuses (409 `downgrade`) a target that is older than `present`, the version that was wanted or running so far.
pub(super) async fn refuse_downgrade(
    state: &ApiState,
    product: ProductPath<'_>,
    uuid: &str,
    present: Option<&str>,
) -> Answer<()> {
    let Some(present) = present else {
        return Ok(());
    };
    let firmware = state
        .store
        .firmware(product, uuid)
        .await
        .map_err(targeted)?;
    let version = firmware.firmware.version;
    if is_older(&version, present) {
        let detail = format!("{version} is older than {present}; set allow_downgrade to go back");
        return Err(Refused::Conflict {
            code: "downgrade",
            detail,
        });
    }
    Ok(())
}
