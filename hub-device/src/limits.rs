//! Every bound of the device in one place, with its unit in its name.
//!
//! Owns the rule that each queue, buffer and wait of this crate ends somewhere. A bound that the hub shares
//! (frame size, command audience) is kept at or under the hub's own figure, so that a device is never the first to refuse.

use std::time::Duration;

/// Commands remembered on disk, so that a repeat is answered and not run again.
pub const COMMANDS_REMEMBERED_MAX: usize = 64;
/// Commands accepted and not yet finished; the hub keeps at most this many unacknowledged. Must stay below
/// [`COMMANDS_REMEMBERED_MAX`], so that a command still waiting is never forgotten.
pub const COMMANDS_WAITING_MAX: usize = 32;
/// Commands sent back whose turn is kept; the hub has no more unacknowledged ones under way.
pub const COMMANDS_REFUSED_MAX: usize = 32;
/// Bytes of a command's output that are kept and reported; the rest is cut at a character boundary.
pub const COMMAND_OUTPUT_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a command's arguments as JSON text.
pub const COMMAND_ARGS_BYTES_MAX: usize = 16 * 1024;
/// Longest run of one command handler.
pub const COMMAND_RUN_MAX: Duration = Duration::from_secs(300);

/// Reports kept until the hub replies; the oldest goes first when a hub never replies.
pub const REPORTS_KEPT_MAX: usize = 128;
/// Of those, what results of commands may take; a command whose result would find no room is not accepted yet.
pub const RESULTS_KEPT_MAX: usize = 96;
/// Wait for a reply to a report before it is sent again on the same connection.
pub const REPORT_REPLY_WAIT: Duration = Duration::from_secs(30);
/// Longest pause between two sends of one report.
pub const REPORT_RESEND_CAP: Duration = Duration::from_secs(300);
/// Reports on the wire at once without a reply.
pub const REPORTS_IN_FLIGHT_MAX: usize = 16;

/// Group channels followed at once; the hub allows 100 channels on one socket.
pub const GROUPS_MAX: usize = 96;
/// Bytes of a channel name the device will join.
pub const TOPIC_BYTES_MAX: usize = 256;

/// Pause between heartbeats.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
/// Wait for the answer to a join before it is sent again with a new reference.
pub const JOIN_REPLY_WAIT: Duration = Duration::from_secs(15);
/// Unanswered joins of the device channel before the socket itself is given up.
pub const JOIN_SILENCES_MAX: u32 = 3;
/// First step and cap of the pause before joining again on the same socket.
pub const REJOIN_BASE: Duration = Duration::from_secs(1);
/// See [`REJOIN_BASE`].
pub const REJOIN_CAP: Duration = Duration::from_secs(60);
/// Longest `retry_after_ms` or `after_ms` the device follows; a larger value is cut to this.
pub const HUB_DELAY_CAP: Duration = Duration::from_secs(600);

/// First step of the pause before connecting again.
pub const RECONNECT_BASE: Duration = Duration::from_secs(1);
/// Cap of the pause before connecting again.
pub const RECONNECT_CAP: Duration = Duration::from_secs(60);
/// Pause window used when the hub said that coming back will not help (revoked, superseded).
pub const RECONNECT_REFUSED_CAP: Duration = Duration::from_secs(900);
/// A connection this old resets the count of failed attempts.
pub const CONNECTION_STABLE_AFTER: Duration = Duration::from_secs(30);

/// Whole dial: name lookup, TCP, TLS and upgrade together.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(20);
/// Wait for the peer's half of the close handshake before TCP is dropped.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// One frame's way into the socket; a longer stall means a dead peer.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(20);
/// WebSocket read buffer; tungstenite's default of 128 KiB is paid by every idle socket.
pub const READ_BUFFER_BYTES: usize = 4 * 1024;
/// WebSocket write buffer.
pub const WRITE_BUFFER_BYTES: usize = 4 * 1024;
/// Largest write buffer before the socket counts as dead.
pub const WRITE_BUFFER_BYTES_MAX: usize = 128 * 1024;
/// Largest message the device reads from the hub.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a PEM file (certificate, key or CA bundle).
pub const PEM_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Shortest pause between two progress reports: at most two a second.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// Wait for outstanding reports before a restart goes ahead without their replies.
pub const REBOOT_GRACE: Duration = Duration::from_secs(5);
/// After the reboot command returned, how long the process waits to be ended by it.
pub const REBOOT_COMMAND_WAIT: Duration = Duration::from_secs(300);
/// Pause window after a failed update before the same firmware is tried again.
pub const UPDATE_RETRY_BASE: Duration = Duration::from_secs(5);
/// See [`UPDATE_RETRY_BASE`].
pub const UPDATE_RETRY_CAP: Duration = Duration::from_secs(600);

/// Attempts of one download in a row that bring no byte before it fails.
pub const DOWNLOAD_ATTEMPTS_MAX: u32 = 8;
/// Attempts of one download in all, progress or not.
pub const DOWNLOAD_ATTEMPTS_TOTAL_MAX: u32 = 64;
/// First step of the pause between download attempts.
pub const DOWNLOAD_RETRY_BASE: Duration = Duration::from_millis(500);
/// Cap of the pause between download attempts.
pub const DOWNLOAD_RETRY_CAP: Duration = Duration::from_secs(30);
/// Time to the answer's head.
pub const DOWNLOAD_CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Silence inside a body before the attempt counts as cut.
pub const DOWNLOAD_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest firmware file taken, whatever the offer says.
pub const FIRMWARE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Bytes of a firmware URL.
pub const URL_BYTES_MAX: usize = 8 * 1024;

/// Bytes at the end of the stream that `fwup` receives only after everything was verified, so that it cannot finish
/// a file that turns out to be wrong.
pub const FWUP_HOLD_BACK_BYTES: usize = 64 * 1024;
/// Longest single message read from `fwup`.
pub const FWUP_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Silence of `fwup` after the end of its input before it is ended.
pub const FWUP_FINISH_TIMEOUT: Duration = Duration::from_secs(600);
/// Wait for `fwup` to take one chunk.
pub const FWUP_WRITE_TIMEOUT: Duration = Duration::from_secs(120);
/// Messages of the update task waiting for the device's loop.
pub const UPDATE_EVENTS_MAX: usize = 16;
/// Resources of one firmware in a slot.
pub const SLOT_RESOURCES_MAX: usize = 1024;

/// Pause before a command's start is written again after the disk refused it.
pub const JOURNAL_RETRY: Duration = Duration::from_secs(5);
/// Journal lines before the file is rewritten.
pub const JOURNAL_LINES_MAX: usize = 1024;
/// Bytes of a journal file that will be read at start.
pub const JOURNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Log lines the built-in `logs` command can return.
pub const LOG_LINES_KEPT_MAX: usize = 64;
/// Bytes of one kept log line.
pub const LOG_LINE_BYTES_MAX: usize = 256;

const _: () = assert!(COMMANDS_WAITING_MAX < COMMANDS_REMEMBERED_MAX);
const _: () =
    assert!(COMMANDS_WAITING_MAX < RESULTS_KEPT_MAX && RESULTS_KEPT_MAX < REPORTS_KEPT_MAX);
const _: () = assert!(READ_BUFFER_BYTES <= MESSAGE_BYTES_MAX);
const _: () = assert!(
    COMMAND_OUTPUT_BYTES_MAX * 6 < MESSAGE_BYTES_MAX,
    "an output of control characters still fits a frame"
);
