//! Joins and leaves: the device channel first, then the group channels the hub names.
//!
//! Owns: the group list of the join reply is the truth and replaces what was followed before; `join` and `leave` pushes
//! change it; a refused or crashed channel is joined again on the same socket with a new reference, after full jitter or
//! the hub's `retry_after_ms`; a group the hub refuses without naming a time is not asked for again until it is named.

use std::time::Duration;

use hub_proto::frame::Ref;
use serde_json::{Map, Value, json};

use super::{Effect, Machine, Outgoing, hub_delay, note, number};
use crate::limits::{
    GROUPS_MAX, JOIN_REPLY_WAIT, JOIN_SILENCES_MAX, REJOIN_BASE, REJOIN_CAP, TOPIC_BYTES_MAX,
};

/// Topic of heartbeats.
pub(super) const PHOENIX: &str = "phoenix";

/// Where one channel stands.
#[derive(Debug, Default, PartialEq)]
enum Standing {
    /// Not asked for.
    #[default]
    Away,
    /// Asked for.
    Joining { reference: u64, until: Duration },
    /// Joined under this reference.
    Joined { reference: u64 },
    /// To be asked for again.
    Waiting { until: Duration },
    /// Left; the reply is still due.
    Leaving { reference: u64 },
    /// Refused for good.
    Refused,
}

/// One channel.
#[derive(Debug, Default)]
pub(super) struct Channel {
    standing: Standing,
    /// Refusals and crashes in a row.
    attempts: u32,
    /// Joins in a row without any answer.
    silences: u32,
}

impl Channel {
    const fn joined(reference: u64) -> Self {
        Self {
            standing: Standing::Joined { reference },
            attempts: 0,
            silences: 0,
        }
    }

    const fn again(until: Duration, attempts: u32) -> Self {
        Self {
            standing: Standing::Waiting { until },
            attempts: attempts.saturating_add(1),
            silences: 0,
        }
    }

    pub(super) const fn is_joined(&self) -> bool {
        matches!(self.standing, Standing::Joined { .. })
    }

    const fn join_ref(&self) -> Option<u64> {
        match self.standing {
            Standing::Joining { reference, .. } | Standing::Joined { reference } => Some(reference),
            Standing::Away
            | Standing::Waiting { .. }
            | Standing::Leaving { .. }
            | Standing::Refused => None,
        }
    }

    const fn deadline(&self) -> Option<Duration> {
        match self.standing {
            Standing::Joining { until, .. } | Standing::Waiting { until } => Some(until),
            Standing::Away
            | Standing::Joined { .. }
            | Standing::Leaving { .. }
            | Standing::Refused => None,
        }
    }

    /// Whether a push that carries this join reference is for the join that is alive now. Hubs may send none.
    fn owns(&self, join_ref: Option<&Ref>) -> bool {
        self.join_ref().is_some() && (join_ref.is_none() || number(join_ref) == self.join_ref())
    }
}

impl Machine {
    /// Topic of the device channel: the running firmware is part of it.
    pub(super) fn device_topic(&self) -> String {
        self.firmware.as_ref().map_or_else(
            || "device".to_owned(),
            |firmware| format!("device:{}", firmware.uuid),
        )
    }

    pub(super) fn is_device_topic(&self, topic: &str) -> bool {
        match (&self.firmware, topic.strip_prefix("device")) {
            (Some(firmware), Some(rest)) => rest.strip_prefix(':') == Some(&firmware.uuid),
            (None, Some(rest)) => rest.is_empty(),
            (_, None) => false,
        }
    }

    pub(super) fn join_device(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let mut payload = Map::new();
        if let Some(firmware) = &self.firmware {
            firmware.describe(&mut payload);
        }
        payload.insert("capabilities".to_owned(), json!(["ack", "groups"]));
        payload.insert("device_api_version".to_owned(), json!("2.3.0"));
        if let Some(uuid) = self.updating.uuid() {
            payload.insert("currently_downloading_uuid".to_owned(), json!(uuid));
        }
        let reference = self.fresh_ref();
        self.device.standing = Standing::Joining {
            reference,
            until: now + JOIN_REPLY_WAIT,
        };
        let topic = self.device_topic();
        effects.push(join_frame(reference, topic, Value::Object(payload)));
    }

    /// Forgets every channel, as a lost socket does. The groups themselves come back with the next join reply.
    pub(super) fn forget_channels(&mut self) {
        self.device = Channel::default();
        self.groups.clear();
        self.in_flight.clear();
        // The next connection starts with the oldest again.
        self.refused.clear();
    }

    /// Whether a push on this topic is for a channel that is alive.
    pub(super) fn delivers(&self, topic: &str, join_ref: Option<&Ref>) -> bool {
        if self.is_device_topic(topic) {
            return self.device.owns(join_ref);
        }
        self.groups
            .get(topic)
            .is_some_and(|channel| channel.owns(join_ref))
    }

    pub(super) fn on_reply(
        &mut self,
        reference: Option<u64>,
        payload: &Value,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let Some(reference) = reference else { return };
        let accepted = payload.get("status").and_then(Value::as_str) == Some("ok");
        let response = payload.get("response").unwrap_or(&Value::Null);
        if matches!(self.device.standing, Standing::Joining { reference: wanted, .. } if wanted == reference)
        {
            return if accepted {
                self.on_device_joined(reference, response, effects);
            } else {
                note(effects, "device channel", "join refused");
                let pause = hub_delay(response, "retry_after_ms");
                self.retry_device(pause, now);
            };
        }
        if self.on_report_reply(reference, accepted, response, now, effects) {
            return;
        }
        self.on_group_reply(reference, accepted, response, now, effects);
    }

    pub(super) fn on_channel_error(
        &mut self,
        topic: &str,
        join_ref: Option<&Ref>,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        if !self.delivers(topic, join_ref) {
            return note(effects, topic, "error of a channel that is not joined");
        }
        if self.is_device_topic(topic) {
            self.in_flight.clear();
            return self.retry_device(None, now);
        }
        let Self { groups, jitter, .. } = self;
        if let Some(channel) = groups.get_mut(topic) {
            let until = now + jitter.pause(REJOIN_BASE, REJOIN_CAP, channel.attempts);
            *channel = Channel::again(until, channel.attempts);
        }
    }

    /// A close that the device did not ask for is handled like an error: else it would stay deaf.
    pub(super) fn on_channel_closed(
        &mut self,
        topic: &str,
        join_ref: Option<&Ref>,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let left = self
            .groups
            .get(topic)
            .is_some_and(|channel| matches!(channel.standing, Standing::Leaving { .. }));
        if left {
            self.groups.remove(topic);
        } else {
            self.on_channel_error(topic, join_ref, now, effects);
        }
    }

    pub(super) fn on_group_join(&mut self, payload: &Value, effects: &mut Vec<Effect>) {
        let Some(topic) = payload.get("channel").and_then(Value::as_str) else {
            return note(effects, "join", "names no channel");
        };
        self.follow(topic, effects);
    }

    pub(super) fn on_group_leave(&mut self, payload: &Value, effects: &mut Vec<Effect>) {
        let Some(topic) = payload.get("channel").and_then(Value::as_str) else {
            return note(effects, "leave", "names no channel");
        };
        self.unfollow(&topic.to_owned(), effects);
    }

    /// Sends joins that are due. Group channels wait for the device channel, which authorises them.
    pub(super) fn settle_channels(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if !self.link.is_open() {
            return;
        }
        match self.device.standing {
            Standing::Waiting { until } if until <= now => self.join_device(now, effects),
            Standing::Joining { until, .. } if until <= now => {
                self.device.silences = self.device.silences.saturating_add(1);
                if self.device.silences >= JOIN_SILENCES_MAX {
                    note(effects, "device channel", "joins stay without an answer");
                    return self.give_up_socket(now, effects);
                }
                self.join_device(now, effects);
            }
            Standing::Waiting { .. }
            | Standing::Joining { .. }
            | Standing::Away
            | Standing::Joined { .. }
            | Standing::Leaving { .. }
            | Standing::Refused => {}
        }
        if !self.device.is_joined() {
            return;
        }
        let due = |channel: &Channel| {
            channel.standing == Standing::Away
                || channel.deadline().is_some_and(|until| until <= now)
        };
        let Self {
            groups, next_ref, ..
        } = self;
        for (topic, channel) in groups.iter_mut().filter(|(_, channel)| due(channel)) {
            let reference = *next_ref;
            *next_ref = next_ref.wrapping_add(1);
            channel.standing = Standing::Joining {
                reference,
                until: now + JOIN_REPLY_WAIT,
            };
            effects.push(join_frame(reference, topic.clone(), json!({})));
        }
    }

    pub(super) fn channels_deadline(&self) -> Option<Duration> {
        if !self.link.is_open() {
            return None;
        }
        let groups = self
            .groups
            .values()
            .filter(|_| self.device.is_joined())
            .filter_map(Channel::deadline);
        self.device.deadline().into_iter().chain(groups).min()
    }

    /// Reference of the device channel's join while it is joined.
    pub(super) const fn device_join_ref(&self) -> Option<u64> {
        match self.device.standing {
            Standing::Joined { reference } => Some(reference),
            Standing::Away
            | Standing::Joining { .. }
            | Standing::Waiting { .. }
            | Standing::Leaving { .. }
            | Standing::Refused => None,
        }
    }

    fn on_device_joined(&mut self, reference: u64, response: &Value, effects: &mut Vec<Effect>) {
        self.device = Channel::joined(reference);
        self.joins = self.joins.saturating_add(1);
        let Some(named) = response.get("groups").and_then(Value::as_array) else {
            return;
        };
        let named: Vec<&str> = named.iter().filter_map(Value::as_str).collect();
        let gone: Vec<String> = self
            .groups
            .keys()
            .filter(|topic| !named.contains(&topic.as_str()))
            .cloned()
            .collect();
        for topic in gone {
            self.unfollow(&topic, effects);
        }
        for topic in named {
            self.follow(topic, effects);
        }
    }

    fn follow(&mut self, topic: &str, effects: &mut Vec<Effect>) {
        if !topic.starts_with("group:") || topic.len() > TOPIC_BYTES_MAX {
            return note(effects, topic, "not a group channel");
        }
        if let Some(channel) = self.groups.get_mut(topic) {
            // Asked for anew: a refusal or a leave on its way no longer counts.
            if matches!(
                channel.standing,
                Standing::Refused | Standing::Leaving { .. }
            ) {
                *channel = Channel::default();
            }
        } else if self.groups.len() < GROUPS_MAX {
            self.groups.insert(topic.to_owned(), Channel::default());
        } else {
            note(
                effects,
                topic,
                "more group channels than the device follows",
            );
        }
    }

    fn unfollow(&mut self, topic: &String, effects: &mut Vec<Effect>) {
        let reference = self.next_ref;
        let Some(channel) = self.groups.get_mut(topic) else {
            return note(
                effects,
                topic,
                "asked to leave a channel that is not followed",
            );
        };
        let Some(join_ref) = channel.join_ref() else {
            if !matches!(channel.standing, Standing::Leaving { .. }) {
                self.groups.remove(topic);
            }
            return;
        };
        channel.standing = Standing::Leaving { reference };
        self.next_ref = reference.wrapping_add(1);
        effects.push(Effect::Send(Outgoing {
            join_ref: Some(join_ref),
            reference,
            topic: topic.clone(),
            event: "phx_leave".into(),
            payload: json!({}),
        }));
    }

    fn on_group_reply(
        &mut self,
        reference: u64,
        accepted: bool,
        response: &Value,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let Self { groups, jitter, .. } = self;
        let found = groups
            .iter_mut()
            .find(|(_, channel)| match channel.standing {
                Standing::Joining {
                    reference: wanted, ..
                }
                | Standing::Leaving { reference: wanted } => wanted == reference,
                Standing::Away
                | Standing::Joined { .. }
                | Standing::Waiting { .. }
                | Standing::Refused => false,
            });
        let Some((topic, channel)) = found else {
            return;
        };
        if matches!(channel.standing, Standing::Leaving { .. }) {
            let topic = topic.clone();
            groups.remove(&topic);
        } else if accepted {
            *channel = Channel::joined(reference);
        } else if let Some(pause) = hub_delay(response, "retry_after_ms") {
            let until = now + pause.max(jitter.pause(REJOIN_BASE, REJOIN_CAP, channel.attempts));
            *channel = Channel::again(until, channel.attempts);
        } else {
            note(effects, topic, "group channel refused");
            channel.standing = Standing::Refused;
        }
    }

    fn retry_device(&mut self, pause: Option<Duration>, now: Duration) {
        let attempts = self.device.attempts;
        let pause = pause.unwrap_or_else(|| self.jitter.pause(REJOIN_BASE, REJOIN_CAP, attempts));
        self.device = Channel::again(now + pause, attempts);
    }
}

fn join_frame(reference: u64, topic: String, payload: Value) -> Effect {
    Effect::Send(Outgoing {
        join_ref: Some(reference),
        reference,
        topic,
        event: "phx_join".into(),
        payload,
    })
}
