//! One firmware offer, checked before anything acts on it.
//!
//! Owns what an offer must hold: a url, a uuid other than empty, and sizes inside the device's bounds. Unknown keys are ignored;
//! `firmware_url` and `firmware_meta`, the older names, are understood too.

use serde_json::Value;

use crate::limits::{FIRMWARE_BYTES_MAX, URL_BYTES_MAX};

/// A checked offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Id of the offer: the same for every repeat of one target revision. Empty when the hub sent none.
    pub id: String,
    /// Where the file is.
    pub url: String,
    /// Uuid of the firmware.
    pub uuid: String,
    /// Version of the firmware, as a name only.
    pub version: String,
    /// Bytes of the file, if the hub said so.
    pub size: Option<u64>,
    /// SHA-256 of the file, if the hub said so.
    pub sha256: Option<[u8; 32]>,
}

/// Why an offer cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// No firmware uuid: nothing to report about either.
    #[error("offer names no firmware")]
    NoFirmware,
    /// No usable URL.
    #[error("offer holds no usable url")]
    BadUrl,
    /// The digest is not 64 hex digits.
    #[error("offer holds a malformed sha256")]
    BadDigest,
    /// The file is larger than the device takes.
    #[error("firmware is larger than this device takes")]
    TooLarge,
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// When it misses something or is out of bounds.
    pub fn parse(payload: &Value) -> Result<Self, OfferError> {
        let meta = payload.get("firmware_meta").unwrap_or(&Value::Null);
        let text = |key: &str| {
            payload
                .get(key)
                .or_else(|| meta.get(key))
                .and_then(Value::as_str)
        };
        let uuid = text("uuid")
            .filter(|uuid| !uuid.is_empty() && uuid.len() <= 64)
            .ok_or(OfferError::NoFirmware)?;
        let url = text("url").or_else(|| text("firmware_url"));
        let url = url
            .filter(|url| !url.is_empty() && url.len() <= URL_BYTES_MAX)
            .ok_or(OfferError::BadUrl)?;
        let size = payload.get("size").and_then(Value::as_u64);
        if size.is_some_and(|size| size > FIRMWARE_BYTES_MAX) {
            return Err(OfferError::TooLarge);
        }
        let sha256 = text("sha256").or_else(|| text("checksum"));
        let sha256 = sha256
            .map(|hex| unhex(hex).ok_or(OfferError::BadDigest))
            .transpose()?;
        Ok(Self {
            id: text("id").unwrap_or_default().chars().take(128).collect(),
            url: url.to_owned(),
            uuid: uuid.to_ascii_lowercase(),
            version: text("version")
                .unwrap_or_default()
                .chars()
                .take(128)
                .collect(),
            size,
            sha256,
        })
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != digest.len() * 2 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair)
            .ok()
            .filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_new_and_old_names() {
        let new = json!({"id": "i", "url": "https://h/f", "uuid": "AB", "version": "1", "size": 5, "sha256": "0A".repeat(32)});
        let offer = Offer::parse(&new).unwrap();
        assert_eq!(
            (offer.uuid.as_str(), offer.size, offer.sha256),
            ("ab", Some(5), Some([10; 32]))
        );
        let old =
            json!({"firmware_url": "https://h/f", "firmware_meta": {"uuid": "u", "version": "2"}});
        let offer = Offer::parse(&old).unwrap();
        assert_eq!(
            (offer.uuid.as_str(), offer.version.as_str(), offer.sha256),
            ("u", "2", None)
        );
    }

    #[test]
    fn refuses_what_it_cannot_follow() {
        let parse = |value| Offer::parse(&value).unwrap_err();
        assert_eq!(parse(json!({"url": "https://h/f"})), OfferError::NoFirmware);
        assert_eq!(parse(json!(null)), OfferError::NoFirmware);
        assert_eq!(parse(json!({"uuid": "u", "url": 5})), OfferError::BadUrl);
        assert_eq!(
            parse(json!({"uuid": "u", "url": "h", "sha256": "+f".repeat(32)})),
            OfferError::BadDigest
        );
        assert_eq!(
            parse(json!({"uuid": "u", "url": "h", "size": u64::MAX})),
            OfferError::TooLarge
        );
    }
}
