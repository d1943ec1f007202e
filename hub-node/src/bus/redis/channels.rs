//! The names of channels on the server. Nothing a user wrote is in them but the node's name, which is a plain word.

use hub_core::limits::BUS_SHARDS;
use hub_proto::id::{ChannelId, Epoch};

/// The channels of one hub as one node uses them.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    prefix: String,
    node: String,
}

impl Channels {
    pub(super) fn new(epoch: Epoch, node: &str) -> Self {
        Self {
            prefix: format!("hub:{:016x}", epoch.0),
            node: node.to_owned(),
        }
    }

    /// Where hints of a channel go: all of one channel to the same shard, so that they keep their order.
    pub(super) fn shard(&self, channel: ChannelId) -> String {
        let id = match channel {
            ChannelId::Device(id) => id.0,
            ChannelId::Group(id) => id.0,
            ChannelId::Org(id) => id.0,
        };
        format!("{}:shard:{}", self.prefix, id.unsigned_abs() % BUS_SHARDS)
    }

    /// Where notices for a node go.
    pub(super) fn node(&self, name: &str) -> String {
        format!("{}:node:{name}", self.prefix)
    }

    /// Where all nodes say that they are there.
    pub(super) fn beacons(&self) -> String {
        format!("{}:beacons", self.prefix)
    }

    /// Everything this node listens to.
    pub(super) fn subscriptions(&self) -> Vec<String> {
        let shards = (0..BUS_SHARDS).map(|shard| format!("{}:shard:{shard}", self.prefix));
        shards
            .chain([self.node(&self.node), self.beacons()])
            .collect()
    }
}
