//! Every bound of a hub node, with its unit in the name: one place to read them all.
//!
//! Core machines take the values they need as plain structs whose defaults are these constants;
//! nothing else in the project may invent a bound of its own for the hub.

use std::time::Duration;

// --- before authentication: absolute deadlines, not idle timers
/// The TLS handshake must be complete this long after accept.
pub const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// The head of the HTTP request must be complete this long after the TLS handshake.
pub const REQUEST_HEAD_MAX: Duration = Duration::from_secs(5);
/// The first join must arrive this long after the upgrade.
pub const FIRST_JOIN_MAX: Duration = Duration::from_secs(10);
/// Bytes of one HTTP request head on the device port.
pub const REQUEST_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header lines of one HTTP request on the device port.
pub const REQUEST_HEADERS_MAX: usize = 100;

// --- one socket
/// Bytes of one WebSocket message from a device.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Fragments of one WebSocket message.
pub const FRAGMENTS_MAX: u32 = 64;
/// Channels joined on one socket at a time.
pub const CHANNELS_MAX: usize = 32;
/// Messages waiting for a device that reads slowly.
pub const OUTBOX_MESSAGES_MAX: usize = 256;
/// Bytes waiting for a device that reads slowly.
pub const OUTBOX_BYTES_MAX: usize = 1024 * 1024;
/// Commands sent to one device and not acknowledged yet.
pub const UNACKED_COMMANDS_MAX: usize = 32;

// --- the store
/// Rows of one page of a list.
pub const STORE_PAGE_ROWS_MAX: usize = 1_000;
/// Writes of sockets in one transaction.
pub const DEVICE_WRITES_MAX: usize = 256;
/// Devices added to a group in one call.
pub const GROUP_MEMBERS_PER_CALL_MAX: usize = 10_000;
/// How long the answer to a creating call is remembered under its key.
pub const IDEMPOTENT_ANSWER_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Waiting for a free connection to the database, after which it counts as unavailable.
pub const STORE_ACQUIRE_MAX: Duration = Duration::from_secs(2);
/// Waiting for another process that holds the lock of the embedded database.
pub const STORE_BUSY_MAX: Duration = Duration::from_secs(2);
/// A reading connection that is idle this long is closed.
pub const STORE_IDLE_MAX: Duration = Duration::from_secs(300);
/// Connections of the embedded database that read.
pub const STORE_READERS_MAX: u32 = 4;
/// Prepared statements kept per connection.
pub const STORE_STATEMENTS_MAX: usize = 256;
