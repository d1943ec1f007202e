//! The ways of commands over one socket, as they are counted: sent, and what the device answers once it is committed.

use std::time::{Duration, SystemTime};

use hub_core::command::ExecutionState;
use hub_core::session::Report;
use hub_proto::id::CommandId;

use crate::telemetry::metrics::Metrics;

/// A device's word on a command, until it is committed.
pub(super) struct Word {
    command: CommandId,
    state: ExecutionState,
    first: bool,
}

impl Word {
    /// The word that is in a report, if it is about a command.
    pub(super) fn of(report: &Report) -> Option<Self> {
        let Report::Execution {
            command,
            state,
            first,
            ..
        } = report
        else {
            return None;
        };
        Some(Self {
            command: *command,
            state: *state,
            first: *first,
        })
    }

    /// It is in the store now.
    pub(super) fn committed(self, metrics: &Metrics) {
        metrics.executed(self.state);
        if let Some(after) = self.delivered_after() {
            metrics.delivered(after, None);
        }
    }

    /// From the command's acceptance to now, if this was the first the device said about it. Clocks of nodes may differ: what
    /// would be negative counts as nothing.
    fn delivered_after(&self) -> Option<Duration> {
        if !self.first {
            return None;
        }
        let accepted = accepted_at(self.command)?;
        Some(
            SystemTime::now()
                .duration_since(accepted)
                .unwrap_or_default(),
        )
    }
}

/// When the API accepted a command: its id says so.
fn accepted_at(command: CommandId) -> Option<SystemTime> {
    let (seconds, nanos) = command.0.get_timestamp()?.to_unix();
    Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_when_its_command_was_accepted() {
        let id = CommandId(uuid::Uuid::now_v7());
        let ago = SystemTime::now().duration_since(accepted_at(id).unwrap());
        assert!(ago.unwrap() < Duration::from_secs(60));
        assert_eq!(accepted_at(CommandId(uuid::Uuid::nil())), None);
    }
}
