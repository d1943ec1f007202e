//! A payload's fields by name, each read with its own bound and its own words when it is wrong.
//!
//! The words are ours, not the parser's: a parser quotes what it found, and a device's text has no place in a
//! log line or in a reply to another reader.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::EventError;
use crate::frame::Payload;
use crate::text::cut;

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The fields of one JSON object.
pub(crate) struct Fields<'a>(BTreeMap<Name<'a>, &'a RawValue>);

impl<'a> Fields<'a> {
    /// The fields of a payload; none when it is null.
    pub(crate) fn read(payload: &'a Payload) -> Result<Self, EventError> {
        match payload {
            Payload::Json(raw) => {
                Self::of(raw.get()).ok_or_else(|| EventError::request("payload must be an object"))
            }
            Payload::Null => Ok(Self(BTreeMap::new())),
            Payload::Binary(_) => Err(EventError::request("this event has no binary payload")),
        }
    }

    /// The fields of an object's text; `None` when it is not one.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    /// Names and raw values, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, raw)| (&*name.0, *raw))
    }

    /// A field that is there and not null.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0
            .get(&Name(Cow::Borrowed(name)))
            .copied()
            .filter(|raw| raw.get() != "null")
    }

    /// A field of any type that JSON can hold; `None` when it is missing or null.
    pub(crate) fn typed<T: DeserializeOwned>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, EventError> {
        let read = |raw: &RawValue| {
            serde_json::from_str(raw.get()).map_err(|_| EventError::value(name, expected))
        };
        self.raw(name).map(read).transpose()
    }

    /// A text; longer than `max` bytes is refused.
    pub(crate) fn text(&self, name: &str, max: usize) -> Result<Option<Box<str>>, EventError> {
        let expected = || format!("a text of at most {max} bytes");
        let text: Option<Box<str>> = self.typed(name, &expected())?;
        match text {
            Some(text) if text.len() > max => Err(EventError::value(name, &expected())),
            Some(_) | None => Ok(text),
        }
    }

    /// A text; longer than `max` bytes is cut.
    pub(crate) fn cut_text(&self, name: &str, max: usize) -> Result<Option<Box<str>>, EventError> {
        let text: Option<Box<str>> = self.typed(name, "a text")?;
        Ok(text.map(|text| cut(&text, max).into()))
    }

    /// A text where there is one, nothing where there is anything else: for what is shown and never relied on.
    pub(crate) fn loose_text(&self, name: &str, max: usize) -> Option<Box<str>> {
        self.cut_text(name, max).unwrap_or_default()
    }

    /// A UUID where there is one.
    pub(crate) fn loose_uuid(&self, name: &str) -> Option<Uuid> {
        self.loose_text(name, 64)
            .and_then(|text| Uuid::try_parse(&text).ok())
    }
}

/// The texts of an array, each cut to `max_bytes`; all after the first `max` are dropped.
pub(crate) fn texts(
    fields: &Fields<'_>,
    name: &str,
    max: usize,
    max_bytes: usize,
) -> Result<Option<Vec<Box<str>>>, EventError> {
    let all: Option<Vec<Box<str>>> = fields.typed(name, "an array of texts")?;
    Ok(all.map(|all| {
        all.into_iter()
            .take(max)
            .map(|text| cut(&text, max_bytes).into())
            .collect()
    }))
}
