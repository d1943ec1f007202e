//! What a device must not forget: the last command ids with their outcomes, and the reports no hub has answered yet.
//!
//! Owns the rule "a command takes effect at most once": a command is accepted, started and finished in that order, each
//! step is a [`Record`] that is on disk before the next one happens, and after a crash an accepted command may run while
//! a started one may not. Pure; [`crate::journal`] keeps the records on disk.

use std::collections::VecDeque;

use hub_proto::id::CommandId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::limits::{COMMAND_OUTPUT_BYTES_MAX, COMMANDS_REMEMBERED_MAX, REPORTS_KEPT_MAX};

/// How a command ended, in the words of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandStatus {
    /// It ran and did what it was asked.
    Succeeded,
    /// It ran, or may have run, and did not end well.
    Failed,
    /// It never ran: the device does not know it or cannot take its arguments.
    Rejected,
}

/// The result of a command as it is stored and reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub status: CommandStatus,
    /// What it printed, at most [`COMMAND_OUTPUT_BYTES_MAX`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

impl Outcome {
    /// An outcome whose output is cut to the bound at a character boundary.
    #[must_use]
    pub fn new(status: CommandStatus, output: impl Into<String>) -> Self {
        let mut output: String = output.into();
        if output.len() > COMMAND_OUTPUT_BYTES_MAX {
            let end = (0..=COMMAND_OUTPUT_BYTES_MAX)
                .rev()
                .find(|at| output.is_char_boundary(*at))
                .unwrap_or(0);
            output.truncate(end);
        }
        Self {
            status,
            output: (!output.is_empty()).then_some(output),
        }
    }
}

/// A report that is kept until the hub replies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Rises with every report of this device; names it in the journal.
    pub key: u64,
    /// Event on the device channel.
    pub event: String,
    /// Its payload.
    pub payload: Value,
}

/// One step written to the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A command arrived and will be run.
    Accepted {
        /// Its id.
        id: CommandId,
        /// Its name.
        name: String,
        /// Its arguments.
        args: Value,
    },
    /// A command is about to take effect.
    Started {
        /// Its id.
        id: CommandId,
    },
    /// A command ended.
    Finished {
        /// Its id.
        id: CommandId,
        /// How.
        outcome: Outcome,
    },
    /// A report waits for the hub's reply.
    Kept(Report),
    /// The hub replied to a report.
    Replied {
        /// Key of the report.
        key: u64,
    },
}

/// Where a remembered command stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Accepted; may run.
    Waiting(Value),
    /// Started; must never run again.
    Running,
    /// Ended.
    Done(Outcome),
}

/// A remembered command.
#[derive(Debug, Clone, PartialEq)]
pub struct Remembered {
    /// Its id.
    pub id: CommandId,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub progress: Progress,
}

/// The memory of a device, rebuilt from its records.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    commands: VecDeque<Remembered>,
    reports: VecDeque<Report>,
    next_key: u64,
}

impl Ledger {
    /// Rebuilds the memory. Records that name nothing known are without effect.
    #[must_use]
    pub fn replay(records: impl IntoIterator<Item = Record>) -> Self {
        let mut ledger = Self::default();
        for record in records {
            ledger.apply(record);
        }
        ledger
    }

    /// Takes one step.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Accepted { id, name, args } => {
                if self.find(id).is_none() {
                    self.commands.push_back(Remembered {
                        id,
                        name,
                        progress: Progress::Waiting(args),
                    });
                    self.forget_oldest();
                }
            }
            Record::Started { id } => {
                if let Some(command) = self.find_mut(id)
                    && matches!(command.progress, Progress::Waiting(_))
                {
                    command.progress = Progress::Running;
                }
            }
            Record::Finished { id, outcome } => {
                if let Some(command) = self.find_mut(id)
                    && !matches!(command.progress, Progress::Done(_))
                {
                    command.progress = Progress::Done(outcome);
                }
            }
            Record::Kept(report) => {
                self.next_key = self.next_key.max(report.key.saturating_add(1));
                self.reports.push_back(report);
                while self.reports.len() > REPORTS_KEPT_MAX {
                    self.reports.pop_front();
                }
            }
            Record::Replied { key } => self.reports.retain(|report| report.key != key),
        }
    }

    /// Takes back an acceptance that never reached the disk, so that the hub's next send counts as new.
    pub fn unaccept(&mut self, id: CommandId) {
        self.commands.retain(|command| {
            command.id != id || !matches!(command.progress, Progress::Waiting(_))
        });
    }

    /// The remembered command of this id.
    #[must_use]
    pub fn find(&self, id: CommandId) -> Option<&Remembered> {
        self.commands.iter().rev().find(|command| command.id == id)
    }

    /// Remembered commands, oldest first.
    pub fn commands(&self) -> impl Iterator<Item = &Remembered> {
        self.commands.iter()
    }

    /// Reports without a reply, oldest first.
    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter()
    }

    /// The report of this key, if it still waits.
    #[must_use]
    pub fn report(&self, key: u64) -> Option<&Report> {
        self.reports.iter().find(|report| report.key == key)
    }

    /// A new report with the next key; not yet part of the memory.
    #[must_use]
    pub fn draft(&self, event: &str, payload: Value) -> Report {
        Report {
            key: self.next_key,
            event: event.to_owned(),
            payload,
        }
    }

    /// The records that end a command and keep its report.
    #[must_use]
    pub fn finish(&self, id: CommandId, outcome: Outcome) -> [Record; 2] {
        let mut payload = json!({ "id": id.to_string(), "status": outcome.status });
        if let (Some(output), Some(object)) = (&outcome.output, payload.as_object_mut()) {
            object.insert("output".to_owned(), Value::String(output.clone()));
        }
        [
            Record::Finished { id, outcome },
            Record::Kept(self.draft("command_result", payload)),
        ]
    }

    /// The shortest list of records that rebuilds this memory.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = Vec::with_capacity(self.commands.len() * 2 + self.reports.len());
        for Remembered { id, name, progress } in &self.commands {
            let (id, name) = (*id, name.clone());
            match progress {
                Progress::Waiting(args) => records.push(Record::Accepted {
                    id,
                    name,
                    args: args.clone(),
                }),
                Progress::Running => {
                    records.push(Record::Accepted {
                        id,
                        name,
                        args: Value::Null,
                    });
                    records.push(Record::Started { id });
                }
                Progress::Done(outcome) => {
                    records.push(Record::Accepted {
                        id,
                        name,
                        args: Value::Null,
                    });
                    records.push(Record::Finished {
                        id,
                        outcome: outcome.clone(),
                    });
                }
            }
        }
        records.extend(self.reports.iter().cloned().map(Record::Kept));
        records
    }

    fn find_mut(&mut self, id: CommandId) -> Option<&mut Remembered> {
        self.commands
            .iter_mut()
            .rev()
            .find(|command| command.id == id)
    }

    /// Forgets the oldest finished command; one that has not ended is never forgotten, and the machine accepts no more
    /// of those than `COMMANDS_WAITING_MAX`. A journal that holds more all the same loses its oldest.
    fn forget_oldest(&mut self) {
        while self.commands.len() > COMMANDS_REMEMBERED_MAX {
            let ended = self
                .commands
                .iter()
                .position(|command| matches!(command.progress, Progress::Done(_)));
            self.commands.remove(ended.unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> CommandId {
        CommandId(uuid::Uuid::from_u128(number))
    }

    fn accepted(number: u128) -> Record {
        Record::Accepted {
            id: id(number),
            name: "identify".to_owned(),
            args: json!({"n": 1}),
        }
    }

    fn done() -> Outcome {
        Outcome::new(CommandStatus::Succeeded, "ok")
    }

    #[test]
    fn remembers_the_last_sixty_four_and_never_forgets_a_running_one() {
        let mut ledger = Ledger::replay([accepted(0), Record::Started { id: id(0) }]);
        for number in 1..200 {
            ledger.apply(accepted(number));
            ledger.apply(Record::Finished {
                id: id(number),
                outcome: done(),
            });
        }
        assert_eq!(ledger.commands().count(), COMMANDS_REMEMBERED_MAX);
        assert_eq!(
            ledger.find(id(0)).map(|found| found.progress.clone()),
            Some(Progress::Running)
        );
        assert!(ledger.find(id(199)).is_some() && ledger.find(id(1)).is_none());
    }

    #[test]
    fn a_snapshot_rebuilds_the_same_memory() {
        let mut ledger = Ledger::replay([
            accepted(1),
            accepted(2),
            Record::Started { id: id(2) },
            accepted(3),
        ]);
        for record in ledger.finish(id(3), done()) {
            ledger.apply(record);
        }
        let again = Ledger::replay(ledger.snapshot());
        assert_eq!(again.commands, ledger.commands);
        assert_eq!(again.reports, ledger.reports);
        assert_eq!(again.next_key, ledger.next_key);
    }

    #[test]
    fn an_outcome_is_final_and_a_reply_ends_a_report() {
        let mut ledger = Ledger::replay([accepted(1)]);
        for record in ledger.finish(id(1), done()) {
            ledger.apply(record);
        }
        ledger.apply(Record::Finished {
            id: id(1),
            outcome: Outcome::new(CommandStatus::Failed, "late"),
        });
        assert_eq!(
            ledger.find(id(1)).map(|found| found.progress.clone()),
            Some(Progress::Done(done()))
        );
        ledger.apply(Record::Replied { key: 0 });
        assert_eq!(ledger.reports().count(), 0);
        assert_eq!(ledger.draft("x", Value::Null).key, 1);
    }

    #[test]
    fn output_is_cut_at_a_character() {
        let outcome = Outcome::new(
            CommandStatus::Succeeded,
            "é".repeat(COMMAND_OUTPUT_BYTES_MAX),
        );
        assert!(
            outcome
                .output
                .is_some_and(|output| output.len() <= COMMAND_OUTPUT_BYTES_MAX)
        );
    }
}
