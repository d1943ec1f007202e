//! What a device shows of itself to the program it runs in.

use std::collections::VecDeque;

use hub_proto::id::CommandId;

use crate::{
    firmware::Firmware,
    ledger::{CommandStatus, Outcome},
    limits::COMMANDS_REMEMBERED_MAX,
};

/// What the device is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Not started, or stopped.
    #[default]
    Stopped,
    /// Without a joined device channel.
    Offline,
    /// Joined.
    Online,
    /// Joined or not, an update is under way.
    Updating,
    /// Restarting.
    Rebooting,
}

/// A command that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its id.
    pub id: CommandId,
    /// Its name.
    pub name: String,
    /// How it ended.
    pub status: CommandStatus,
}

/// A device as seen from outside; a watch gives the newest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceState {
    /// What it is doing.
    pub phase: Phase,
    /// What it runs.
    pub firmware: Option<Firmware>,
    /// Percent of the update under way.
    pub progress: Option<u8>,
    /// Why the last update failed, until the next one begins.
    pub update_error: Option<String>,
    /// Topics of the group channels it has joined, sorted.
    pub groups: Vec<String>,
    /// Times the device channel was joined.
    pub joins: u64,
    /// Restarts.
    pub reboots: u64,
    /// The last commands that ended, oldest first.
    pub executed: VecDeque<Executed>,
    /// Commands that ended since the start.
    pub executed_total: u64,
}

impl DeviceState {
    pub(crate) fn add_executed(&mut self, id: CommandId, name: String, outcome: &Outcome) {
        if self.executed.len() >= COMMANDS_REMEMBERED_MAX {
            self.executed.pop_front();
        }
        self.executed.push_back(Executed {
            id,
            name,
            status: outcome.status,
        });
        self.executed_total += 1;
    }
}
