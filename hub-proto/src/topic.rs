//! Topics: which channel a frame belongs to.
//!
//! The certificate decides who a device is, so nothing in a topic is an identity: the uuid in `device:<uuid>` is
//! what the device says it runs, and a group topic is a wish that the store's rows grant or not.

use uuid::Uuid;

use crate::limits::TOPIC_BYTES_MAX;
use crate::slug::Slug;

/// The connection itself: heartbeats.
pub const PHOENIX: &str = "phoenix";
/// The device's own channel in its short form.
pub const DEVICE: &str = "device";

/// What a topic's text means. Reading one never fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// `phoenix`.
    Phoenix,
    /// `device`, `device:<firmware uuid>`, or `firmware:<firmware uuid>` as devices of 2018 say it.
    Device(DeviceTopic),
    /// `group:<org>:<product>:<name>`.
    Group(GroupTopic),
    /// Anything else, `console` and `extensions` included.
    Unknown,
}

/// The device's own channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceTopic {
    /// The running firmware's uuid, hyphenated lower case, when the topic names one. What follows the colon may
    /// also be a serial number (the oldest devices); that is nobody's identity and is dropped.
    pub firmware: Option<Box<str>>,
}

/// A group's channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupTopic {
    /// The org's name.
    pub org: Slug,
    /// The product's name.
    pub product: Slug,
    /// The group's name.
    pub group: Slug,
}

impl Topic {
    /// Reads a topic. Total: what is not understood is [`Topic::Unknown`].
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text.len() > TOPIC_BYTES_MAX {
            return Self::Unknown;
        }
        match text.split_once(':') {
            None if text == PHOENIX => Self::Phoenix,
            None if text == DEVICE => Self::Device(DeviceTopic { firmware: None }),
            Some(("device", rest)) => device(rest).map_or(Self::Unknown, Self::Device),
            Some(("firmware", rest)) => match device(rest) {
                Some(topic) if topic.firmware.is_some() => Self::Device(topic),
                Some(_) | None => Self::Unknown,
            },
            Some(("group", rest)) => group(rest).map_or(Self::Unknown, Self::Group),
            None | Some(_) => Self::Unknown,
        }
    }
}

impl std::str::FromStr for Topic {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::parse(text))
    }
}

fn device(rest: &str) -> Option<DeviceTopic> {
    if rest.contains(|c: char| c == ':' || c.is_control()) {
        return None;
    }
    let firmware = Uuid::try_parse(rest)
        .ok()
        .map(|uuid| uuid.as_hyphenated().to_string().into_boxed_str());
    Some(DeviceTopic { firmware })
}

fn group(rest: &str) -> Option<GroupTopic> {
    let mut parts = rest.split(':');
    let topic = GroupTopic {
        org: parts.next()?.parse().ok()?,
        product: parts.next()?.parse().ok()?,
        group: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(topic)
}

/// The topic of a group's channel. The three are slugs, so the result reads back as exactly these three.
#[must_use]
pub fn group_topic(org: &str, product: &str, group: &str) -> String {
    format!("group:{org}:{product}:{group}")
}

/// The topic of the device's own channel while it runs this firmware.
#[must_use]
pub fn device_topic(firmware_uuid: &str) -> String {
    format!("device:{firmware_uuid}")
}
