//! `ref` and `join_ref`: short names of messages, echoed with the JSON type they came in.
//!
//! Some clients match replies by integer only, others send strings such as `heartbeat:1`; a hub that turned one
//! into the other would never be heard.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::limits::REF_BYTES_MAX;

/// One reference, of at most [`REF_BYTES_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum Ref {
    /// A JSON string.
    Text(Box<str>),
    /// A JSON integer.
    Int(i64),
}

/// The value is neither a short string, nor an integer, nor null.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reference is a string of at most {REF_BYTES_MAX} bytes, an integer or null")]
pub struct BadRef;

impl Ref {
    /// A reference from text.
    ///
    /// # Errors
    /// The text is longer than [`REF_BYTES_MAX`].
    pub fn text(text: &str) -> Result<Self, BadRef> {
        if text.len() > REF_BYTES_MAX {
            Err(BadRef)
        } else {
            Ok(Self::Text(text.into()))
        }
    }

    /// Reads one from raw JSON; null is none.
    pub(crate) fn read(raw: &RawValue) -> Result<Option<Self>, BadRef> {
        let raw = raw.get();
        // An escape is at most six bytes for one, so nothing longer than this can decode to a short enough text.
        if raw == "null" {
            return Ok(None);
        }
        if raw.len() > 6 * REF_BYTES_MAX + 2 {
            return Err(BadRef);
        }
        if raw.starts_with('"') {
            let text: String = serde_json::from_str(raw).map_err(|_| BadRef)?;
            return Self::text(&text).map(Some);
        }
        raw.parse()
            .map(|number| Some(Self::Int(number)))
            .map_err(|_| BadRef)
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Int(number) => number.fmt(f),
        }
    }
}

impl Serialize for Ref {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Int(number) => serializer.serialize_i64(*number),
        }
    }
}

impl From<i64> for Ref {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}
