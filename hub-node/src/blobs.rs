//! Firmware files on the local disk, found by the SHA-256 of their content.
//!
//! Owns the rule that a file under its final name is complete: a draft is written under a random name, synced, then
//! renamed. No text from outside ever becomes part of a path. A row of the store must never name a missing file,
//! so the file comes first and the row second; in between a [`HeldBlob`] keeps the file from being deleted by
//! somebody who removes another row with the same content.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hub_core::limits::{API_UPLOAD_MAX, UPLOADS_MAX};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[cfg(test)]
mod tests;

/// Folder of complete files, below the state directory.
const FOLDER: &str = "firmware";
/// Folder of drafts, in the same file system as the complete files.
const DRAFTS: &str = "firmware/incoming";
/// Only the hub's own user may look in.
const FOLDER_MODE: u32 = 0o700;

/// Name of a stored file: the SHA-256 of its content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct BlobId(pub(crate) [u8; 32]);

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Removes a draft that is too old to be an upload under way, on this node or another.
fn remove_if_left(draft: &fs::DirEntry) -> io::Result<()> {
    let changed = draft.metadata().and_then(|about| about.modified());
    let age = changed.map(|at| at.elapsed().unwrap_or_default());
    match age {
        Ok(age) if age <= API_UPLOAD_MAX => Ok(()),
        Ok(_) => fs::remove_file(draft.path()),
        // finished or removed meanwhile
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The files of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Blobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    drafts: PathBuf,
    /// Files whose row is being written.
    holds: Mutex<HashMap<BlobId, Hold>>,
    uploads: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Hold {
    count: usize,
    /// Two uploads brought the same content; neither may take it back.
    shared: bool,
}

impl Blobs {
    /// Opens the files below a directory, which nodes may share, and removes drafts that a crash left there. Blocks.
    pub(crate) fn open_dir(state_dir: &Path) -> io::Result<Self> {
        let (folder, drafts) = (state_dir.join(FOLDER), state_dir.join(DRAFTS));
        DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(&drafts)?;
        for draft in fs::read_dir(&drafts)? {
            remove_if_left(&draft?)?;
        }
        let uploads = Arc::new(Semaphore::new(UPLOADS_MAX));
        Ok(Self(Arc::new(Inner {
            folder,
            drafts,
            holds: Mutex::default(),
            uploads,
        })))
    }

    /// A place among the uploads that may run at the same time, if one is free.
    pub(crate) fn upload_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.uploads).try_acquire_owned().ok()
    }

    /// Starts a new file. Blocks.
    pub(crate) fn draft(&self) -> io::Result<Draft> {
        let name = BlobId(rand::random()).to_string();
        let path = self.0.drafts.join(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Draft {
            blobs: self.clone(),
            path: Some(path),
            file,
        })
    }

    /// Opens a file for reading and tells its size in bytes; `None` when it is not there.
    pub(crate) async fn open(&self, id: BlobId) -> io::Result<Option<(tokio::fs::File, u64)>> {
        match tokio::fs::File::open(self.path(id)).await {
            Ok(file) => {
                let bytes = file.metadata().await?.len();
                Ok(Some((file, bytes)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes a file that no row names any more. False when an upload of the same content holds it: then it stays.
    pub(crate) async fn delete(&self, id: BlobId) -> io::Result<bool> {
        let blobs = self.clone();
        tokio::task::spawn_blocking(move || {
            let holds = blobs.holds();
            if holds.contains_key(&id) {
                return Ok(false);
            }
            blobs.remove(id)?;
            drop(holds);
            Ok(true)
        })
        .await
        .map_err(io::Error::other)?
    }

    /// Two levels, so that no folder gets too long.
    fn path(&self, id: BlobId) -> PathBuf {
        let name = id.to_string();
        self.0.folder.join(&name[..2]).join(name)
    }

    fn remove(&self, id: BlobId) -> io::Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn holds(&self) -> MutexGuard<'_, HashMap<BlobId, Hold>> {
        // The map is consistent between any two statements, so a panic elsewhere does not spoil it.
        self.0.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file being written; gone when dropped before it is kept.
#[derive(Debug)]
pub(crate) struct Draft {
    blobs: Blobs,
    /// `None` once it was renamed.
    path: Option<PathBuf>,
    file: File,
}

impl Draft {
    /// Appends. Blocks.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Makes the file durable under the name of its content, which the caller has computed. Blocks.
    pub(crate) fn keep(mut self, id: BlobId) -> io::Result<HeldBlob> {
        self.file.sync_all()?;
        let target = self.blobs.path(id);
        let folder = target.parent().unwrap_or(&self.blobs.0.folder).to_owned();
        DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(&folder)?;
        let fresh = {
            // Renaming under the lock: a deletion sees either no file or the hold.
            let mut holds = self.blobs.holds();
            let fresh = !target.try_exists()?;
            if let Some(path) = &self.path {
                fs::rename(path, &target)?;
            }
            self.path = None;
            let hold = holds.entry(id).or_default();
            hold.shared |= hold.count > 0;
            hold.count += 1;
            fresh
        };
        let held = HeldBlob {
            blobs: self.blobs.clone(),
            id,
            fresh,
        };
        File::open(&folder)?.sync_all()?;
        File::open(&self.blobs.0.folder)?.sync_all()?;
        Ok(held)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = self.path.take()
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(%error, "a draft of a firmware file stays until the next start");
        }
    }
}

/// A complete file that cannot be deleted while its row is being written.
#[derive(Debug)]
pub(crate) struct HeldBlob {
    blobs: Blobs,
    id: BlobId,
    fresh: bool,
}

impl HeldBlob {
    /// The file's name.
    #[cfg(test)]
    pub(crate) fn id(&self) -> BlobId {
        self.id
    }

    /// Takes the file back because no row came to be, unless it was there before or another upload brought it too.
    pub(crate) async fn discard(self) -> io::Result<()> {
        if !self.fresh {
            return Ok(());
        }
        tokio::task::spawn_blocking(move || {
            let holds = self.blobs.holds();
            let alone = holds
                .get(&self.id)
                .is_some_and(|hold| hold.count == 1 && !hold.shared);
            let done = if alone {
                self.blobs.remove(self.id)
            } else {
                Ok(())
            };
            drop(holds);
            done
        })
        .await
        .map_err(io::Error::other)?
    }
}

impl Drop for HeldBlob {
    fn drop(&mut self) {
        let mut holds = self.blobs.holds();
        if let Some(hold) = holds.get_mut(&self.id) {
            hold.count -= 1;
            if hold.count == 0 {
                holds.remove(&self.id);
            }
        }
    }
}
