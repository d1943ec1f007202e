//! Certificates of devices, and the authorities that issue them.

use crate::id::{CaId, CertId};
use crate::slug::Slug;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Devices one authority may provision at most.
pub const PROVISION_QUOTA_MAX: u32 = 10_000_000;

/// A certificate pinned to a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Certificate {
    /// Stable id.
    pub id: CertId,
    /// SHA-256 of the DER certificate, 64 lower-case hexadecimal digits; names it in paths.
    pub sha256: String,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// The registered authority that issued it, when it came by provisioning.
    pub authority_id: Option<CaId>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was pinned.
    pub created_at: Timestamp,
}

/// Pins a certificate to a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CertificateCreate {
    /// The certificate as PEM: exactly one `CERTIFICATE` block.
    pub certificate_pem: String,
}

/// A code that proves possession of an authority's key when it is the common name of a certificate the authority signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Registration {
    /// To be the verification certificate's common name.
    pub code: String,
    /// When the code stops being good.
    pub expires_at: Timestamp,
}

/// Registers an authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AuthorityCreate {
    /// The authority's certificate as PEM.
    pub certificate_pem: String,
    /// A certificate signed by it whose common name is a registration code of this org, as PEM.
    pub verification_pem: String,
    /// Turns on provisioning of unknown devices; off when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provision: Option<Provisioning>,
}

/// Changes an authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AuthorityUpdate {
    /// New provisioning; null turns it off. Must be written out: an empty body is refused.
    #[serde(deserialize_with = "Option::deserialize")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub provision: Option<Provisioning>,
}

/// Where an authority puts devices it vouches for, and how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Provisioning {
    /// Product of the devices.
    pub product: Slug,
    /// Devices at most, 1 to 10,000,000.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10_000_000))]
    pub quota: u32,
}

/// A registered authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Authority {
    /// Stable id.
    pub id: CaId,
    /// SHA-256 of the DER certificate, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Its subject, for people.
    pub subject: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Whether it provisions unknown devices, and where.
    pub provision: Option<Provisioning>,
    /// Devices it has provisioned so far.
    pub provisioned: u32,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was registered.
    pub created_at: Timestamp,
}
