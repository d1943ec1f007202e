//! Names that appear inside topics, paths and logs: orgs, products, groups, commands.
//!
//! The alphabet leaves out `:`, `/`, white space, control characters and every wildcard, so a name can be put
//! into a topic or a path as it is and can never be read as anything but itself.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::SLUG_BYTES_MAX;

/// Names that mean something to the protocol itself; compared without regard to case.
const RESERVED: [&str; 5] = ["device", "phx_join", "phoenix", "console", "group"];

/// A name of 1 to 63 characters: a letter or digit, then letters, digits, `.`, `_` and `-`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(Arc<str>);

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// There is none.
    #[error("a name must not be empty")]
    Empty,
    /// Too many bytes.
    #[error("a name has at most {SLUG_BYTES_MAX} characters, this one has {bytes} bytes")]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// It starts with something else than a letter or digit.
    #[error("a name starts with a letter or digit, not with {found:?}")]
    BadStart {
        /// What it starts with.
        found: char,
    },
    /// It has a character that names do not have.
    #[error("a name has letters, digits, '.', '_' and '-' only, not {found:?}")]
    BadCharacter {
        /// The first such character.
        found: char,
    },
}

impl Slug {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Does the protocol itself use this name? Such a name is refused when something is created under it, and
    /// still understood when read.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        RESERVED
            .iter()
            .any(|word| self.0.eq_ignore_ascii_case(word))
    }

    /// Says what is wrong with a name without making one.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(text: &str) -> Result<(), SlugError> {
        if text.len() > SLUG_BYTES_MAX {
            return Err(SlugError::TooLong { bytes: text.len() });
        }
        let first = text.chars().next().ok_or(SlugError::Empty)?;
        if !first.is_ascii_alphanumeric() {
            return Err(SlugError::BadStart { found: first });
        }
        let bad = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        text.chars()
            .find(bad)
            .map_or(Ok(()), |found| Err(SlugError::BadCharacter { found }))
    }
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        Self::check(text)?;
        Ok(Self(Arc::from(text)))
    }
}

impl Deref for Slug {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Slug {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Slug {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<Slug> for Arc<str> {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for Slug {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
