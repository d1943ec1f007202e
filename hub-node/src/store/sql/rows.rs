//! From columns to typed values: every check that a stored value is what this version writes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hub_proto::slug::Slug;
use hub_proto::time::Timestamp;

use super::failure::damaged;
use crate::store::StoreResult;

/// A stored name.
pub(super) fn slug(text: &str) -> StoreResult<Slug> {
    text.parse().map_err(|_| damaged(format!("name {text:?}")))
}

/// A stored SHA-256 or public key.
pub(super) fn bytes32(bytes: &[u8]) -> StoreResult<[u8; 32]> {
    bytes.try_into().map_err(|_| damaged("digest"))
}

/// A stored time.
pub(super) fn time(micros: i64) -> Timestamp {
    Timestamp::from_unix_micros(micros)
}

/// A stored time that may be missing.
pub(super) fn time_opt(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(Timestamp::from_unix_micros)
}

/// A stored count or size.
pub(super) fn count(value: i64) -> StoreResult<u64> {
    u64::try_from(value).map_err(|_| damaged("count"))
}

/// A stored count that was written from 32 bits.
pub(super) fn count32(value: i64) -> StoreResult<u32> {
    u32::try_from(value).map_err(|_| damaged("count"))
}

/// A stored set of names and values.
pub(super) fn texts(json: &str) -> StoreResult<BTreeMap<String, String>> {
    serde_json::from_str(json).map_err(|_| damaged("set of texts"))
}

/// A set of names and values to be stored.
pub(super) fn texts_json(texts: &BTreeMap<String, String>) -> String {
    serde_json::to_string(texts).unwrap_or_else(|_| "{}".to_owned())
}

/// A text from outside as both databases can keep it: in Postgres no text holds a NUL.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}").into()
    } else {
        text.into()
    }
}

/// A list as the JSON array that `json_each` opens inside a statement.
pub(super) fn json_list<T: serde::Serialize>(items: &[T]) -> String {
    serde_json::to_string(items).unwrap_or_else(|_| "[]".to_owned())
}
