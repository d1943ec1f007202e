//! Bounds of the client.

use std::time::Duration;

/// Time for connecting.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Time for one try of a call, its answer included.
pub(crate) const CALL_MAX: Duration = Duration::from_secs(60);
/// Time for an upload.
pub(crate) const UPLOAD_MAX: Duration = Duration::from_secs(3_600);
/// Tries of one call.
pub(crate) const TRIES_MAX: u32 = 4;
/// First pause between two tries; doubled each time.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Longest pause between two tries, also when the hub asks for a longer one.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Bytes of one answer.
pub(crate) const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of one piece of an upload.
pub(crate) const UPLOAD_PIECE_BYTES: usize = 64 * 1024;
