//! The channels joined on one socket: topics, refs and how many.
//!
//! Rules owned here: a join without `join_ref` is remembered under its `ref`; a frame with another `join_ref` than
//! the channel's is stale; at most `CHANNELS_MAX` channels; a new join of a topic replaces the old one.

use hub_proto::frame::Ref;
use hub_proto::id::GroupId;

use super::effect::{Address, Subscription};
use crate::limits::CHANNELS_MAX;

/// What is joined.
#[derive(Clone, Debug, Default)]
pub(super) struct Channels {
    /// The device channel.
    pub(super) device: Option<Subscription>,
    /// Group channels, with the group each belongs to.
    pub(super) groups: Vec<(GroupId, Subscription)>,
}

impl Address {
    /// The subscription that a join from this address makes.
    pub(super) fn subscription(&self) -> Subscription {
        Subscription {
            topic: self.topic.clone(),
            join_ref: self.join_ref.clone().or_else(|| self.reference.clone()),
        }
    }
}

impl Channels {
    /// Joined channels.
    pub(super) fn len(&self) -> usize {
        self.groups.len() + usize::from(self.device.is_some())
    }

    /// Whether `waiting` more joins leave room for another one.
    pub(super) fn has_room(&self, waiting: usize) -> bool {
        self.len() + waiting < CHANNELS_MAX
    }

    /// The subscription of a topic.
    pub(super) fn find(&self, topic: &str) -> Option<&Subscription> {
        self.device
            .iter()
            .chain(self.groups.iter().map(|(_, s)| s))
            .find(|s| *s.topic == *topic)
    }

    /// The subscription of a group's channel.
    pub(super) fn group(&self, group: GroupId) -> Option<&Subscription> {
        self.groups
            .iter()
            .find(|(g, _)| *g == group)
            .map(|(_, s)| s)
    }

    /// Joins a group's channel, in place of an earlier join of it; whether there was one.
    pub(super) fn join_group(&mut self, group: GroupId, subscription: Subscription) -> bool {
        let replaced = self.leave_group(group);
        // Most devices are in a group or two, for as long as they are connected.
        self.groups.reserve_exact(1);
        self.groups.push((group, subscription));
        replaced
    }

    /// Forgets a group's channel; whether it was joined.
    pub(super) fn leave_group(&mut self, group: GroupId) -> bool {
        let before = self.groups.len();
        self.groups.retain(|(g, _)| *g != group);
        self.groups.len() < before
    }

    /// The group whose channel is joined under this topic.
    pub(super) fn group_of(&self, topic: &str) -> Option<GroupId> {
        self.groups
            .iter()
            .find(|(_, s)| *s.topic == *topic)
            .map(|(group, _)| *group)
    }
}

/// Whether a frame belongs to this join: no `join_ref` passes, as older clients send none; else the same text,
/// whatever its JSON type.
pub(super) fn is_current(subscription: &Subscription, join_ref: Option<&Ref>) -> bool {
    match (join_ref, &subscription.join_ref) {
        (None, _) | (_, None) => true,
        (Some(got), Some(have)) => got == have || text(got) == text(have),
    }
}

fn text(reference: &Ref) -> String {
    match reference {
        Ref::Text(text) => text.to_string(),
        Ref::Int(number) => number.to_string(),
    }
}
