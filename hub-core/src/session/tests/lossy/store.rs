//! The store of a lossy world, which is always right: commands, one device's memberships in one group, and what was committed.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::fanout::{Left, Loaded};
use crate::limits::UNACKED_COMMANDS_MAX;

/// The group that the device enters and leaves.
pub(super) const GROUP: GroupId = GroupId(1);
/// Commands of one answer to a group's channel; few, so that there are more.
const CATCH_UP: usize = 4;

/// The device's own channel.
pub(super) fn own_channel() -> ChannelId {
    ChannelId::Device(DEVICE)
}

/// The group's.
pub(super) fn group_channel() -> ChannelId {
    ChannelId::Group(GROUP)
}

#[derive(Debug, Default)]
pub(super) struct Store {
    heads: BTreeMap<ChannelId, i64>,
    /// In the order in which they were given.
    commands: Vec<PendingCommand>,
    /// Where each membership begins, and where it ended.
    members: Vec<(i64, Option<i64>)>,
    pub(super) committed: BTreeSet<CommandId>,
}

impl Store {
    pub(super) fn head(&self, channel: ChannelId) -> Seq {
        Seq(self.heads.get(&channel).copied().unwrap_or(0))
    }

    fn bump(&mut self, channel: ChannelId) -> Seq {
        let head = self.heads.entry(channel).or_default();
        *head += 1;
        Seq(*head)
    }

    pub(super) fn give(&mut self, channel: ChannelId) -> PendingCommand {
        let seq = self.bump(channel);
        let number = self.commands.len() as u128 + 1;
        let given = command(number, channel, seq.0, ExecutionState::Queued);
        self.commands.push(given.clone());
        given
    }

    /// The device enters the group, or leaves it; the channels that moved by it.
    pub(super) fn turn_membership(&mut self) -> Vec<(ChannelId, Seq)> {
        let mut moved = vec![(own_channel(), self.bump(own_channel()))];
        match self.members.last() {
            Some((_, None)) => {
                let left = self.bump(group_channel());
                moved.push((group_channel(), left));
                self.members.last_mut().unwrap().1 = Some(left.0);
            }
            Some((_, Some(_))) | None => {
                let head = self.head(group_channel()).0;
                self.members.push((head, None));
            }
        }
        moved
    }

    /// Whether a command is for the device.
    fn is_for(&self, command: &PendingCommand) -> bool {
        let seq = command.seq.0;
        let spans = |(from, to): &(i64, Option<i64>)| *from < seq && to.is_none_or(|to| seq <= to);
        command.channel == own_channel() || self.members.iter().any(spans)
    }

    /// All that the device is to do, in the order of the channel.
    pub(super) fn wanted(&self, channel: ChannelId) -> Vec<CommandId> {
        let of_channel =
            |command: &&PendingCommand| command.channel == channel && self.is_for(command);
        self.commands
            .iter()
            .filter(of_channel)
            .map(|command| command.id)
            .collect()
    }

    pub(super) fn read(&self) -> Reconciled {
        let groups = match self.members.last() {
            Some(&(from, None)) => vec![Membership {
                head: self.head(group_channel()),
                from_seq: Seq(from),
                ..member(1, "field", 0, None)
            }],
            Some((_, Some(_))) | None => Vec::new(),
        };
        let due = |command: &&PendingCommand| {
            self.is_for(command) && !self.committed.contains(&command.id)
        };
        let mut pending: Vec<_> = self.commands.iter().filter(due).cloned().collect();
        let more = pending.len() > UNACKED_COMMANDS_MAX;
        pending.truncate(UNACKED_COMMANDS_MAX);
        Reconciled {
            level: Level {
                head: self.head(own_channel()),
                groups,
                ..level()
            },
            pending,
            more,
        }
    }

    pub(super) fn group_changes(&self, after: Seq) -> Loaded {
        let above =
            |command: &&PendingCommand| command.channel == group_channel() && command.seq > after;
        let mut commands: Vec<_> = self.commands.iter().filter(above).cloned().collect();
        let more = commands.len() > CATCH_UP;
        commands.truncate(CATCH_UP);
        let left = self.members.iter().filter_map(|(_, to)| *to);
        Loaded {
            head: Some(self.head(group_channel())),
            priority: 0,
            target: None,
            commands,
            more,
            left: Left {
                devices: left
                    .filter(|to| *to > after.0)
                    .map(|to| (DEVICE, Seq(to)))
                    .collect(),
                more: false,
            },
        }
    }
}
