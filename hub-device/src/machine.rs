//! The device's half of the protocol as a pure state machine.
//!
//! `step` takes one event and the time since start and appends effects; `deadline` says when it wants a
//! [`Event::Tick`]. It reads no clock, does no I/O, and no event makes it panic. Time is a [`Duration`] since the device
//! started, so that wall clocks never decide anything. The parts own one rule set each: [`link`] when to connect and
//! reconnect, [`channels`] joins and leaves, [`commands`] at-most-once commands, [`reports`] resending until the hub
//! replies, [`update`] offers and restarts.

mod channels;
mod commands;
mod link;
mod reports;
mod update;

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use hub_proto::{
    frame::{Frame, Payload, Ref},
    id::CommandId,
};
use serde_json::Value;

use crate::{
    backoff::{Jitter, Window},
    firmware::Firmware,
    ledger::{Ledger, Outcome, Record},
    offer::Offer,
};
use channels::Channel;
use link::Link;
use reports::InFlight;
use update::{RebootPlan, Updating};

pub use update::{Stage, UpdateEvent};

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The device starts; once, first.
    Start,
    /// The socket is open.
    Opened,
    /// The socket could not be opened, for this reason.
    OpenFailed {
        /// The hub's answer said when to come back.
        retry_after: Option<Duration>,
    },
    /// The socket is gone; the close code, if the hub sent one.
    Closed {
        /// WebSocket close code.
        code: Option<u16>,
    },
    /// A frame arrived.
    Frame(Frame),
    /// [`Effect::Persist`] was carried out.
    Persisted {
        /// The command.
        id: CommandId,
        /// Whether the records are on disk.
        saved: bool,
    },
    /// [`Effect::Run`] ended.
    CommandEnded {
        /// The command.
        id: CommandId,
        /// How it ended.
        outcome: Outcome,
    },
    /// The update task says something.
    Update(UpdateEvent),
    /// A reboot is over; this is what runs now.
    Booted {
        /// The running firmware, none when nothing is installed.
        firmware: Option<Firmware>,
    },
    /// The deadline passed.
    Tick,
}

/// What to do about it, in order.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Open a socket; answer with `Opened` or `OpenFailed`.
    Connect,
    /// Close the socket politely; no `Closed` follows.
    Disconnect,
    /// Send a frame.
    Send(Outgoing),
    /// Put these on disk before anything else happens and answer with `Persisted`.
    Persist {
        /// The command they are about.
        id: CommandId,
        /// What to write.
        records: Vec<Record>,
    },
    /// Put this on disk; a failure is logged, since the memory holds it and a later rewrite saves it.
    Record(Record),
    /// Let a command take effect; answer with `CommandEnded`.
    Run {
        /// Its id.
        id: CommandId,
        /// Its name.
        name: String,
        /// Its arguments.
        args: Value,
    },
    /// Download, verify and install; answer with `Update` events.
    StartUpdate(Box<Offer>),
    /// Stop the update task; no more `Update` events follow.
    CancelUpdate,
    /// Restart; answer with `Booted`.
    Reboot,
    /// Something was refused or ignored, for the log.
    Note {
        /// What it was about.
        subject: String,
        /// Why.
        reason: &'static str,
    },
}

/// A frame on its way to the hub.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Reference of the join this belongs to.
    pub join_ref: Option<u64>,
    /// Its own reference.
    pub reference: u64,
    /// Topic.
    pub topic: String,
    /// Event; owned only for reports read back from disk.
    pub event: Cow<'static, str>,
    /// Payload.
    pub payload: Value,
}

/// Whether a device with an unsettled policy takes older firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Downgrades {
    /// Install whatever the hub's target says: rolling back is an operator's choice.
    #[default]
    Follow,
    /// Refuse an offer whose version is older than the running one.
    Refuse,
}

/// The machine.
#[derive(Debug)]
pub struct Machine {
    link: Link,
    device: Channel,
    groups: BTreeMap<String, Channel>,
    ledger: Ledger,
    in_flight: Vec<InFlight>,
    unsaved: Vec<CommandId>,
    queue: VecDeque<CommandId>,
    /// Commands sent back on this connection, in the order they came: they go first when they come again.
    refused: VecDeque<CommandId>,
    running_command: Option<CommandId>,
    /// No command starts before this: the disk refused the last start.
    start_after: Duration,
    firmware: Option<Firmware>,
    updating: Updating,
    reboot: Option<RebootPlan>,
    downgrades: Downgrades,
    jitter: Jitter,
    reconnect: Window,
    next_ref: u64,
    joins: u64,
}

impl Machine {
    /// A machine that has not started. `seed` feeds its jitter.
    #[must_use]
    pub fn new(
        ledger: Ledger,
        firmware: Option<Firmware>,
        downgrades: Downgrades,
        seed: u64,
    ) -> Self {
        Self {
            link: Link::Idle,
            device: Channel::default(),
            groups: BTreeMap::new(),
            ledger,
            in_flight: Vec::new(),
            unsaved: Vec::new(),
            queue: VecDeque::new(),
            refused: VecDeque::new(),
            running_command: None,
            start_after: Duration::ZERO,
            firmware,
            updating: Updating::default(),
            reboot: None,
            downgrades,
            jitter: Jitter::new(seed),
            reconnect: Window::RECONNECT,
            next_ref: 1,
            joins: 0,
        }
    }

    /// The same machine with other pauses between connections.
    #[must_use]
    pub const fn with_reconnect(mut self, reconnect: Window) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Takes one event.
    pub fn step(&mut self, event: Event, now: Duration, effects: &mut Vec<Effect>) {
        match event {
            Event::Start => self.on_start(effects),
            Event::Opened => self.on_opened(now, effects),
            Event::OpenFailed { retry_after } => self.on_open_failed(retry_after, now),
            Event::Closed { code } => self.on_closed(code, now),
            Event::Frame(frame) => self.on_frame(frame, now, effects),
            Event::Persisted { id, saved } => self.on_persisted(id, saved, now, effects),
            Event::CommandEnded { id, outcome } => self.on_command_ended(id, outcome, now, effects),
            Event::Update(event) => self.on_update(event, now, effects),
            Event::Booted { firmware } => self.on_booted(firmware, now, effects),
            Event::Tick => {}
        }
        self.settle(now, effects);
    }

    /// When the machine wants its next [`Event::Tick`]; none while it waits for something other than time.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let parts = [
            self.link_deadline(),
            self.channels_deadline(),
            self.commands_deadline(),
            self.reports_deadline(),
            self.update_deadline(),
        ];
        parts.into_iter().flatten().min()
    }

    /// What the journal's next rewrite must hold.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Record> {
        self.ledger.snapshot()
    }

    /// The firmware the device runs.
    #[must_use]
    pub const fn firmware(&self) -> Option<&Firmware> {
        self.firmware.as_ref()
    }

    /// Topics of the group channels joined now.
    pub fn joined_groups(&self) -> impl Iterator<Item = &str> {
        self.groups
            .iter()
            .filter(|(_, channel)| channel.is_joined())
            .map(|(topic, _)| topic.as_str())
    }

    /// Whether the device channel is joined.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.link.is_open() && self.device.is_joined()
    }

    /// Whether the device restarts now.
    #[must_use]
    pub fn is_rebooting(&self) -> bool {
        self.link == Link::Rebooting
    }

    /// Whether an update is under way.
    #[must_use]
    pub fn is_updating(&self) -> bool {
        self.updating.uuid().is_some()
    }

    /// Times the device channel was joined.
    #[must_use]
    pub const fn joins(&self) -> u64 {
        self.joins
    }

    /// Carries on with whatever time or the event made possible.
    fn settle(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.settle_link(now, effects);
        self.settle_channels(now, effects);
        self.settle_commands(now, effects);
        self.settle_update(now, effects);
        self.settle_reports(now, effects);
        self.settle_reboot(now, effects);
    }

    fn on_start(&mut self, effects: &mut Vec<Effect>) {
        if self.link != Link::Idle {
            return;
        }
        self.recover_commands(effects);
        self.dial(effects);
    }

    fn on_booted(&mut self, firmware: Option<Firmware>, now: Duration, effects: &mut Vec<Effect>) {
        if self.link != Link::Rebooting {
            return;
        }
        self.firmware = firmware;
        self.reboot = None;
        self.after_restart(now, effects);
        self.dial(effects);
    }

    fn on_frame(&mut self, frame: Frame, now: Duration, effects: &mut Vec<Effect>) {
        if !self.link.is_open() {
            return;
        }
        let payload = match &frame.payload {
            Payload::Json(raw) => serde_json::from_str(raw.get()).unwrap_or(Value::Null),
            Payload::Null | Payload::Binary(_) => Value::Null,
        };
        if &*frame.topic == channels::PHOENIX {
            return self.on_heartbeat_reply(number(frame.reference.as_ref()));
        }
        match &*frame.event {
            "phx_reply" => self.on_reply(number(frame.reference.as_ref()), &payload, now, effects),
            "phx_error" => {
                self.on_channel_error(&frame.topic, frame.join_ref.as_ref(), now, effects)
            }
            "phx_close" => {
                self.on_channel_closed(&frame.topic, frame.join_ref.as_ref(), now, effects)
            }
            event => self.on_push(event, &frame, payload, now, effects),
        }
    }

    fn on_push(
        &mut self,
        event: &str,
        frame: &Frame,
        payload: Value,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        if !self.delivers(&frame.topic, frame.join_ref.as_ref()) {
            return note(
                effects,
                &frame.topic,
                "push on a channel that is not joined",
            );
        }
        let on_device = self.is_device_topic(&frame.topic);
        match event {
            "join" if on_device => self.on_group_join(&payload, effects),
            "leave" if on_device => self.on_group_leave(&payload, effects),
            "error" => note(effects, &frame.topic, "the hub could not read a message"),
            "reconnect" => self.on_reconnect(&payload, now),
            "firmware_update" => self.on_offer(&payload, now, effects),
            name => self.on_command(name, payload, effects),
        }
    }

    /// A reference never used before on any connection of this run.
    fn fresh_ref(&mut self) -> u64 {
        let reference = self.next_ref;
        self.next_ref = self.next_ref.wrapping_add(1);
        reference
    }

    /// Writes a record to the memory and to disk.
    fn record(&mut self, record: Record, effects: &mut Vec<Effect>) {
        self.ledger.apply(record.clone());
        effects.push(Effect::Record(record));
    }
}

fn note(effects: &mut Vec<Effect>, subject: &str, reason: &'static str) {
    let subject = subject.chars().take(128).collect();
    effects.push(Effect::Note { subject, reason });
}

/// A reference of ours as a number; anything else was not ours.
fn number(reference: Option<&Ref>) -> Option<u64> {
    match reference? {
        Ref::Text(text) => text.parse().ok(),
        Ref::Int(number) => u64::try_from(*number).ok(),
    }
}

/// A pause the hub asked for, cut to what the device will follow.
fn hub_delay(payload: &Value, key: &str) -> Option<Duration> {
    payload
        .get(key)?
        .as_u64()
        .map(|millis| Duration::from_millis(millis).min(crate::limits::HUB_DELAY_CAP))
}

#[cfg(test)]
mod tests;
