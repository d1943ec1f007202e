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

// --- operators' API
/// Bytes of one JSON body: 10,000 device names fit.
pub const API_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one answer that is remembered under an idempotency key.
pub const API_ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// A call must be answered this long after its head arrived, its body included.
pub const API_CALL_MAX: Duration = Duration::from_secs(30);
/// Calls being carried out at a time; the next one is answered 503.
pub const API_CALLS_MAX: usize = 256;
/// A firmware upload must be over this long after its head arrived.
pub const API_UPLOAD_MAX: Duration = Duration::from_secs(3_600);
/// Firmware uploads being received at a time; the next one is answered 503.
pub const API_UPLOADS_MAX: usize = 4;
/// Seconds a caller is told to wait after a 503.
pub const API_RETRY_AFTER_S: u32 = 2;
/// Time one call spends on announcing what it committed; what is left is found by polling.
pub const API_PUBLISH_MAX: Duration = Duration::from_secs(1);
/// Printable characters of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// A call waits this long for another one with the same idempotency key.
pub const IDEMPOTENCY_WAIT_MAX: Duration = Duration::from_secs(5);
