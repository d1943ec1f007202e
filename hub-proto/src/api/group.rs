//! Groups of devices and their members.

use super::device::FirmwareName;
use crate::id::GroupId;
use crate::slug::Slug;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Device names in one [`MembersAdd`].
pub const MEMBERS_ADD_MAX: usize = 10_000;

/// Priorities of groups go from minus this to plus this.
pub const PRIORITY_MAX: i32 = 1_000_000;

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Group {
    /// Stable id.
    pub id: GroupId,
    /// Name, unique in its product.
    pub name: Slug,
    /// Among a device's groups with a target, the highest priority wins; ties go to the lower id.
    pub priority: i32,
    /// What its members should run.
    pub target: Option<FirmwareName>,
    /// How many devices are members now.
    pub members: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Makes a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GroupCreate {
    /// Name, unique in its product.
    pub name: Slug,
    /// See [`Group::priority`].
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(minimum = -1_000_000, maximum = 1_000_000))]
    pub priority: i32,
}

/// Changes a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GroupUpdate {
    /// See [`Group::priority`].
    #[cfg_attr(feature = "openapi", schema(minimum = -1_000_000, maximum = 1_000_000))]
    pub priority: i32,
}

/// Adds devices to a group, all or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MembersAdd {
    /// Names of devices of the same product, 1 to 10,000; those that are members already stay as they are.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 10_000))]
    pub devices: Vec<Slug>,
}

/// How many devices became members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MembersAdded {
    /// Devices that were no members before.
    pub added: u32,
}
