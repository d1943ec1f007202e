//! The five parts of a frame as raw JSON, kept as far as they could be read.
//!
//! The parts are written into a place outside the parser, so that a frame whose payload is broken still yields
//! the `ref` that came before it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Which JSON the outermost value was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// Neither array nor object.
    #[default]
    Other,
    /// An array with this many items.
    Array(usize),
    /// An object.
    Object,
}

/// Raw parts; `None` where the frame has none or could not be read so far.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    pub(super) form: Form,
    pub(super) join_ref: Option<&'a RawValue>,
    pub(super) reference: Option<&'a RawValue>,
    pub(super) topic: Option<&'a RawValue>,
    pub(super) event: Option<&'a RawValue>,
    pub(super) payload: Option<&'a RawValue>,
}

impl<'a> Parts<'a> {
    /// Reads what can be read. `Err` says that the text went wrong somewhere; the parts before it stand.
    pub(super) fn read(text: &'a str) -> (Self, Result<(), serde_json::Error>) {
        let mut parts = Self::default();
        let mut json = serde_json::Deserializer::from_str(text);
        let outcome = Fill(&mut parts)
            .deserialize(&mut json)
            .and_then(|()| json.end());
        (parts, outcome)
    }
}

struct Fill<'p, 'a>(&'p mut Parts<'a>);

impl<'a> DeserializeSeed<'a> for Fill<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Fill<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or an object")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<(), A::Error> {
        let Self(parts) = self;
        parts.form = Form::Array(0);
        let mut count = 0;
        loop {
            let place = match count {
                0 => &mut parts.join_ref,
                1 => &mut parts.reference,
                2 => &mut parts.topic,
                3 => &mut parts.event,
                4 => &mut parts.payload,
                _ => {
                    if items.next_element::<IgnoredAny>()?.is_none() {
                        break;
                    }
                    count += 1;
                    continue;
                }
            };
            match items.next_element()? {
                Some(part) => *place = Some(part),
                None => break,
            }
            count += 1;
        }
        parts.form = Form::Array(count);
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, mut entries: A) -> Result<(), A::Error> {
        let Self(parts) = self;
        parts.form = Form::Object;
        while let Some(key) = entries.next_key::<std::borrow::Cow<'a, str>>()? {
            let place = match &*key {
                "join_ref" => &mut parts.join_ref,
                "ref" => &mut parts.reference,
                "topic" => &mut parts.topic,
                "event" => &mut parts.event,
                "payload" => &mut parts.payload,
                _ => {
                    entries.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *place = Some(entries.next_value()?);
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}
