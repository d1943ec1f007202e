//! Firmware and the keys it is signed with.

use crate::id::{FirmwareId, KeyId};
use crate::slug::Slug;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A verified firmware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Firmware {
    /// Stable id.
    pub id: FirmwareId,
    /// Uuid of the container, computed from its content.
    pub uuid: String,
    /// Version in its metadata.
    pub version: String,
    /// Product in its metadata.
    pub product: String,
    /// Platform in its metadata.
    pub platform: String,
    /// Architecture in its metadata.
    pub architecture: String,
    /// Other metadata that was there: `author`, `description`, `vcs_identifier`, `misc`, …
    pub extra: BTreeMap<String, String>,
    /// Bytes of the container.
    pub size: u64,
    /// SHA-256 of the container, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// The signing key that vouches for it.
    pub key_id: KeyId,
    /// When it was uploaded.
    pub created_at: Timestamp,
}

/// A public key that an org signs firmware with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SigningKey {
    /// Stable id.
    pub id: KeyId,
    /// Name, unique in its org.
    pub name: Slug,
    /// The Ed25519 public key: 32 bytes in base64.
    pub public_key: String,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// Registers a signing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SigningKeyCreate {
    /// Name, unique in its org.
    pub name: Slug,
    /// The Ed25519 public key: 32 bytes in base64, as `fwup -g` writes them.
    pub public_key: String,
}
