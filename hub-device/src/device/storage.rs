//! Disk writes of a running device, off the runtime's threads and still in order: the loop waits for each.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use hub_proto::id::CommandId;
use tokio::task::spawn_blocking;

use super::explain;
use crate::{
    journal::{Journal, JournalError},
    ledger::Record,
};

/// The journal and the effects log.
pub(super) struct Storage {
    /// Taken while a write is under way; gone for good only if that write panicked.
    journal: Option<Journal>,
    effects: Option<File>,
}

impl Storage {
    /// Opens both; gives the records found.
    pub(super) async fn open(state: Option<&Path>) -> Result<(Self, Vec<Record>), JournalError> {
        let Some(state) = state.map(Path::to_owned) else {
            return Ok((
                Self {
                    journal: Some(Journal::in_memory()),
                    effects: None,
                },
                Vec::new(),
            ));
        };
        match spawn_blocking(move || Journal::open(&state)).await {
            Ok(opened) => opened.map(|(journal, records)| {
                (
                    Self {
                        journal: Some(journal),
                        effects: None,
                    },
                    records,
                )
            }),
            Err(_) => Ok((
                Self {
                    journal: None,
                    effects: None,
                },
                Vec::new(),
            )),
        }
    }

    /// Starts the effects log.
    pub(super) fn log_effects(&mut self, path: &Path) -> io::Result<()> {
        self.effects = Some(OpenOptions::new().create(true).append(true).open(path)?);
        Ok(())
    }

    /// Appends records, then rewrites the journal if it wants that. False when the records are not on disk.
    pub(super) async fn save(
        &mut self,
        records: Vec<Record>,
        snapshot: impl FnOnce() -> Vec<Record>,
    ) -> bool {
        let Some(mut journal) = self.journal.take() else {
            return false;
        };
        if journal.is_in_memory() {
            self.journal = Some(journal);
            return true;
        }
        let written = spawn_blocking(move || {
            let result = journal.append(&records);
            (journal, result)
        });
        let Ok((journal, result)) = written.await else {
            return false;
        };
        let rewrite = result.is_ok() && journal.wants_rewrite();
        self.journal = Some(journal);
        if let Err(error) = &result {
            tracing::error!(error = explain(error), "journal not written");
        }
        if rewrite {
            self.rewrite(snapshot()).await;
        }
        result.is_ok()
    }

    /// Notes that a command takes effect now. False when that is not on disk.
    pub(super) async fn note_effect(&mut self, id: CommandId) -> bool {
        let Some(mut file) = self.effects.take() else {
            return true;
        };
        let written = spawn_blocking(move || {
            let result = writeln!(file, "{id}").and_then(|()| file.sync_data());
            (file, result)
        });
        let Ok((file, result)) = written.await else {
            return false;
        };
        self.effects = Some(file);
        result.is_ok()
    }

    async fn rewrite(&mut self, records: Vec<Record>) {
        let Some(mut journal) = self.journal.take() else {
            return;
        };
        let written = spawn_blocking(move || {
            let result = journal.rewrite(&records);
            (journal, result)
        });
        if let Ok((journal, result)) = written.await {
            self.journal = Some(journal);
            if let Err(error) = result {
                tracing::warn!(
                    error = explain(&error),
                    "journal not rewritten; it keeps growing until it can be"
                );
            }
        }
    }
}
