//! An updater that verifies everything and keeps only the metadata: for swarms of thousands in one process.

use std::sync::{Arc, Mutex, PoisonError};

use crate::firmware::Firmware;

/// Remembers which firmware the next start would run.
#[derive(Debug, Clone, Default)]
pub struct SimulatedUpdater {
    installed: Arc<Mutex<Option<Firmware>>>,
}

impl SimulatedUpdater {
    /// An updater that starts with this firmware.
    #[must_use]
    pub fn new(installed: Option<Firmware>) -> Self {
        Self {
            installed: Arc::new(Mutex::new(installed)),
        }
    }

    pub(super) fn running(&self) -> Option<Firmware> {
        self.installed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn install(&self, firmware: Firmware) {
        *self
            .installed
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(firmware);
    }
}
