//! Verifies a whole firmware from a reader or a file: the streaming verifier, fed to its end.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use uuid::Uuid;

use crate::error::FirmwareError;
use crate::keys::PublicKey;
use crate::limits::Limits;
use crate::meta::{Metadata, Resource};
use crate::stream::StreamVerifier;

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;

/// A firmware that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firmware {
    /// Identity of the firmware: derived from `meta.conf`, the same however it is packed and signed.
    pub uuid: Uuid,
    /// What the build says about it.
    pub metadata: Metadata,
    /// Place of the key that verified, in the list given.
    pub key: usize,
    /// Bytes of the container.
    pub size: u64,
    /// SHA-256 of the container.
    pub sha256: [u8; 32],
    /// Resources in the order of `meta.conf`.
    pub resources: Vec<Resource>,
}

/// Reads `reader` to its end and verifies what it gives. Blocks; holds a few hundred KiB at most.
pub fn verify(
    mut reader: impl Read,
    keys: &[PublicKey],
    limits: &Limits,
) -> Result<Firmware, FirmwareError> {
    let mut verifier = StreamVerifier::new(keys, *limits)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => return verifier.finish(),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        for event in verifier.push(&buffer[..read]) {
            event?;
        }
    }
}

/// Verifies a file on disk. Blocks.
pub fn verify_file(
    path: &Path,
    keys: &[PublicKey],
    limits: &Limits,
) -> Result<Firmware, FirmwareError> {
    verify(File::open(path)?, keys, limits)
}
