//! The offer of a firmware, in one payload for devices of this protocol and of the origin system.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::id::{ChannelId, DeviceId, Seq};
use crate::text::hex32;
use crate::time::Timestamp;

/// An offer of firmware. Holds the keys of this protocol and, beside them, those that devices of the origin system
/// read, so that one payload serves both under either event name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareUpdate {
    /// Id of the offer: the same device and the same decision give the same id, so a repeat is no second offer.
    pub id: Uuid,
    /// Where to fetch it; signed, and good for a short time.
    pub url: Box<str>,
    /// Uuid of the firmware; hyphenated lower case.
    pub uuid: Box<str>,
    /// Its version.
    pub version: Box<str>,
    /// Its product.
    pub product: Box<str>,
    /// Its platform.
    pub platform: Box<str>,
    /// Its architecture.
    pub architecture: Box<str>,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// The URL is refused after this.
    pub expires_at: Option<Timestamp>,
}

impl FirmwareUpdate {
    /// The id of an offer: it follows from the device, the channel whose target it is, and that target's revision, so
    /// a repeat is the same message and a report can be told from one about an older offer.
    #[must_use]
    pub fn id_of(device: DeviceId, channel: ChannelId, revision: Seq) -> Uuid {
        let name = format!("{device}/{channel}/{revision}");
        Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
    }
}

/// The offer as it is written.
#[derive(Serialize, Deserialize)]
struct OfferBody<'a> {
    id: Uuid,
    #[serde(borrow)]
    url: Cow<'a, str>,
    uuid: Box<str>,
    version: Box<str>,
    #[serde(default)]
    product: Box<str>,
    #[serde(default)]
    platform: Box<str>,
    #[serde(default)]
    architecture: Box<str>,
    size: u64,
    #[serde(with = "hex32")]
    sha256: [u8; 32],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(flatten, skip_deserializing)]
    legacy: Option<LegacyBody<'a>>,
}

/// The keys that devices of the origin system read.
#[derive(Serialize)]
struct LegacyBody<'a> {
    update_available: bool,
    firmware_url: &'a str,
    firmware_meta: LegacyMeta<'a>,
    deployment_id: Option<i64>,
    checksum: String,
}

#[derive(Serialize)]
struct LegacyMeta<'a> {
    uuid: &'a str,
    version: &'a str,
    product: &'a str,
    platform: &'a str,
    architecture: &'a str,
}

impl Serialize for FirmwareUpdate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let legacy = LegacyBody {
            update_available: true,
            firmware_url: &self.url,
            firmware_meta: LegacyMeta {
                uuid: &self.uuid,
                version: &self.version,
                product: &self.product,
                platform: &self.platform,
                architecture: &self.architecture,
            },
            deployment_id: None,
            checksum: hex32::encode(&self.sha256).to_uppercase(),
        };
        let body = OfferBody {
            id: self.id,
            url: (&*self.url).into(),
            uuid: self.uuid.clone(),
            version: self.version.clone(),
            product: self.product.clone(),
            platform: self.platform.clone(),
            architecture: self.architecture.clone(),
            size: self.size,
            sha256: self.sha256,
            expires_at: self.expires_at,
            legacy: Some(legacy),
        };
        body.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FirmwareUpdate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let body = OfferBody::deserialize(deserializer)?;
        Ok(Self {
            id: body.id,
            url: body.url.into(),
            uuid: body.uuid,
            version: body.version,
            product: body.product,
            platform: body.platform,
            architecture: body.architecture,
            size: body.size,
            sha256: body.sha256,
            expires_at: body.expires_at,
        })
    }
}
