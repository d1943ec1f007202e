//! Groups, targets and due commands: what the store says, and what the device must hear of it.
//!
//! Rules owned here: the reply to the join comes first, then the offer, then due commands; every answer of the store replaces
//! what was known; an entry is applied only when it continues what is known, and otherwise the store is read; a device that may have
//! left a group takes nothing from it before the store was read; one read at a time.

use std::time::Instant;

use hub_proto::close::CloseReason;
use hub_proto::cluster::HintBody;
use hub_proto::id::{ChannelId, GroupId, Seq};
use hub_proto::topic::group_topic;

use super::delivery::Due;
use super::effect::{Address, Answer, Effect, Note, Push, Report, Subscription};
use super::{Attached, Phase, Reconciled, Session, Unattached, Unavailable};
use crate::command::{ExecutionState, PendingCommand};
use crate::fanout::{Entry, News};
use crate::level::{Level, Membership, Standing};
use crate::target;

/// Stands for the position of a group of which nothing is believed until the store was read: every entry is a gap.
const UNREAD: Seq = Seq(-1);

/// A command is acknowledged, and its result is reported.
const ANSWERS_PER_COMMAND: u16 = 2;

impl Session {
    /// The store answered the join.
    pub(super) fn attached(
        &mut self,
        attempt: u32,
        outcome: Result<Attached, Unattached>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let join = match &self.phase {
            Phase::Attaching { join } if self.attempt == attempt => join.clone(),
            Phase::Attaching { .. } | Phase::Waiting | Phase::Attached { .. } | Phase::Closed => {
                return self.step_closed(super::Event::Attached { attempt, outcome }, out);
            }
        };
        let Attached {
            generation,
            reconciled,
        } = match outcome {
            Ok(attached) => attached,
            Err(why) => return self.join_failed(join, why, now, out),
        };
        if reconciled.level.standing != Standing::Active {
            out.push(Effect::Reply {
                to: join,
                answer: Answer::Error {
                    reason: "revoked",
                    retry_after: None,
                },
            });
            return self.close(CloseReason::Revoked, out);
        }
        self.phase = Phase::Attached { generation };
        self.channels.device = Some(join.subscription());
        let groups = reconciled
            .level
            .groups
            .iter()
            .map(|m| self.topic_of(m))
            .collect();
        out.push(Effect::Reply {
            to: join,
            answer: Answer::Groups(groups),
        });
        // A hint may have come while the store was busy; it says more than this snapshot, so look again.
        let missed = std::mem::take(&mut self.dirty) || self.device_known > reconciled.level.head;
        self.device_known = Seq::ZERO;
        self.apply(reconciled, false, now, out);
        if missed {
            self.reconcile(out);
        }
    }

    fn join_failed(&mut self, join: Address, why: Unattached, now: Instant, out: &mut Vec<Effect>) {
        self.phase = Phase::Waiting;
        let answer = match why {
            Unattached::Unavailable(unavailable) => Answer::Error {
                reason: "unavailable",
                retry_after: Some(unavailable.retry_after),
            },
            Unattached::Duplicate => self.barred(now),
        };
        out.push(Effect::Reply {
            to: join,
            answer: answer.clone(),
        });
        for (_, from) in std::mem::take(&mut self.joining) {
            out.push(Effect::Reply {
                to: from,
                answer: answer.clone(),
            });
        }
    }

    /// Reads the store, unless a read is under way: then once more after it.
    pub(super) fn reconcile(&mut self, out: &mut Vec<Effect>) {
        match self.phase {
            Phase::Attached { .. } | Phase::Waiting if !self.reconciling => {
                self.reconciling = true;
                out.push(Effect::Reconcile);
            }
            Phase::Attached { .. } | Phase::Attaching { .. } | Phase::Waiting => self.dirty = true,
            Phase::Closed => {}
        }
    }

    pub(super) fn reconciled(
        &mut self,
        outcome: Result<Reconciled, Unavailable>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        if !std::mem::take(&mut self.reconciling) {
            return;
        }
        match outcome {
            _ if std::mem::take(&mut self.void) => {}
            Ok(reconciled) if reconciled.level.standing != Standing::Active => {
                return self.close(CloseReason::Revoked, out);
            }
            // Who has joined nothing is only asked whether it may still be here.
            Ok(_) if matches!(self.phase, Phase::Waiting) => {}
            Ok(reconciled) => {
                self.retry_pause = crate::limits::RETRY_MIN;
                self.apply(reconciled, true, now, out);
            }
            Err(_) => {
                // It may have been the read for what did not fit.
                self.deliveries.set_behind();
                self.retry_later(now);
            }
        }
        if std::mem::take(&mut self.dirty) {
            self.reconcile(out);
        }
    }

    /// Takes over what the store says. `tell` is false at a join, whose reply lists the groups already.
    fn apply(&mut self, reconciled: Reconciled, tell: bool, now: Instant, out: &mut Vec<Effect>) {
        let Reconciled {
            level,
            pending,
            more,
        } = reconciled;
        let gone: Vec<GroupId> = self
            .known
            .iter()
            .map(|(g, _)| *g)
            .filter(|g| level.groups.iter().all(|m| m.group != *g))
            .collect();
        for group in gone {
            self.lose_group(group, now, out);
        }
        for membership in &level.groups {
            self.gain_group(membership, tell, out);
        }
        self.device_known = self.device_known.max(level.head);
        self.level = Some(level);
        self.settle_group_joins(now, out);
        self.offer(now, out);
        self.deliveries.read(pending, more);
        self.send_due(now, out);
    }

    fn gain_group(&mut self, membership: &Membership, tell: bool, out: &mut Vec<Effect>) {
        if let Some((group, known)) = self.known.iter_mut().find(|(g, _)| *g == membership.group) {
            if *known == UNREAD {
                // Its channel may have been started afresh meanwhile.
                out.push(Effect::Follow {
                    group: *group,
                    known: membership.head,
                });
            }
            *known = (*known).max(membership.head);
            return;
        }
        self.known.reserve_exact(1);
        self.known.push((membership.group, membership.head));
        out.push(Effect::Follow {
            group: membership.group,
            known: membership.head,
        });
        if tell && let Some(device) = &self.channels.device {
            let push = Push::Join {
                channel: self.topic_of(membership),
            };
            out.push(Effect::Push {
                on: device.clone(),
                push,
            });
        }
    }

    fn lose_group(&mut self, group: GroupId, now: Instant, out: &mut Vec<Effect>) {
        self.known.retain(|(g, _)| *g != group);
        self.end_group_join(group, now, out);
        self.deliveries.forget(ChannelId::Group(group));
        out.push(Effect::Unfollow(group));
        let Some(level) = &mut self.level else { return };
        let Some(at) = level.groups.iter().position(|m| m.group == group) else {
            return;
        };
        let membership = level.groups.remove(at);
        if let Some(device) = &self.channels.device {
            let push = Push::Leave {
                channel: self.topic_of(&membership),
            };
            out.push(Effect::Push {
                on: device.clone(),
                push,
            });
        }
    }

    /// The topic of a group the device is a member of.
    pub fn group_topic(&self, group: GroupId) -> Option<String> {
        let level = self.level.as_ref()?;
        level
            .groups
            .iter()
            .find(|m| m.group == group)
            .map(|m| self.topic_of(m))
    }

    fn topic_of(&self, membership: &Membership) -> String {
        group_topic(&self.identity.org, &self.identity.product, &membership.name)
    }

    /// The group whose channel has this topic, if the device is a member.
    pub(super) fn membership_of(&self, topic: &str) -> Option<GroupId> {
        let level = self.level.as_ref()?;
        level
            .groups
            .iter()
            .find(|m| self.topic_of(m) == topic)
            .map(|m| m.group)
    }

    /// The device's own channel moved.
    pub(super) fn hint(
        &mut self,
        seq: Seq,
        body: Option<HintBody>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        if seq <= self.device_known {
            return;
        }
        match (&self.phase, body) {
            (Phase::Attached { .. }, Some(HintBody::Command(body)))
                if seq == self.device_known.next() && !self.reconciling =>
            {
                self.device_known = seq;
                let command = PendingCommand {
                    id: body.id,
                    channel: ChannelId::Device(self.identity.device),
                    seq,
                    name: body.name,
                    args: body.args_json,
                    expires_at: body.expires_at,
                    state: ExecutionState::Queued,
                };
                self.deliveries.announced(command, None);
                self.send_due(now, out);
            }
            (Phase::Attaching { .. }, _) => self.dirty = true,
            (Phase::Waiting | Phase::Attached { .. } | Phase::Closed, _) => self.reconcile(out),
        }
    }

    /// A group's channel was started afresh.
    pub(super) fn refollow(&self, group: GroupId, out: &mut Vec<Effect>) {
        let known = self
            .known
            .iter()
            .find(|(g, known)| *g == group && *known != UNREAD);
        out.extend(known.map(|&(group, known)| Effect::Follow { group, known }));
    }

    /// A group's channel moved.
    pub(super) fn entry(
        &mut self,
        entry: &std::sync::Arc<Entry>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let Some((_, known)) = self.known.iter_mut().find(|(g, _)| *g == entry.group) else {
            return;
        };
        // The answer to a read under way may be older than this and would undo it.
        if entry.after > *known || self.reconciling {
            out.push(Effect::Note(Note::Gap));
            return self.reconcile(out);
        }
        match &entry.news {
            News::Command { command, .. } => {
                if entry.seq <= *known {
                    return;
                }
                *known = entry.seq;
                self.deliveries
                    .announced(command.clone(), Some(entry.clone()));
                self.send_due(now, out);
            }
            News::State { priority, target } => {
                if entry.seq < *known {
                    return;
                }
                *known = entry.seq;
                let membership = self
                    .level
                    .iter_mut()
                    .flat_map(|l| &mut l.groups)
                    .find(|m| m.group == entry.group);
                if let Some(membership) = membership {
                    membership.priority = *priority;
                    membership.target.clone_from(target);
                }
                self.offer(now, out);
            }
            News::Left(left) => {
                if left.may_concern(self.identity.device, *known) {
                    *known = UNREAD;
                    self.reconcile(out);
                }
            }
            News::Gone => {
                self.lose_group(entry.group, now, out);
                self.offer(now, out);
                // What the group was told before its end is still due.
                self.reconcile(out);
            }
        }
    }

    /// Offers the target in effect if the device is not on it and was not told on this socket.
    fn offer(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let Some(level) = &self.level else { return };
        let Some((source, target)) = target::effective(level) else {
            return;
        };
        let same =
            |offered: &(Box<str>, Seq)| offered.0 == target.uuid && offered.1 == target.revision;
        if target::is_on(&self.running, target) || self.offered.as_ref().is_some_and(same) {
            return;
        }
        if self
            .downloading
            .as_deref()
            .is_some_and(|uuid| uuid.eq_ignore_ascii_case(&target.uuid))
        {
            // It is at it already: a repeat would only count as one more offer in vain.
            self.offered = Some((target.uuid.clone(), target.revision));
            return;
        }
        let channel = source.channel(self.identity.device);
        let wait = offer_wait(level, channel, target.revision);
        if !wait.is_zero() {
            self.offer_at = Some(now + wait);
            return;
        }
        let on = match source {
            target::Source::Group(group) => {
                self.channels.group(group).or(self.channels.device.as_ref())
            }
            target::Source::Device => self.channels.device.as_ref(),
        };
        let Some(on) = on.cloned() else { return };
        self.offer_at = None;
        self.offered = Some((target.uuid.clone(), target.revision));
        let (target, revision) = (target.clone(), target.revision);
        out.push(Effect::Push {
            on,
            push: Push::Offer { channel, target },
        });
        out.push(Effect::Record {
            report: Report::Offered { channel, revision },
            receipt: None,
        });
    }

    /// Sends what may be sent now.
    pub(super) fn send_due(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let due = self.deliveries.pump(now, out);
        let any = !due.is_empty();
        for Due { command, entry } in due {
            self.rate.ask(ANSWERS_PER_COMMAND);
            self.push_command(command, entry, out);
        }
        if any && !self.capabilities.ack {
            let number = self.number();
            if self.deliveries.cover(number) {
                out.push(Effect::Ping(number));
            }
        }
        self.refill(out);
    }

    /// Sends one command: on its group's channel if the device joined that, else on the device channel.
    pub(super) fn push_command(
        &self,
        command: PendingCommand,
        entry: Option<std::sync::Arc<Entry>>,
        out: &mut Vec<Effect>,
    ) {
        let group: Option<&Subscription> = match command.channel {
            ChannelId::Group(group) => self.channels.group(group),
            ChannelId::Device(_) | ChannelId::Org(_) => None,
        };
        match (group, entry, &self.channels.device) {
            (Some(on), Some(entry), _) => out.push(Effect::Tail {
                join_ref: on.join_ref.clone(),
                entry,
            }),
            (Some(on), None, _) => out.push(Effect::Push {
                on: on.clone(),
                push: Push::Command(command),
            }),
            (None, _, Some(device)) => out.push(Effect::Push {
                on: device.clone(),
                push: Push::Command(command),
            }),
            (None, _, None) => {}
        }
    }

    /// A device's join of a group's channel is over.
    pub(super) fn end_group_join(&mut self, group: GroupId, now: Instant, out: &mut Vec<Effect>) {
        if self.channels.leave_group(group) {
            self.send_again(group, now, out);
        }
    }

    /// A join of a group's channel ended or was replaced. A device that has left ignores what still comes on it, and later
    /// commands take another way: so what may have been ignored goes first.
    pub(super) fn send_again(&mut self, group: GroupId, now: Instant, out: &mut Vec<Effect>) {
        for command in self.deliveries.again(ChannelId::Group(group), now) {
            out.push(Effect::Note(Note::Resent));
            self.push_command(command, None, out);
        }
    }

    /// Reads on when the store has more and there is room again.
    pub(super) fn refill(&mut self, out: &mut Vec<Effect>) {
        if self.retry_at.is_none() && !self.reconciling && self.deliveries.wants_read() {
            self.reconcile(out);
        }
    }
}

fn offer_wait(level: &Level, channel: ChannelId, revision: Seq) -> std::time::Duration {
    match &level.offers {
        Some(offers) if offers.channel == channel && offers.revision == revision => {
            target::offer_wait(offers.count, offers.ago)
        }
        Some(_) | None => std::time::Duration::ZERO,
    }
}
