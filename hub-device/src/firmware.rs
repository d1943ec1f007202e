//! What the device runs, as it tells the hub.
//!
//! Owns the names of the join payload (`nerves_fw_*`), which existing hubs and clients have used since 2019.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Metadata of one installed firmware.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firmware {
    /// Uuid as lower-case text. Its variant bits are random, so it is text and no strict uuid.
    pub uuid: String,
    /// Version.
    pub version: String,
    /// Product.
    #[serde(default)]
    pub product: String,
    /// Platform.
    #[serde(default)]
    pub platform: String,
    /// Architecture.
    #[serde(default)]
    pub architecture: String,
    /// Author, where the file names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Description, where the file has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Version control identifier, where the file has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcs_identifier: Option<String>,
    /// Free text, where the file has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub misc: Option<String>,
}

impl Firmware {
    /// Adds this firmware to a join payload under the names the protocol uses.
    pub fn describe(&self, payload: &mut Map<String, Value>) {
        let required = [
            ("nerves_fw_uuid", &self.uuid),
            ("nerves_fw_version", &self.version),
            ("nerves_fw_product", &self.product),
            ("nerves_fw_platform", &self.platform),
            ("nerves_fw_architecture", &self.architecture),
        ];
        let optional = [
            ("nerves_fw_author", &self.author),
            ("nerves_fw_description", &self.description),
            ("nerves_fw_vcs_identifier", &self.vcs_identifier),
            ("nerves_fw_misc", &self.misc),
        ];
        let all = required.into_iter().chain(
            optional
                .into_iter()
                .filter_map(|(key, value)| value.as_ref().map(|value| (key, value))),
        );
        payload.extend(all.map(|(key, value)| (key.to_owned(), Value::String(value.clone()))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_payload_holds_what_a_hub_requires_and_leaves_out_what_is_missing() {
        let mut payload = Map::new();
        Firmware {
            uuid: "u".to_owned(),
            misc: Some("m".to_owned()),
            ..Firmware::default()
        }
        .describe(&mut payload);
        assert_eq!(
            payload.get("nerves_fw_uuid"),
            Some(&Value::String("u".to_owned()))
        );
        assert_eq!(
            payload.get("nerves_fw_misc"),
            Some(&Value::String("m".to_owned()))
        );
        assert!(
            payload.contains_key("nerves_fw_architecture")
                && !payload.contains_key("nerves_fw_author")
        );
    }
}
