//! Commands: accepted on disk, acknowledged, run one after the other, reported.
//!
//! Owns at-most-once: an acknowledgement leaves only after the id is on disk; a command starts only after its start is on
//! disk; a repeat is acknowledged with what is known and never run; one that a crash interrupted is reported as failed
//! and never run again. Commands run in the order they arrived, which is the order of their channel; one that could not be
//! taken holds up all that came after it until it comes again, so that a full device or disk changes no order.

use std::time::Duration;

use hub_proto::id::CommandId;
use serde_json::{Value, json};

use super::{Effect, Machine, Outgoing, note};
use crate::{
    ledger::{CommandStatus, Outcome, Progress, Record},
    limits::{
        COMMAND_ARGS_BYTES_MAX, COMMANDS_REFUSED_MAX, COMMANDS_WAITING_MAX, JOURNAL_RETRY,
        RESULTS_KEPT_MAX, TOPIC_BYTES_MAX,
    },
};

/// The command whose success restarts the device.
const REBOOT: &str = "reboot";

impl Machine {
    /// Settles what an earlier run of the program left: an interrupted command is over, a waiting one may run.
    pub(super) fn recover_commands(&mut self, effects: &mut Vec<Effect>) {
        let interrupted: Vec<(CommandId, bool)> = self
            .ledger
            .commands()
            .filter(|command| command.progress == Progress::Running)
            .map(|command| (command.id, command.name == REBOOT))
            .collect();
        for (id, was_reboot) in interrupted {
            // The restart itself is what a reboot was asked for.
            let outcome = if was_reboot {
                Outcome::new(CommandStatus::Succeeded, "")
            } else {
                Outcome::new(
                    CommandStatus::Failed,
                    "the device restarted before the command ended",
                )
            };
            self.finish_command(id, outcome, effects);
        }
        self.queue = self
            .ledger
            .commands()
            .filter(|command| matches!(command.progress, Progress::Waiting(_)))
            .map(|command| command.id)
            .collect();
    }

    pub(super) fn on_command(&mut self, name: &str, mut payload: Value, effects: &mut Vec<Effect>) {
        let id = payload
            .as_object_mut()
            .and_then(|object| object.remove("id"))
            .and_then(|id| id.as_str().and_then(|id| id.parse::<CommandId>().ok()));
        let Some(id) = id else {
            return note(effects, name, "event without a command id");
        };
        if self.ledger.find(id).is_some() {
            return self.answer_again(id, effects);
        }
        if name.len() > TOPIC_BYTES_MAX || payload.to_string().len() > COMMAND_ARGS_BYTES_MAX {
            return note(effects, name, "command larger than the device takes");
        }
        // Without an acknowledgement the hub sends it again.
        if self.queue.len() + self.unsaved.len() >= COMMANDS_WAITING_MAX {
            self.refuse(id);
            return note(effects, name, "too many commands are waiting");
        }
        // Each accepted command ends with a result that must not push out another one.
        let waiting =
            self.queue.len() + self.unsaved.len() + usize::from(self.running_command.is_some());
        if waiting + self.ledger.reports().count() >= RESULTS_KEPT_MAX {
            self.refuse(id);
            return note(effects, name, "too many results wait for the hub");
        }
        if self.refused.front().is_some_and(|first| *first != id) {
            self.refuse(id);
            return note(effects, name, "an earlier command must come first");
        }
        self.refused.pop_front();
        let record = Record::Accepted {
            id,
            name: name.to_owned(),
            args: payload,
        };
        self.ledger.apply(record.clone());
        self.unsaved.push(id);
        effects.push(Effect::Persist {
            id,
            records: vec![record],
        });
    }

    pub(super) fn on_persisted(
        &mut self,
        id: CommandId,
        saved: bool,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(at) = self.unsaved.iter().position(|unsaved| *unsaved == id) {
            self.unsaved.swap_remove(at);
            if saved {
                self.queue.push_back(id);
                self.acknowledge(id, effects);
            } else {
                self.ledger.unaccept(id);
                self.refused.push_front(id);
                note(
                    effects,
                    "command",
                    "not acknowledged: the journal cannot be written",
                );
            }
            return;
        }
        if self.running_command != Some(id) {
            return;
        }
        let Some(command) = self.ledger.find(id).cloned() else {
            return;
        };
        match command.progress {
            Progress::Waiting(args) if saved => {
                self.ledger.apply(Record::Started { id });
                effects.push(Effect::Run {
                    id,
                    name: command.name,
                    args,
                });
            }
            Progress::Waiting(_) => {
                // It was acknowledged and has not begun: it keeps its place until the disk takes its start.
                self.running_command = None;
                self.queue.push_front(id);
                self.start_after = now + JOURNAL_RETRY;
                note(
                    effects,
                    "command",
                    "not started: the journal cannot be written",
                );
            }
            Progress::Running | Progress::Done(_) => {}
        }
    }

    pub(super) fn on_command_ended(
        &mut self,
        id: CommandId,
        outcome: Outcome,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        if self.running_command != Some(id) {
            return;
        }
        self.running_command = None;
        let restarts = outcome.status == CommandStatus::Succeeded
            && self
                .ledger
                .find(id)
                .is_some_and(|command| command.name == REBOOT);
        self.finish_command(id, outcome, effects);
        if restarts {
            self.plan_reboot(now, effects);
        }
    }

    fn refuse(&mut self, id: CommandId) {
        if self.refused.len() < COMMANDS_REFUSED_MAX && !self.refused.contains(&id) {
            self.refused.push_back(id);
        }
    }

    /// Starts the next command, unless one runs or a restart is near: what waits then runs after the restart.
    pub(super) fn settle_commands(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.running_command.is_some()
            || self.reboot.is_some()
            || self.is_down()
            || self.start_after > now
        {
            return;
        }
        if let Some(id) = self.queue.pop_front() {
            self.running_command = Some(id);
            effects.push(Effect::Persist {
                id,
                records: vec![Record::Started { id }],
            });
        }
    }

    pub(super) fn commands_deadline(&self) -> Option<Duration> {
        let blocked = self.running_command.is_some()
            || self.reboot.is_some()
            || self.is_down()
            || self.queue.is_empty();
        (!blocked).then_some(self.start_after)
    }

    fn finish_command(&mut self, id: CommandId, outcome: Outcome, effects: &mut Vec<Effect>) {
        for record in self.ledger.finish(id, outcome) {
            self.record(record, effects);
        }
    }

    /// Acknowledges a repeat, and reports its stored result once more unless that report still waits for its reply.
    fn answer_again(&mut self, id: CommandId, effects: &mut Vec<Effect>) {
        if self.unsaved.contains(&id) {
            return;
        }
        self.acknowledge(id, effects);
        let Some(Progress::Done(outcome)) =
            self.ledger.find(id).map(|command| command.progress.clone())
        else {
            return;
        };
        let text = id.to_string();
        let waits = self.ledger.reports().any(|report| {
            report.event == "command_result" && report.payload.get("id") == Some(&json!(text))
        });
        if !waits && self.ledger.reports().count() < RESULTS_KEPT_MAX {
            let [_, report] = self.ledger.finish(id, outcome);
            self.record(report, effects);
        }
    }

    fn acknowledge(&mut self, id: CommandId, effects: &mut Vec<Effect>) {
        self.push_device("command_ack", json!({ "id": id.to_string() }), effects);
    }

    /// Pushes on the device channel if it is joined; what must not be lost goes through the ledger instead.
    pub(super) fn push_device(
        &mut self,
        event: &'static str,
        payload: Value,
        effects: &mut Vec<Effect>,
    ) {
        let Some(join_ref) = self.device_join_ref().filter(|_| self.link.is_open()) else {
            return;
        };
        let reference = self.fresh_ref();
        effects.push(Effect::Send(Outgoing {
            join_ref: Some(join_ref),
            reference,
            topic: self.device_topic(),
            event: event.into(),
            payload,
        }));
    }
}
