//! Every bound of the firmware reader, with its unit in the name.

/// Smallest `meta.conf` that the format allows, in bytes.
pub const META_BYTES_MIN: usize = 10;
/// Largest `meta.conf` that the format allows, in bytes.
pub const META_BYTES_MAX: usize = 49_999;
/// Exact size of `meta.conf.ed25519`, in bytes.
pub const SIGNATURE_BYTES: usize = 64;
/// Public keys that one signature is tried against.
pub const KEYS_MAX: usize = 64;
/// Bytes of one entry name in the archive.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of one value in `meta.conf`.
pub const VALUE_BYTES_MAX: usize = 4096;
/// Sections inside sections in `meta.conf`.
pub const META_DEPTH_MAX: usize = 8;
/// Bytes of one chunk of resource data handed out by the verifier.
pub const CHUNK_BYTES_MAX: usize = 32 * 1024;
/// Bytes of one message from the updater program.
pub const UPDATER_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Bounds of one container; the defaults suit a hub that nobody configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole file.
    pub container_bytes_max: u64,
    /// Bytes of all entries together after inflating.
    pub unpacked_bytes_max: u64,
    /// Inflated bytes per compressed byte, over the whole file so far …
    pub ratio_max: u64,
    /// … counted only beyond this many inflated bytes, because small images of zeros are common.
    pub ratio_floor_bytes: u64,
    /// Resources in one container.
    pub resources_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            container_bytes_max: 1024 * 1024 * 1024,
            unpacked_bytes_max: 4 * 1024 * 1024 * 1024,
            ratio_max: 200,
            ratio_floor_bytes: 16 * 1024 * 1024,
            resources_max: 256,
        }
    }
}
