//! One pass over JSON from outside, before anything typed looks at it.
//!
//! Typed parsers disagree on what they let through: a duplicate key is last-wins in one and first-wins in
//! another, a NUL in a string is stored by one database and refused by the next. So the text is walked once, in
//! bounded depth and with nothing kept but the keys of the objects that are open, and everything two readers
//! could see differently is refused here, for every message and every field alike.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::codes;
use crate::limits::{JSON_ARRAY_ITEMS_MAX, JSON_DEPTH_MAX, JSON_OBJECT_KEYS_MAX};

/// Objects with at most this many keys are searched in order; beyond it a hash set is cheaper.
const LINEAR_KEYS: usize = 16;

/// What a JSON text may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum JsonFault {
    /// It is not UTF-8.
    #[error("the text is not utf-8")]
    NotUtf8,
    /// It is not one JSON value.
    #[error("the text is not json")]
    Syntax,
    /// More arrays and objects inside each other than [`JSON_DEPTH_MAX`].
    #[error("nested deeper than {JSON_DEPTH_MAX}")]
    TooDeep,
    /// More keys in one object or items in one array than allowed.
    #[error("too many keys or items")]
    TooMany,
    /// The same key twice in one object.
    #[error("a key appears twice")]
    DuplicateKey,
    /// A string or key with U+0000.
    #[error("a string has a nul character")]
    Nul,
    /// A string with half of a surrogate pair.
    #[error("a string has half of a surrogate pair")]
    LoneSurrogate,
    /// A number of magnitude 2^64 or more.
    #[error("a number is out of range")]
    NumberRange,
}

impl JsonFault {
    /// The stable code of this fault.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotUtf8 | Self::Syntax | Self::TooDeep | Self::TooMany | Self::DuplicateKey => {
                codes::BAD_REQUEST
            }
            Self::Nul | Self::LoneSurrogate | Self::NumberRange => codes::BAD_VALUE,
        }
    }
}

/// Walks a JSON text once.
///
/// # Errors
/// The first fault in the text.
pub fn check(bytes: &[u8]) -> Result<(), JsonFault> {
    check_text(std::str::from_utf8(bytes).map_err(|_| JsonFault::NotUtf8)?)
}

/// As [`check`], for text that is known to be UTF-8.
///
/// # Errors
/// The first fault in the text.
pub fn check_text(text: &str) -> Result<(), JsonFault> {
    check_inside(text, 0)
}

/// As [`check_text`], for text that will be put inside `depth` arrays and objects: what passes here passes there.
///
/// # Errors
/// The first fault in the text.
pub fn check_inside(text: &str, depth: usize) -> Result<(), JsonFault> {
    let fault = Cell::new(None);
    let mut json = serde_json::Deserializer::from_str(text);
    let walk = Walk {
        depth,
        fault: &fault,
    };
    let error = match walk.deserialize(&mut json).and_then(|()| json.end()) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    Err(fault
        .get()
        .or_else(|| lexical_fault(text, &error))
        .unwrap_or(JsonFault::Syntax))
}

/// The walk at one place: how deep it is, and where it says why it stopped.
#[derive(Clone, Copy)]
struct Walk<'a> {
    depth: usize,
    fault: &'a Cell<Option<JsonFault>>,
}

impl Walk<'_> {
    fn stop<E: Error>(self, fault: JsonFault) -> E {
        self.fault.set(Some(fault));
        E::custom("stopped")
    }

    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= JSON_DEPTH_MAX {
            return Err(self.stop(JsonFault::TooDeep));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }

    fn text<E: Error>(self, text: &str) -> Result<(), E> {
        if text.as_bytes().contains(&0) {
            Err(self.stop(JsonFault::Nul))
        } else {
            Ok(())
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any json value")
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

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        // An integer too long for 64 bits arrives here as well, rounded: refused rather than stored as another one.
        if number.abs() < 18_446_744_073_709_551_616.0 {
            Ok(())
        } else {
            Err(self.stop(JsonFault::NumberRange))
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut count = 0;
        while items.next_element_seed(inner)?.is_some() {
            count += 1;
            if count > JSON_ARRAY_ITEMS_MAX {
                return Err(self.stop(JsonFault::TooMany));
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut keys = Keys::default();
        while let Some(key) = entries.next_key_seed(Key)? {
            self.text(&key)?;
            keys.insert(key).map_err(|fault| self.stop(fault))?;
            entries.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// A key, borrowed from the text unless it has escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// The keys of one open object.
#[derive(Default)]
struct Keys<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    fn insert(&mut self, key: Cow<'de, str>) -> Result<(), JsonFault> {
        if self.few.len() < LINEAR_KEYS {
            if self.few.contains(&key) {
                return Err(JsonFault::DuplicateKey);
            }
            self.few.push(key);
            return Ok(());
        }
        if self.many.len() + LINEAR_KEYS >= JSON_OBJECT_KEYS_MAX {
            return Err(JsonFault::TooMany);
        }
        if self.few.contains(&key) || !self.many.insert(key) {
            return Err(JsonFault::DuplicateKey);
        }
        Ok(())
    }
}

/// The parser reports a half surrogate pair and a number beyond the range of floats as plain syntax errors. They
/// are values, not shapes, to whoever must correct them, so on this path only the text is looked at once more.
fn lexical_fault(text: &str, error: &serde_json::Error) -> Option<JsonFault> {
    let before: usize = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    let end = before.saturating_add(error.column()).min(text.len());
    let bytes = &text.as_bytes()[..end];
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let (next, lone) = string_end(bytes, at + 1);
                if lone {
                    return Some(JsonFault::LoneSurrogate);
                }
                at = next;
            }
            b'-' | b'0'..=b'9' => {
                let part =
                    |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let length = bytes[at..].iter().take_while(part).count();
                let number = std::str::from_utf8(&bytes[at..at + length])
                    .ok()?
                    .parse::<f64>();
                if number.is_ok_and(f64::is_infinite) {
                    return Some(JsonFault::NumberRange);
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    None
}

/// Where the string that starts at `at` ends, and whether it has half of a surrogate pair.
fn string_end(bytes: &[u8], mut at: usize) -> (usize, bool) {
    let unit = |at: usize| {
        let digits = bytes
            .get(at..at + 6)
            .filter(|escape| escape.starts_with(b"\\u"))?;
        u32::from_str_radix(std::str::from_utf8(&digits[2..]).ok()?, 16).ok()
    };
    while at < bytes.len() && bytes[at] != b'"' {
        match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => return (at, true),
            Some(_) => at += 6,
            None if bytes[at] == b'\\' => at += 2,
            None => at += 1,
        }
    }
    (at + 1, false)
}
