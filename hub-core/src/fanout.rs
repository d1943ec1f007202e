//! One group channel on one node: whom it reaches here, and each message encoded once.
//!
//! Rules owned here: a hint is trusted only when it continues what is known, and otherwise causes one read at a time; an
//! entry says which stretch of the channel it covers, so a member that has a gap notices; who left is said before any
//! command that came after; the frame of a command is encoded once, whatever the number of members.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hub_proto::cluster::HintBody;
use hub_proto::id::{ChannelId, DeviceId, GroupId, Seq};
use hub_proto::tail::Tail;

use crate::command::{ExecutionState, PendingCommand};
use crate::level::Target;
use crate::limits::{RETRY_MAX, RETRY_MIN};

/// A stretch of a group's channel, shared by all members.
#[derive(Debug)]
pub struct Entry {
    /// The group.
    pub group: GroupId,
    /// The stretch starts after this position…
    pub after: Seq,
    /// …and ends here.
    pub seq: Seq,
    /// What happened.
    pub news: News,
}

/// Entries are compared by what they cover: the encoded frame follows from it.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.group, self.after, self.seq) == (other.group, other.after, other.seq)
    }
}

/// What happened in a group's channel.
#[derive(Debug)]
pub enum News {
    /// A command, with its frame for members that joined the group's channel.
    Command {
        /** The command. */
        command: PendingCommand,
        /** Its frame, encoded once. */
        tail: Tail,
    },
    /// The group's priority or target, as it is now.
    State {
        /** Precedence. */
        priority: i32,
        /** Target. */
        target: Option<Arc<Target>>,
    },
    /// Memberships ended.
    Left(Left),
    /// The group was deleted.
    Gone,
}

/// Whose memberships ended above a position of a group's channel.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// The devices, each with the position of its leave.
    pub devices: Vec<(DeviceId, Seq)>,
    /// There are more than can be named.
    pub more: bool,
}

impl Left {
    /// Whether a device that knows the channel up to `known` may have lost its membership since.
    pub fn may_concern(&self, device: DeviceId, known: Seq) -> bool {
        let named = |(left, seq): &(DeviceId, Seq)| *left == device && *seq > known;
        self.more || self.devices.iter().any(named)
    }
}

/// What a group channel is told.
#[derive(Debug)]
pub enum Event<M> {
    /// A member's socket takes part; it knows the channel up to `known`.
    Follow {
        /** The socket. */
        member: M,
        /** What it has. */
        known: Seq,
    },
    /// A member's socket takes no further part.
    Unfollow(M),
    /// The bus or the poller says that the channel moved.
    Hint {
        /** Its head. */
        seq: Seq,
        /** The command, if it came along. */
        body: Option<HintBody>,
    },
    /// Answer to [`Effect::Load`].
    Loaded(Loaded),
    /// The answer to [`Effect::Load`] did not come.
    LoadFailed,
    /// The deadline has passed.
    Deadline,
}

/// What was read of a group's channel.
#[derive(Debug)]
pub struct Loaded {
    /// Its head; `None` when the group is gone.
    pub head: Option<Seq>,
    /// Precedence.
    pub priority: i32,
    /// Target.
    pub target: Option<Arc<Target>>,
    /// Commands above what was asked, oldest first.
    pub commands: Vec<PendingCommand>,
    /// There are more.
    pub more: bool,
    /// Who left above what was asked.
    pub left: Left,
}

/// What a group channel asks for.
#[derive(Debug, PartialEq)]
pub enum Effect<M> {
    /// Hand the entry to every member.
    Deliver(Arc<Entry>),
    /// Tell the new member where the channel is.
    Followed {
        /** The socket. */
        member: M,
        /** Known head. */
        head: Seq,
    },
    /// Read the channel above this position.
    Load {
        /** The position. */
        after: Seq,
    },
    /// Nobody is left: the channel may end.
    Empty,
}

/// The machine. `M` identifies a member's socket.
#[derive(Debug)]
pub struct Fanout<M> {
    group: GroupId,
    topic: Box<str>,
    members: BTreeSet<M>,
    known: Option<Seq>,
    /// A read is under way.
    loading: bool,
    /// The furthest position announced since the last read began. It decides whether one more read is worth it, and no
    /// more: a position nobody reaches must not be read for again and again.
    wanted: Seq,
    retry: Option<Instant>,
    pause: Duration,
}

impl<M: Clone + Ord> Fanout<M> {
    /// A channel without members.
    pub fn new(group: GroupId, topic: String) -> Self {
        Self {
            group,
            topic: topic.into_boxed_str(),
            members: BTreeSet::new(),
            known: None,
            loading: false,
            wanted: Seq::ZERO,
            retry: None,
            pause: RETRY_MIN,
        }
    }

    /// Members on this node.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &M> {
        self.members.iter()
    }

    /// Steps the machine.
    pub fn step(&mut self, event: Event<M>, now: Instant, out: &mut Vec<Effect<M>>) {
        match event {
            Event::Follow { member, known } => self.follow(member, known, out),
            Event::Unfollow(member) => {
                if self.members.remove(&member) && self.members.is_empty() {
                    out.push(Effect::Empty);
                }
            }
            Event::Hint { seq, body } => self.hint(seq, body, out),
            Event::Loaded(loaded) => self.loaded(loaded, out),
            Event::LoadFailed => {
                self.loading = false;
                self.retry = Some(now + self.pause);
                self.pause = (self.pause * 2).min(RETRY_MAX);
            }
            Event::Deadline => {
                // Without members nothing is read, and the retry stays due for the next one.
                if self.retry.is_some_and(|at| at <= now) {
                    self.load(out);
                }
            }
        }
    }

    /// When to be stepped with [`Event::Deadline`].
    pub fn deadline(&self) -> Option<Instant> {
        self.retry
    }

    /// What was announced before this channel was there, or while it had no member, reached nobody: it is read.
    fn follow(&mut self, member: M, known: Seq, out: &mut Vec<Effect<M>>) {
        self.members.replace(member.clone());
        let started = self.known.is_none();
        let head = *self.known.get_or_insert(known);
        out.push(Effect::Followed { member, head });
        if started || self.wanted > head {
            self.load(out);
        }
    }

    fn hint(&mut self, seq: Seq, body: Option<HintBody>, out: &mut Vec<Effect<M>>) {
        let Some(known) = self.known else { return };
        if seq <= known {
            return;
        }
        self.wanted = self.wanted.max(seq);
        match body {
            Some(HintBody::Command(body)) if seq == known.next() && !self.loading => {
                let command = PendingCommand {
                    id: body.id,
                    channel: ChannelId::Group(self.group),
                    seq,
                    name: body.name,
                    args: body.args_json,
                    expires_at: body.expires_at,
                    state: ExecutionState::Queued,
                };
                self.command(command, out);
            }
            Some(HintBody::Command(_)) | None => self.load(out),
        }
    }

    fn load(&mut self, out: &mut Vec<Effect<M>>) {
        let Some(after) = self.known else { return };
        if !self.loading && !self.members.is_empty() {
            self.loading = true;
            self.wanted = Seq::ZERO;
            self.retry = None;
            out.push(Effect::Load { after });
        }
    }

    fn loaded(&mut self, loaded: Loaded, out: &mut Vec<Effect<M>>) {
        self.loading = false;
        self.pause = RETRY_MIN;
        let Some(head) = loaded.head else {
            self.deliver(self.known.unwrap_or(Seq::ZERO).next(), News::Gone, out);
            return;
        };
        if loaded.left.more || !loaded.left.devices.is_empty() {
            // It covers no stretch: it only comes before what must not reach them.
            let known = self.known.unwrap_or(Seq::ZERO);
            self.deliver(known, News::Left(loaded.left), out);
        }
        for command in loaded.commands {
            self.command(command, out);
        }
        if !loaded.more {
            self.deliver(
                head,
                News::State {
                    priority: loaded.priority,
                    target: loaded.target,
                },
                out,
            );
        }
        if loaded.more || self.known < Some(self.wanted) {
            self.load(out);
        }
    }

    fn command(&mut self, command: PendingCommand, out: &mut Vec<Effect<M>>) {
        let payload = hub_proto::push::command_payload(command.id, &command.args);
        let tail = Tail::new(&self.topic, &command.name, &payload);
        self.deliver(command.seq, News::Command { command, tail }, out);
    }

    fn deliver(&mut self, seq: Seq, news: News, out: &mut Vec<Effect<M>>) {
        let after = self.known.unwrap_or(Seq::ZERO);
        let repeats = matches!(news, News::Command { .. }) && seq <= after;
        if repeats {
            return;
        }
        let seq = seq.max(after);
        self.known = Some(seq);
        out.push(Effect::Deliver(Arc::new(Entry {
            group: self.group,
            after,
            seq,
            news,
        })));
    }
}

#[cfg(test)]
mod tests;
