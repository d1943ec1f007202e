//! Every bound of a hub node, with its unit in the name: one place to read them all.
//!
//! Machines take the values they need as plain structs whose defaults are these constants;
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
/// Connections that are between accept and upgrade at the same time; more wait in the kernel's backlog.
pub const HANDSHAKES_MAX: usize = 512;
/// Firmware downloads that one node serves at the same time; more are answered 503.
pub const DOWNLOADS_MAX: usize = 1_024;
/// Device sockets that one node holds at the same time; more are answered 503.
pub const SOCKETS_MAX: usize = 1_000_000;

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
/// Group entries waiting for a socket's actor; when full they are dropped and read from the store again.
pub const INBOX_ENTRIES_MAX: usize = 64;
/// A socket without inbound frames is pinged after this long; above the usual 30 s heartbeat, so that a healthy
/// device is never pinged.
pub const PING_AFTER: Duration = Duration::from_secs(32);
/// A socket without inbound frames is closed after this long.
pub const SILENCE_MAX: Duration = Duration::from_secs(40);
/// A socket that was told to close is dropped after this long, answer or not.
pub const CLOSING_MAX: Duration = Duration::from_secs(5);
/// Messages a second that a device may send for long.
pub const MESSAGES_PER_SECOND: u32 = 10;
/// Messages a device may send at once.
pub const MESSAGES_BURST: u32 = 50;
/// A device that keeps its socket's reading paused for this long is closed.
pub const FLOOD_MAX: Duration = Duration::from_secs(10);
/// Pings a second above which a second counts as flooded.
pub const PINGS_PER_SECOND_MAX: u32 = 100;
/// Flooded seconds in a row after which the socket is closed.
pub const PING_FLOOD_SECONDS: u32 = 5;
/// Unreadable frames within [`MALFORMED_WINDOW`] after which the socket is closed.
pub const MALFORMED_MAX: u32 = 5;
/// See [`MALFORMED_MAX`].
pub const MALFORMED_WINDOW: Duration = Duration::from_secs(60);

// --- delivery
/// Commands sent to one device and not acknowledged yet; also what one reconcile reads.
pub const UNACKED_COMMANDS_MAX: usize = 32;
/// Pushed commands that wait for their claim on one socket.
pub const CLAIM_QUEUE_MAX: usize = 32;
/// A device that declared acks must acknowledge a command within this long.
pub const ACK_MAX: Duration = Duration::from_secs(10);
/// Times a command is sent on one socket before the socket counts as half-open.
pub const SENDS_MAX: u8 = 3;
/// Reports of one socket that wait for their commit; more are answered `busy`.
pub const REPORTS_IN_FLIGHT_MAX: usize = 32;
/// Progress of an update is stored at most this often per device.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Pause before a failed read of the store is tried again, doubled each time up to [`RETRY_MAX`].
pub const RETRY_MIN: Duration = Duration::from_secs(1);
/// See [`RETRY_MIN`]; also what a device is told to wait when the store is away.
pub const RETRY_MAX: Duration = Duration::from_secs(30);
/// Offers of the same target to the same device before it has to wait.
pub const OFFERS_FREE: u32 = 3;
/// First wait of a device that took [`OFFERS_FREE`] offers and still runs something else; doubled for each further offer.
pub const OFFER_PENALTY_MIN: Duration = Duration::from_secs(60);
/// Longest wait between two offers of the same target.
pub const OFFER_PENALTY_MAX: Duration = Duration::from_secs(24 * 3600);
/// Commands of a group that one catch-up read returns.
pub const GROUP_CATCH_UP_MAX: usize = 256;
/// Output of a command that is kept; longer output is refused.
pub const COMMAND_OUTPUT_BYTES_MAX: usize = 32 * 1024;
/// Text of an update error that is kept; the rest is cut.
pub const UPDATE_ERROR_BYTES_MAX: usize = 4 * 1024;

// --- node
/// Writes of sockets that wait for the store; more are refused as `unavailable`.
pub const WRITES_QUEUED_MAX: usize = 20_000;
/// Writes of sockets in one transaction.
pub const WRITES_PER_BATCH_MAX: usize = 256;
/// Reads for sockets that run at the same time; more wait.
pub const READS_MAX: usize = 64;
/// Hints that wait in the in-process bus; more are dropped and found by polling.
pub const BUS_HINTS_MAX: usize = 4_096;
/// The change log is polled this often, whatever the bus says.
pub const POLL_EVERY: Duration = Duration::from_secs(2);
/// Changes read by one poll.
pub const POLL_CHANGES_MAX: usize = 1_000;
/// Deadlines of sockets are looked at this often, so they are met up to this late.
pub const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// A stopping node gives its sockets this long to take their goodbye.
pub const STOP_MAX: Duration = Duration::from_secs(10);
/// Devices told to reconnect come back spread over this long.
pub const RECONNECT_SPREAD: Duration = Duration::from_secs(5);
/// A signed download URL is good for this long; at most 15 minutes.
pub const DOWNLOAD_URL_TTL: Duration = Duration::from_secs(15 * 60);

const _: () = {
    assert!(PING_AFTER.as_secs() < SILENCE_MAX.as_secs());
    assert!(SILENCE_MAX.as_secs() <= 60);
    assert!(CLAIM_QUEUE_MAX >= UNACKED_COMMANDS_MAX);
    assert!(DOWNLOAD_URL_TTL.as_secs() <= 900);
    assert!(OUTBOX_BYTES_MAX >= 2 * MESSAGE_BYTES_MAX);
};
