//! Identifiers: one type for each, so that a group's id cannot be handed where a device's belongs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// The text is not an identifier of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}")]
pub struct IdError {
    kind: &'static str,
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self).map_err(|_| IdError { kind: $kind })
            }
        }

        impl From<i64> for $name {
            fn from(value: i64) -> Self {
                Self(value)
            }
        }
    };
}

number!(
    /// A tenant.
    OrgId, "org id"
);
number!(
    /// A product of an org.
    ProductId, "product id"
);
number!(
    /// A device; stable over certificates, firmware and moves between groups.
    DeviceId, "device id"
);
number!(
    /// A group of devices of one product.
    GroupId, "group id"
);
number!(
    /// One uploaded firmware.
    FirmwareId, "firmware id"
);
number!(
    /// A certificate authority that an org registered.
    CaId, "authority id"
);
number!(
    /// A device certificate.
    CertId, "certificate id"
);
number!(
    /// A firmware signing key.
    KeyId, "key id"
);
number!(
    /// An operator's API token.
    TokenId, "token id"
);
number!(
    /// Which join of a device owns it: rises at every join, and writes of an older one are refused.
    ConnGen, "connection generation"
);
number!(
    /// A position in a channel. Positions of one channel rise by one with each committed change.
    Seq, "position"
);

impl Seq {
    /// Before the first change.
    pub const ZERO: Self = Self(0);

    /// The position after this one. Stays at the end of the range rather than wrapping.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A command, by a UUID of version 7. Its text is hyphenated lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub Uuid);

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for CommandId {
    type Err = IdError;

    /// Takes the hyphenated form only, in either case: other spellings of a UUID would make one id look like two.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = IdError { kind: "command id" };
        if text.len() != 36 {
            return Err(error);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| error)
    }
}

impl Serialize for CommandId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CommandId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Random id of one history of the database. Another epoch means that everything remembered is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A channel of changes: one for each device, group and org. Its text is `d:12`, `g:5` or `o:1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChannelId {
    /// Changes that concern one device.
    Device(DeviceId),
    /// Changes that concern the members of a group.
    Group(GroupId),
    /// Changes that concern a whole org.
    Org(OrgId),
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(id) => write!(f, "d:{id}"),
            Self::Group(id) => write!(f, "g:{id}"),
            Self::Org(id) => write!(f, "o:{id}"),
        }
    }
}

impl FromStr for ChannelId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = IdError { kind: "channel id" };
        let (kind, number) = text.split_once(':').ok_or(error)?;
        let number: i64 = number.parse().map_err(|_| error)?;
        match kind {
            "d" => Ok(Self::Device(DeviceId(number))),
            "g" => Ok(Self::Group(GroupId(number))),
            "o" => Ok(Self::Org(OrgId(number))),
            _ => Err(error),
        }
    }
}

impl Serialize for ChannelId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChannelId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_ids_read_what_they_write() {
        for channel in [
            ChannelId::Device(DeviceId(12)),
            ChannelId::Group(GroupId(5)),
            ChannelId::Org(OrgId(1)),
        ] {
            assert_eq!(channel.to_string().parse(), Ok(channel));
        }
        for text in ["", "d", "d:", "x:1", "d:1:2", "d:99999999999999999999"] {
            assert!(text.parse::<ChannelId>().is_err(), "{text}");
        }
    }

    #[test]
    fn command_ids_are_hyphenated_lower_case() {
        let text = "0192F3A0-7B1C-7D3E-8F40-123456789ABC";
        let id: CommandId = text.parse().unwrap();
        assert_eq!(id.to_string(), text.to_lowercase());
        assert_eq!(
            serde_json::to_string(&id).unwrap(),
            format!("\"{}\"", text.to_lowercase())
        );
        assert!(
            "0192f3a07b1c7d3e8f40123456789abc"
                .parse::<CommandId>()
                .is_err()
        );
        assert!(
            "{192f3a0-7b1c-7d3e-8f40-123456789ab}"
                .parse::<CommandId>()
                .is_err()
        );
    }

    #[test]
    fn the_last_position_does_not_wrap() {
        assert_eq!(Seq::ZERO.next(), Seq(1));
        assert_eq!(Seq(i64::MAX).next(), Seq(i64::MAX));
    }
}
