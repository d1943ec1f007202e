//! Commands on their way over one socket: claim, send, acknowledge, send again.
//!
//! Rules owned here: at most `UNACKED_COMMANDS_MAX` commands are sent and not known to the store as acknowledged, which is what a
//! device may hear again after a crash; a command of the device's own channel is claimed before it is sent; order inside a channel
//! is kept, so what is pushed waits in the store while earlier commands do; a device that declared acks and stays silent is sent the
//! command again, then its socket counts as half-open; what was sent on a group's channel is sent again when the join of it ends, as
//! the device may have left before it heard; for a device that cannot ack, the pong that answers a ping sent after the
//! command is the evidence that it has arrived.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use hub_proto::id::{ChannelId, CommandId};

use super::effect::Effect;
use crate::command::{ExecutionState, PendingCommand};
use crate::fanout::Entry;
use crate::limits::{ACK_MAX, SENDS_MAX, UNACKED_COMMANDS_MAX};

/// A command that was sent and not acknowledged.
#[derive(Clone, Debug)]
struct Unacked {
    command: PendingCommand,
    sent_at: Instant,
    sends: u8,
    /// Number of the ping that followed it.
    ping: Option<u32>,
}

/// All commands of one socket that are under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Deliveries {
    unacked: Vec<Unacked>,
    waiting: VecDeque<(PendingCommand, Option<Arc<Entry>>)>,
    /// Acknowledged, and the acknowledgement is not committed yet.
    settling: Vec<CommandId>,
    /// Committed while a read of the store was under way, whose answer may be older than that commit.
    settled: Vec<CommandId>,
    /// Asked for, and the store has not answered.
    claiming: Vec<CommandId>,
    /// The store has more than is here; nothing new is taken before it was read, or it would overtake the older.
    behind: bool,
}

/// A command whose turn has come.
pub(super) struct Due {
    pub(super) command: PendingCommand,
    /// The shared frame, when the command came through the fan-out.
    pub(super) entry: Option<Arc<Entry>>,
}

/// What to do about commands that were not acknowledged in time.
pub(super) enum Overdue {
    /// Nothing is overdue.
    None,
    /// Send these again.
    Again(Vec<PendingCommand>),
    /// It had its chances.
    HalfOpen,
}

impl Deliveries {
    /// Takes a command that was announced, unless older ones must be read first: then the store keeps it, too.
    pub(super) fn announced(&mut self, command: PendingCommand, entry: Option<Arc<Entry>>) {
        if !self.behind {
            self.take(command, entry);
        }
    }

    /// Takes what the store says is due; `more` when it did not say all.
    pub(super) fn read(&mut self, pending: Vec<PendingCommand>, more: bool) {
        self.behind = more;
        for command in pending {
            self.take(command, None);
        }
        // What the read did not know of has no more meaning.
        self.settled = Vec::new();
    }

    /// Takes a due command, unless it is under way already or there is no room (then the store keeps it).
    fn take(&mut self, command: PendingCommand, entry: Option<Arc<Entry>>) {
        if command.state > ExecutionState::Sent || self.knows(command.id) {
            return;
        }
        if self.unsettled() + self.waiting.len() >= UNACKED_COMMANDS_MAX {
            self.behind = true;
            return;
        }
        self.waiting.push_back((command, entry));
    }

    /// Commands that the device has been sent and the store still counts as due.
    fn unsettled(&self) -> usize {
        self.unacked.len() + self.settling.len()
    }

    fn knows(&self, id: CommandId) -> bool {
        self.settling.contains(&id)
            || self.settled.contains(&id)
            || self.unacked.iter().any(|u| u.command.id == id)
            || self.waiting.iter().any(|(c, _)| c.id == id)
    }

    /// The store has commands that did not fit.
    pub(super) fn set_behind(&mut self) {
        self.behind = true;
    }

    /// Whether it is time to read the store again.
    pub(super) fn wants_read(&self) -> bool {
        self.behind && self.waiting.is_empty() && self.unsettled() <= UNACKED_COMMANDS_MAX / 2
    }

    /// Commands that may be sent now, in order; a claim is asked for where one is needed first.
    pub(super) fn pump(&mut self, now: Instant, out: &mut Vec<Effect>) -> Vec<Due> {
        let mut due = Vec::new();
        while self.claiming.is_empty() {
            let Some((front, _)) = self.waiting.front() else {
                break;
            };
            if needs_claim(front) {
                let run = self
                    .waiting
                    .iter()
                    .map(|(c, _)| c)
                    .take_while(|c| needs_claim(c));
                self.claiming = run.map(|c| c.id).collect();
                out.push(Effect::Claim(self.claiming.clone()));
                break;
            }
            let Some((command, entry)) = self.waiting.pop_front() else {
                break;
            };
            self.unacked.push(Unacked {
                command: command.clone(),
                sent_at: now,
                sends: 1,
                ping: None,
            });
            due.push(Due { command, entry });
        }
        due
    }

    /// The store answered a claim: `granted` may be sent, the rest of what was asked may not.
    pub(super) fn claimed(&mut self, granted: &[CommandId]) {
        let asked = std::mem::take(&mut self.claiming);
        self.waiting
            .retain(|(c, _)| !asked.contains(&c.id) || granted.contains(&c.id));
        for (command, _) in &mut self.waiting {
            if asked.contains(&command.id) {
                command.state = ExecutionState::Sent;
            }
        }
    }

    /// The claim could not be written: leave the commands to the store and read them again later.
    pub(super) fn claim_failed(&mut self) {
        if !std::mem::take(&mut self.claiming).is_empty() {
            self.waiting.clear();
            self.behind = true;
        }
    }

    /// Marks everything sent so far without a ping as covered by this one; false when there is nothing.
    pub(super) fn cover(&mut self, ping: u32) -> bool {
        let mut any = false;
        for unacked in self.unacked.iter_mut().filter(|u| u.ping.is_none()) {
            unacked.ping = Some(ping);
            any = true;
        }
        any
    }

    /// The pong with this number arrived: what it covers has arrived too.
    pub(super) fn ponged(&mut self, pong: u32) -> Vec<CommandId> {
        let covered = |u: &Unacked| u.ping.is_some_and(|ping| ping <= pong);
        let ids: Vec<_> = self
            .unacked
            .iter()
            .filter(|u| covered(u))
            .map(|u| u.command.id)
            .collect();
        self.unacked.retain(|u| !covered(u));
        self.settling.extend(&ids);
        ids
    }

    /// The device has this command; whether that is news.
    pub(super) fn acked(&mut self, id: CommandId) -> bool {
        let before = self.unacked.len();
        self.unacked.retain(|u| u.command.id != id);
        let news = self.unacked.len() < before;
        if news {
            self.settling.push(id);
        }
        news
    }

    /// The store has the news about this command, or will hear it again. The command stays known while a read is under way that
    /// may be older than the news.
    pub(super) fn settled(&mut self, id: CommandId, reading: bool) {
        self.settling.retain(|s| *s != id);
        if reading {
            self.settled.push(id);
        }
    }

    /// Forgets commands of a channel the device no longer follows, as far as they were not sent.
    pub(super) fn forget(&mut self, channel: ChannelId) {
        if self.claiming.is_empty() {
            self.waiting.retain(|(c, _)| c.channel != channel);
        }
    }

    /// What was sent of a channel and is not acknowledged, in the order in which it was sent; it is sent again now.
    pub(super) fn again(&mut self, channel: ChannelId, now: Instant) -> Vec<PendingCommand> {
        let of_channel = |u: &&mut Unacked| u.command.channel == channel;
        let unacked = self.unacked.iter_mut().filter(of_channel);
        unacked
            .map(|unacked| {
                unacked.sent_at = now;
                unacked.command.clone()
            })
            .collect()
    }

    /// When [`Self::overdue`] has something to say.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.unacked.iter().map(|u| u.sent_at + ACK_MAX).min()
    }

    /// Looks at what the device did not acknowledge in time.
    pub(super) fn overdue(&mut self, now: Instant) -> Overdue {
        let mut again = Vec::new();
        for unacked in self
            .unacked
            .iter_mut()
            .filter(|u| u.sent_at + ACK_MAX <= now)
        {
            if unacked.sends >= SENDS_MAX {
                return Overdue::HalfOpen;
            }
            unacked.sends += 1;
            unacked.sent_at = now;
            again.push(unacked.command.clone());
        }
        if again.is_empty() {
            Overdue::None
        } else {
            Overdue::Again(again)
        }
    }
}

fn needs_claim(command: &PendingCommand) -> bool {
    match command.channel {
        ChannelId::Device(_) => command.state == ExecutionState::Queued,
        ChannelId::Group(_) | ChannelId::Org(_) => false,
    }
}
