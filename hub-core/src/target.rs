//! Which firmware a device should run, and whether it does.
//!
//! Rules: the device's own target wins; else the highest-priority group that has a target (ties: the lower group
//! id); else none. A device is on a target when its uuid says so, and only when it reports no uuid does the version decide.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use hub_proto::id::{ChannelId, DeviceId, GroupId};

use crate::level::{Level, Target};
use crate::limits::{OFFER_PENALTY_MAX, OFFER_PENALTY_MIN, OFFERS_FREE};

/// Where the target in effect comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Set on the device itself.
    Device,
    /// Set on this group.
    Group(GroupId),
}

impl Source {
    /// The channel whose revision the target carries.
    pub fn channel(self, device: DeviceId) -> ChannelId {
        match self {
            Source::Device => ChannelId::Device(device),
            Source::Group(group) => ChannelId::Group(group),
        }
    }
}

/// What the device says it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Its firmware's uuid, when it reports one.
    pub uuid: Option<Box<str>>,
    /// Its firmware's version, when it reports one.
    pub version: Option<Box<str>>,
}

/// The target in effect and where it comes from.
pub fn effective(level: &Level) -> Option<(Source, &Arc<Target>)> {
    if let Some(target) = &level.target {
        return Some((Source::Device, target));
    }
    level
        .groups
        .iter()
        .filter_map(|m| m.target.as_ref().map(|target| (m, target)))
        .min_by_key(|(m, _)| (Reverse(m.priority), m.group))
        .map(|(m, target)| (Source::Group(m.group), target))
}

/// Whether the device already runs the target.
pub fn is_on(running: &Running, target: &Target) -> bool {
    match (&running.uuid, &running.version) {
        (Some(uuid), _) => uuid.eq_ignore_ascii_case(&target.uuid),
        (None, Some(version)) => **version == *target.version,
        (None, None) => false,
    }
}

/// How long a device that was offered this target `offers` times, the last time `ago`, must still wait for
/// the next offer. The first [`OFFERS_FREE`] are free; then the pause doubles from [`OFFER_PENALTY_MIN`] up to [`OFFER_PENALTY_MAX`].
pub fn offer_wait(offers: u32, ago: Duration) -> Duration {
    let Some(extra) = offers.checked_sub(OFFERS_FREE) else {
        return Duration::ZERO;
    };
    let pause = OFFER_PENALTY_MIN
        .saturating_mul(1_u32 << extra.min(16))
        .min(OFFER_PENALTY_MAX);
    pause.saturating_sub(ago)
}

#[cfg(test)]
mod tests;
