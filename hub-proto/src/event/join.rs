//! What a device says about itself when it joins.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::EventError;
use super::fields::Fields;
use crate::frame::Payload;
use crate::limits::{CAPABILITIES_MAX, METADATA_BYTES_MAX, METADATA_TEXT_BYTES_MAX};

/// The running firmware as the device reports it (`nerves_fw_*` in a join). Empty texts count as missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct FirmwareMetadata {
    /// `nerves_fw_uuid`; hyphenated lower case when it is a UUID.
    pub uuid: Option<Box<str>>,
    /// `nerves_fw_version`.
    pub version: Option<Box<str>>,
    /// `nerves_fw_product`.
    pub product: Option<Box<str>>,
    /// `nerves_fw_platform`.
    pub platform: Option<Box<str>>,
    /// `nerves_fw_architecture`.
    pub architecture: Option<Box<str>>,
    /// `nerves_fw_author`.
    pub author: Option<Box<str>>,
    /// `nerves_fw_description`.
    pub description: Option<Box<str>>,
    /// `nerves_fw_misc`.
    pub misc: Option<Box<str>>,
    /// `nerves_fw_vcs_identifier`.
    pub vcs_identifier: Option<Box<str>>,
    /// `fwup_version`.
    pub fwup_version: Option<Box<str>>,
}

/// What a device can do beyond the oldest ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Capabilities {
    /// `ack`: it acknowledges commands, keeps reports until they are answered, and understands replies to pushes.
    pub ack: bool,
    /// `groups`: it joins group channels and understands `join`, `leave` and `reconnect`.
    pub groups: bool,
}

/// The payload of a join.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinParams {
    /// What the device runs.
    pub firmware: FirmwareMetadata,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Uuid of the firmware it is downloading at this moment.
    pub currently_downloading: Option<Box<str>>,
    /// Version of the device API it speaks, for gating events that older ones crash on.
    pub device_api_version: Option<Box<str>>,
    /// `meta.firmware_validated`: is the running firmware marked as good?
    pub firmware_validated: Option<bool>,
    /// `meta.firmware_auto_revert_detected`: did the device fall back from another firmware?
    pub auto_revert_detected: Option<bool>,
}

impl JoinParams {
    /// Reads a join's payload; null is a join without any.
    ///
    /// # Errors
    /// A field that decides something has the wrong type or is too long.
    pub fn parse(payload: &Payload) -> Result<Self, EventError> {
        let fields = Fields::read(payload)?;
        let decides = |name| fields.text(name, METADATA_BYTES_MAX).map(filled);
        let shown = |name| filled(fields.loose_text(name, METADATA_TEXT_BYTES_MAX));
        let firmware = FirmwareMetadata {
            uuid: decides("nerves_fw_uuid")?.map(canonical),
            version: decides("nerves_fw_version")?,
            product: decides("nerves_fw_product")?,
            platform: decides("nerves_fw_platform")?,
            architecture: decides("nerves_fw_architecture")?,
            author: shown("nerves_fw_author"),
            description: shown("nerves_fw_description"),
            misc: shown("nerves_fw_misc"),
            vcs_identifier: shown("nerves_fw_vcs_identifier"),
            fwup_version: shown("fwup_version"),
        };
        let meta = fields.raw("meta").and_then(|raw| Fields::of(raw.get()));
        let flag = |name| {
            meta.as_ref()
                .and_then(|meta| meta.typed(name, "").unwrap_or_default())
        };
        Ok(Self {
            firmware,
            capabilities: Capabilities::read(&fields)?,
            currently_downloading: decides("currently_downloading_uuid")?.map(canonical),
            device_api_version: shown("device_api_version"),
            firmware_validated: flag("firmware_validated"),
            auto_revert_detected: flag("firmware_auto_revert_detected"),
        })
    }
}

impl Capabilities {
    fn read(fields: &Fields<'_>) -> Result<Self, EventError> {
        let expected = "an array of at most 32 texts";
        let names: Vec<Box<str>> = fields.typed("capabilities", expected)?.unwrap_or_default();
        if names.len() > CAPABILITIES_MAX {
            return Err(EventError::value("capabilities", expected));
        }
        let has = |name: &str| names.iter().any(|have| **have == *name);
        Ok(Self {
            ack: has("ack"),
            groups: has("groups"),
        })
    }

    /// As they stand in a join.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        [("ack", self.ack), ("groups", self.groups)]
            .into_iter()
            .filter(|(_, has)| *has)
            .map(|(name, _)| name)
            .collect()
    }
}

fn filled(text: Option<Box<str>>) -> Option<Box<str>> {
    text.filter(|text| !text.is_empty())
}

/// A UUID in its one usual spelling; another id as it is.
fn canonical(text: Box<str>) -> Box<str> {
    Uuid::try_parse(&text).map_or(text, |uuid| uuid.as_hyphenated().to_string().into())
}

impl Serialize for JoinParams {
    /// As a device sends it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let firmware = &self.firmware;
        let texts = [
            ("nerves_fw_uuid", &firmware.uuid),
            ("nerves_fw_version", &firmware.version),
            ("nerves_fw_product", &firmware.product),
            ("nerves_fw_platform", &firmware.platform),
            ("nerves_fw_architecture", &firmware.architecture),
            ("nerves_fw_author", &firmware.author),
            ("nerves_fw_description", &firmware.description),
            ("nerves_fw_misc", &firmware.misc),
            ("nerves_fw_vcs_identifier", &firmware.vcs_identifier),
            ("fwup_version", &firmware.fwup_version),
            ("currently_downloading_uuid", &self.currently_downloading),
            ("device_api_version", &self.device_api_version),
        ];
        let mut map = serializer.serialize_map(None)?;
        for (name, text) in texts {
            if let Some(text) = text {
                map.serialize_entry(name, text)?;
            }
        }
        map.serialize_entry("capabilities", &self.capabilities.names())?;
        let flags = [
            ("firmware_validated", self.firmware_validated),
            ("firmware_auto_revert_detected", self.auto_revert_detected),
        ];
        let meta: std::collections::BTreeMap<_, _> = flags
            .into_iter()
            .filter_map(|(name, flag)| flag.map(|flag| (name, flag)))
            .collect();
        if !meta.is_empty() {
            map.serialize_entry("meta", &meta)?;
        }
        map.end()
    }
}
