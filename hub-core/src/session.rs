//! One device socket's memory: what it joined, what it was told, what it still owes.
//!
//! ```text
//!            join ok, or retry            device join                 store answers
//!   Opened ───────────────▶ Waiting ───────────────▶ Attaching ───────────────▶ Attached
//!                              ▲                          │ refused: Close          │ leave          
//!                              └──────────────────────────┴─────────────────────────┘
//! ```
//! The machine decides everything that is said on the socket and writes nothing itself. It must not be told things
//! out of order: events of one socket come from one actor. Its parts own a rule each: [`channels`], [`delivery`],
//! [`contest`] (two holders of one identity), [`inbound`] (what a device may say), [`level`] (groups and targets), [`liveness`], [`updates`] (whose report it is).

mod channels;
mod contest;
mod delivery;
mod effect;
mod inbound;
mod level;
mod liveness;
mod updates;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hub_proto::close::CloseReason;
use hub_proto::cluster::HintBody;
use hub_proto::event::{Capabilities, DeviceEvent, EventError, Progress};
use hub_proto::id::{CommandId, ConnGen, DeviceId, GroupId, Seq};
use hub_proto::slug::Slug;

use crate::command::PendingCommand;
use crate::fanout::Entry;
use crate::level::{Level, Standing};
use crate::limits::{FIRST_JOIN_MAX, PROGRESS_EVERY, RETRY_MAX, RETRY_MIN};
use crate::rate::{MalformedRate, MessageRate};
use crate::target::Running;
use channels::Channels;
use contest::Contest;
use delivery::{Deliveries, Overdue};
pub use effect::{Address, Answer, Effect, Note, Push, Report, Subscription};
use liveness::Liveness;

/// What a session is told.
#[derive(Debug)]
pub enum Event {
    /// A frame arrived, and its envelope could be read.
    Frame(Inbound),
    /// A message arrived that is no frame; with where to answer if its refs could be read.
    Malformed {
        /** Whom to answer. */
        to: Option<Address>,
        /** Stable code. */
        code: &'static str,
    },
    /// A WebSocket ping arrived.
    Pinged,
    /// A WebSocket pong arrived, with the number of the ping it answers if it is one of ours.
    Ponged(Option<u32>),
    /// Answer to [`Effect::Attach`].
    Attached {
        /** Which attempt. */
        attempt: u32,
        /** What the store says. */
        outcome: Result<Attached, Unattached>,
    },
    /// Answer to [`Effect::Reconcile`].
    Reconciled(Result<Reconciled, Unavailable>),
    /// Answer to [`Effect::Claim`].
    Claimed(Result<Vec<CommandId>, Unavailable>),
    /// Answer to [`Effect::Record`] with a receipt.
    Recorded {
        /** Which. */
        receipt: u32,
        /** What became of it. */
        outcome: Recorded,
    },
    /// The device's own channel moved.
    Hint {
        /** Its head. */
        seq: Seq,
        /** The command, if it came along. */
        body: Option<HintBody>,
    },
    /// A group's channel moved.
    Entry(Arc<Entry>),
    /// Entries were dropped because they came too fast.
    Lagged,
    /// Answer to [`Effect::Follow`].
    Followed {
        /** The group. */
        group: GroupId,
        /** Its channel's head. */
        head: Seq,
    },
    /// The group's channel on this node was started afresh: follow it again.
    Refollow(GroupId),
    /// The socket's identity may have been revoked: look again.
    Recheck,
    /// A newer join owns the device.
    Superseded,
    /// Somebody else wants to join as this device, again and again: is the peer of this generation still there?
    Challenged(ConnGen),
    /// The node stops: come back after this long.
    Drain {
        /** The wait. */
        after: Duration,
    },
    /// The deadline has passed.
    Deadline,
}

/// A frame of a device.
#[derive(Debug)]
pub struct Inbound {
    /// Refs and topic.
    pub from: Address,
    /// What it says.
    pub event: Result<DeviceEvent, EventError>,
}

/// The store's answer to a join.
#[derive(Clone, Debug)]
pub struct Attached {
    /// This join's generation.
    pub generation: ConnGen,
    /// What the device lacks.
    pub reconciled: Reconciled,
}

/// The store's answer to a read.
#[derive(Clone, Debug)]
pub struct Reconciled {
    /// Standing, targets, groups.
    pub level: Level,
    /// Due commands.
    pub pending: Vec<PendingCommand>,
    /// There are more.
    pub more: bool,
}

/// The store cannot answer now; a device may be told to try again after this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// Jittered by the caller.
    pub retry_after: Duration,
}

/// Why a join did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unattached {
    /// The store cannot say.
    Unavailable(Unavailable),
    /// Another socket holds the identity, and its peer answered when it was asked.
    Duplicate,
}

impl From<Unavailable> for Unattached {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable)
    }
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Committed.
    Done,
    /// No such command for this device.
    NotFound,
    /// A newer join owns the device.
    Fenced,
    /// Not written; the device should send it again.
    Unavailable(Unavailable),
}

/// Whose socket it is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The device.
    pub device: DeviceId,
    /// Its org's name.
    pub org: Slug,
    /// Its product's name.
    pub product: Slug,
}

#[derive(Clone, Debug)]
enum Phase {
    /// No device channel is joined.
    Waiting,
    /// The store was asked.
    Attaching { join: Address },
    /// The device channel is joined.
    Attached { generation: ConnGen },
    /// Nothing more happens.
    Closed,
}

/// A report that waits for its commit.
#[derive(Clone, Debug)]
struct InFlight {
    receipt: u32,
    /// The join it was written under: a fence that stops it says nothing about a later one.
    attempt: u32,
    /// Where the reply goes, for devices that may get one.
    to: Option<Address>,
    /// The command whose acknowledgement settles with it.
    command: Option<CommandId>,
}

/// The machine of one device socket.
#[derive(Clone, Debug)]
pub struct Session {
    identity: Identity,
    phase: Phase,
    /// The last join attempt, or receipt, or ping: one counter for all numbers that are only compared.
    counter: u32,
    attempt: u32,
    channels: Channels,
    /// Group joins that wait for the store.
    joining: Vec<(String, Address)>,
    capabilities: Capabilities,
    /// The device has joined at least once on this socket; from then on, silence towards those that declared no acks.
    spoken_for: bool,
    running: Running,
    level: Option<Level>,
    /// Positions up to which each followed group is known, in the order of `level.groups`.
    known: Vec<(GroupId, Seq)>,
    device_known: Seq,
    /// The firmware the device said at its join that it is downloading.
    downloading: Option<Box<str>>,
    /// The last target offered on this socket.
    offered: Option<(Box<str>, Seq)>,
    offer_at: Option<Instant>,
    deliveries: Deliveries,
    in_flight: Vec<InFlight>,
    progress: Option<Progress>,
    progress_at: Option<Instant>,
    reconciling: bool,
    /// The read under way was asked for by an earlier join: its answer is older than what is known.
    void: bool,
    dirty: bool,
    retry_at: Option<Instant>,
    retry_pause: Duration,
    first_join_by: Option<Instant>,
    liveness: Liveness,
    rate: MessageRate,
    malformed_rate: Option<Box<MalformedRate>>,
    contest: Option<Box<Contest>>,
}

impl Session {
    /// A socket that was just upgraded.
    pub fn new(identity: Identity, now: Instant) -> Self {
        Self {
            identity,
            phase: Phase::Waiting,
            counter: 0,
            attempt: 0,
            channels: Channels::default(),
            joining: Vec::new(),
            capabilities: Capabilities::default(),
            spoken_for: false,
            running: Running::default(),
            level: None,
            known: Vec::new(),
            device_known: Seq::ZERO,
            downloading: None,
            offered: None,
            offer_at: None,
            deliveries: Deliveries::default(),
            in_flight: Vec::new(),
            progress: None,
            progress_at: None,
            reconciling: false,
            void: false,
            dirty: false,
            retry_at: None,
            retry_pause: RETRY_MIN,
            first_join_by: Some(now + FIRST_JOIN_MAX),
            liveness: Liveness::new(now),
            rate: MessageRate::new(now),
            malformed_rate: None,
            contest: None,
        }
    }

    /// Steps the machine: total, deterministic, with a bounded number of effects.
    pub fn step(&mut self, event: Event, now: Instant, out: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Closed) {
            return self.step_closed(event, out);
        }
        match event {
            Event::Frame(frame) => self.frame(frame, now, out),
            Event::Malformed { to, code } => self.malformed(to, code, now, out),
            Event::Pinged => self.pinged(now, out),
            Event::Ponged(number) => self.ponged(number, now, out),
            Event::Attached { attempt, outcome } => self.attached(attempt, outcome, now, out),
            Event::Reconciled(outcome) => self.reconciled(outcome, now, out),
            Event::Claimed(Ok(granted)) => {
                self.deliveries.claimed(&granted);
                self.send_due(now, out);
            }
            Event::Claimed(Err(_)) => {
                self.deliveries.claim_failed();
                self.retry_later(now);
            }
            Event::Recorded { receipt, outcome } => self.recorded(receipt, outcome, now, out),
            Event::Hint { seq, body } => self.hint(seq, body, now, out),
            Event::Entry(entry) => self.entry(&entry, now, out),
            Event::Lagged | Event::Recheck => self.reconcile(out),
            Event::Followed { group, head } => {
                if self
                    .known
                    .iter()
                    .any(|(g, known)| *g == group && head > *known)
                {
                    out.push(Effect::Note(Note::Gap));
                    self.reconcile(out);
                }
            }
            Event::Refollow(group) => self.refollow(group, out),
            Event::Superseded => self.close(CloseReason::Superseded, out),
            Event::Challenged(generation) => self.challenged(generation, now, out),
            Event::Drain { after } => self.drain(after, out),
            Event::Deadline => self.deadlines(now, out),
        }
    }

    /// When to be stepped with [`Event::Deadline`]; `None` when closed.
    pub fn deadline(&self) -> Option<Instant> {
        if matches!(self.phase, Phase::Closed) {
            return None;
        }
        let acks = if self.capabilities.ack {
            self.deliveries.deadline()
        } else {
            None
        };
        let progress = self.progress.as_ref().and(self.progress_at);
        [
            self.first_join_by,
            self.retry_at,
            self.offer_at,
            acks,
            progress,
        ]
        .into_iter()
        .flatten()
        .chain([self.liveness.deadline()])
        .min()
    }

    /// This socket's generation while its device channel is joined.
    pub fn generation(&self) -> Option<ConnGen> {
        match self.phase {
            Phase::Attached { generation } => Some(generation),
            Phase::Waiting | Phase::Attaching { .. } | Phase::Closed => None,
        }
    }

    /// Whether everything is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Ends the session because its socket is gone; releases what it held.
    pub fn gone(&mut self, out: &mut Vec<Effect>) {
        self.release(out);
        self.phase = Phase::Closed;
    }

    /// A join that the store only now answers must still be released.
    fn step_closed(&mut self, event: Event, out: &mut Vec<Effect>) {
        if let Event::Attached {
            outcome:
                Ok(Attached {
                    generation,
                    reconciled,
                }),
            ..
        } = event
            && reconciled.level.standing == Standing::Active
        {
            out.push(Effect::Record {
                report: Report::Detach(generation),
                receipt: None,
            });
        }
    }

    fn close(&mut self, reason: CloseReason, out: &mut Vec<Effect>) {
        self.release(out);
        self.phase = Phase::Closed;
        out.push(Effect::Close(reason));
    }

    /// Gives up what the device channel stands for: group fan-outs and the connection row.
    fn release(&mut self, out: &mut Vec<Effect>) {
        self.flush_progress(out);
        for (group, _) in self.known.drain(..) {
            out.push(Effect::Unfollow(group));
        }
        if let Phase::Attached { generation } = self.phase {
            out.push(Effect::Record {
                report: Report::Detach(generation),
                receipt: None,
            });
        }
        self.level = None;
        self.deliveries = Deliveries::default();
        self.offered = None;
        self.offer_at = None;
        self.void = self.reconciling;
        self.dirty = false;
        self.retry_at = None;
        self.phase = Phase::Waiting;
    }

    fn drain(&mut self, after: Duration, out: &mut Vec<Effect>) {
        if self.capabilities.ack
            && let Some(device) = &self.channels.device
        {
            out.push(Effect::Push {
                on: device.clone(),
                push: Push::Reconnect { after },
            });
        }
        self.close(CloseReason::Restarting, out);
    }

    fn deadlines(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.first_join_by.is_some_and(|by| by <= now) {
            return self.close(CloseReason::JoinTimeout, out);
        }
        match self.liveness.check(now) {
            liveness::Check::Fine => {}
            liveness::Check::Ping => {
                let number = self.number();
                out.push(Effect::Ping(number));
            }
            liveness::Check::Dead => return self.close(CloseReason::Silent, out),
        }
        if self.capabilities.ack {
            match self.deliveries.overdue(now) {
                Overdue::None => {}
                Overdue::Again(commands) => {
                    for command in commands {
                        out.push(Effect::Note(Note::Resent));
                        self.push_command(command, None, out);
                    }
                    let number = self.number();
                    if self.liveness.ask(number) {
                        out.push(Effect::Ping(number));
                    }
                }
                Overdue::HalfOpen if self.liveness.is_deaf(now) => {
                    return self.close(CloseReason::SlowConsumer, out);
                }
                Overdue::HalfOpen => return self.close(CloseReason::AckTimeout, out),
            }
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.reconcile(out);
        }
        if self.offer_at.is_some_and(|at| at <= now) {
            // How long to wait is the store's to say: it counts offers over all sockets of the device.
            self.offer_at = None;
            self.reconcile(out);
        }
        if self.progress.is_some() && self.progress_at.is_some_and(|at| at <= now) {
            self.flush_progress(out);
            self.progress_at = Some(now + PROGRESS_EVERY);
        }
    }

    /// Reads the store again after a pause. Failures that come together, as those of one batch do, make it longer once.
    fn retry_later(&mut self, now: Instant) {
        if self.retry_at.is_some() {
            return;
        }
        self.retry_at = Some(now + self.retry_pause);
        self.retry_pause = (self.retry_pause * 2).min(RETRY_MAX);
    }

    fn number(&mut self) -> u32 {
        self.counter = self.counter.wrapping_add(1);
        self.counter
    }
}

#[cfg(test)]
mod tests;
