//! Devices, what they run and how they are connected.

use crate::id::{ConnGen, DeviceId};
use crate::slug::Slug;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A device with what it last reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Device {
    /// Stable id.
    pub id: DeviceId,
    /// Its product.
    pub product: Slug,
    /// Name, unique in its product.
    pub name: Slug,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was revoked; null while it may connect.
    pub revoked_at: Option<Timestamp>,
    /// What it said it runs at its last join: `uuid`, `version`, `product`, `platform`, `architecture`, …
    pub firmware: BTreeMap<String, String>,
    /// Its own target.
    pub target: Option<FirmwareName>,
    /// The target in effect: its own, else that of its highest-priority group that has one.
    pub effective_target: Option<FirmwareName>,
    /// Groups it is a member of.
    pub groups: Vec<Slug>,
    /// The last news about an update.
    pub update: Option<UpdateState>,
    /// Its connection; null while it is away.
    pub connection: Option<Connection>,
    /// When it was last seen to leave.
    pub disconnected_at: Option<Timestamp>,
}

/// A firmware by its two names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FirmwareName {
    /// Uuid of the container.
    pub uuid: String,
    /// Version in its metadata.
    pub version: String,
}

/// The last news about an update on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateState {
    /// `received`, `downloading`, `updating`, `completed`, `failed`, `ignored`, `rescheduled`, …
    pub status: String,
    /// Percent, 0 to 100.
    #[cfg_attr(feature = "openapi", schema(maximum = 100))]
    pub progress: Option<u8>,
    /// What went wrong, in the device's words.
    pub error: Option<String>,
    /// When it was reported.
    pub at: Timestamp,
}

/// A live connection of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Connection {
    /// Whose.
    pub device_id: DeviceId,
    /// Product of the device.
    pub product: Slug,
    /// Name of the device.
    pub device: Slug,
    /// Name of the node that holds the socket.
    pub node: String,
    /// Rises with every join of the device.
    pub generation: ConnGen,
    /// Peer address, when it is known.
    pub remote: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// Registers a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeviceCreate {
    /// Name, unique in its product.
    pub name: Slug,
}

/// Sets or clears the target of a device or a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TargetSet {
    /// Uuid of a firmware of the same product; null clears the target. Must be written out: an empty body is refused.
    #[serde(deserialize_with = "Option::deserialize")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub firmware: Option<Uuid>,
    /// Take a firmware that is older than the present target, or than what the device runs.
    #[serde(default)]
    pub allow_downgrade: bool,
}
