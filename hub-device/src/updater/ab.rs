//! The built-in updater: two slot directories and a marker that names the active one.
//!
//! Owns: only the slot that is not active is ever written; the marker changes by one rename, after every file of the new
//! slot is on disk. A power cut at any point therefore leaves either the old firmware or the whole new one. A slot holds
//! `firmware.json` and one file for each resource.

use std::{
    io,
    path::{Path, PathBuf},
};

use hub_firmware::{Announced, Event};
use tokio::{
    fs::{self, File},
    io::AsyncWriteExt as _,
};

use super::{UpdaterError, resource_file};
use crate::{firmware::Firmware, journal::sync_directory, limits::SLOT_RESOURCES_MAX};

const MARKER: &str = "active";
const METADATA: &str = "firmware.json";

/// Two slots below one directory.
#[derive(Debug, Clone)]
pub struct AbUpdater {
    root: PathBuf,
}

impl AbUpdater {
    /// An updater whose slots `a` and `b` and marker lie in `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Directory of the slot that runs; none while nothing is installed.
    ///
    /// # Errors
    /// When the marker cannot be read.
    pub async fn active_slot(&self) -> Result<Option<PathBuf>, UpdaterError> {
        Ok(self.active().await?.map(|slot| self.root.join(slot)))
    }

    pub(super) async fn running(&self) -> Result<Option<Firmware>, UpdaterError> {
        let Some(slot) = self.active_slot().await? else {
            return Ok(None);
        };
        let path = slot.join(METADATA);
        let text = fs::read(&path).await.map_err(disk("read", &path))?;
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| UpdaterError::State { path, source })
    }

    pub(super) async fn begin(&self) -> Result<AbInstall, UpdaterError> {
        let slot = if self.active().await? == Some("a") {
            "b"
        } else {
            "a"
        };
        let directory = self.root.join(slot);
        match fs::remove_dir_all(&directory).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(disk("clear", &directory)(source)),
        }
        fs::create_dir_all(&directory)
            .await
            .map_err(disk("make", &directory))?;
        Ok(AbInstall {
            root: self.root.clone(),
            slot,
            directory,
            announced: None,
            open: None,
        })
    }

    /// The active slot. A marker that names none is as if nothing were installed: it is only ever written whole.
    async fn active(&self) -> Result<Option<&'static str>, UpdaterError> {
        let path = self.root.join(MARKER);
        match fs::read(&path).await {
            Ok(text) => Ok(match text.trim_ascii() {
                b"a" => Some("a"),
                b"b" => Some("b"),
                _ => None,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(disk("read", &path)(source)),
        }
    }
}

/// One slot being filled.
pub struct AbInstall {
    root: PathBuf,
    slot: &'static str,
    directory: PathBuf,
    announced: Option<Box<Announced>>,
    open: Option<(PathBuf, File)>,
}

impl AbInstall {
    pub(super) async fn event(&mut self, event: &Event) -> Result<(), UpdaterError> {
        match event {
            Event::Authentic(announced) if announced.resources.len() > SLOT_RESOURCES_MAX => {
                return Err(UpdaterError::TooManyResources);
            }
            Event::Authentic(announced) => self.announced = Some(announced.clone()),
            Event::ResourceStart(index) => {
                let Some(announced) = &self.announced else {
                    return Ok(());
                };
                let path = self.directory.join(resource_file(announced, *index));
                let file = File::create(&path).await.map_err(disk("make", &path))?;
                self.open = Some((path, file));
            }
            Event::Data(data) => {
                if let Some((path, file)) = &mut self.open {
                    file.write_all(data).await.map_err(disk("write", path))?;
                }
            }
            Event::ResourceEnd(_) => {
                if let Some((path, mut file)) = self.open.take() {
                    file.flush().await.map_err(disk("write", &path))?;
                    file.sync_all().await.map_err(disk("sync", &path))?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn commit(self, firmware: &Firmware) -> Result<(), UpdaterError> {
        let path = self.directory.join(METADATA);
        let text = serde_json::to_vec_pretty(firmware).map_err(|source| UpdaterError::State {
            path: path.clone(),
            source,
        })?;
        write_synced(&path, &text).await?;
        sync_directory(&self.directory).map_err(disk("sync", &self.directory))?;
        replace(&self.root, MARKER, self.slot.as_bytes()).await
    }
}

/// Replaces `name` in `directory` in one atomic step that survives a power cut.
pub(super) async fn replace(directory: &Path, name: &str, text: &[u8]) -> Result<(), UpdaterError> {
    let fresh = directory.join(format!("{name}.new"));
    let path = directory.join(name);
    write_synced(&fresh, text).await?;
    fs::rename(&fresh, &path)
        .await
        .map_err(disk("replace", &path))?;
    sync_directory(directory).map_err(disk("sync", directory))
}

async fn write_synced(path: &Path, text: &[u8]) -> Result<(), UpdaterError> {
    let mut file = File::create(path).await.map_err(disk("make", path))?;
    file.write_all(text).await.map_err(disk("write", path))?;
    file.flush().await.map_err(disk("write", path))?;
    file.sync_all().await.map_err(disk("sync", path))
}

pub(super) fn disk(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> UpdaterError + use<> {
    let path = path.to_owned();
    move |source| UpdaterError::Disk {
        action,
        path,
        source,
    }
}
