//! Every bound of a hub node, with its unit in the name: one place to read them all.
//!
//! Machines take the values they need as plain structs whose defaults are these constants;
//! nothing else in the project may invent a bound of its own for the hub.

use std::time::Duration;

// --- before authentication: absolute deadlines, not idle timers
/// Bytes of one PROXY header.
pub const PROXY_HEADER_BYTES_MAX: usize = 1024;
/// The PROXY header must be complete this long after accept.
pub const PROXY_HEADER_MAX: Duration = Duration::from_secs(5);
/// A connection that a load balancer has made for a device waits this long for its handshake at most; then it is closed.
pub const ADMISSION_WAIT_MAX: Duration = Duration::from_secs(3);
/// The TLS handshake must be complete this long after accept.
pub const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// One message of the TLS handshake, of which a client's certificate chain is the longest; the length the TLS library allows.
pub const TLS_HANDSHAKE_BYTES_MAX: usize = 64 * 1024;
/// The head of the HTTP request must be complete this long after the TLS handshake.
pub const REQUEST_HEAD_MAX: Duration = Duration::from_secs(5);
/// The first join must arrive this long after the upgrade.
pub const FIRST_JOIN_MAX: Duration = Duration::from_secs(10);
/// Bytes of one HTTP request head on the device port.
pub const REQUEST_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header lines of one HTTP request on the device port.
pub const REQUEST_HEADERS_MAX: usize = 100;
/// Connections that are between accept and upgrade at the same time; more wait in the kernel's backlog. Far more than handshakes
/// that make progress, so that silent connections do not keep others out.
pub const HANDSHAKES_MAX: usize = 4_096;
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
/// Bytes of one connection that the kernel may hold unsent; without this a device that reads nothing costs megabytes
/// that no other bound sees.
pub const KERNEL_UNSENT_BYTES_MAX: u32 = 64 * 1024;
/// Group entries waiting for a socket's actor; when full they are dropped and read from the store again.
pub const INBOX_ENTRIES_MAX: usize = 64;
/// A socket without inbound frames is pinged after this long; above the usual 30 s heartbeat, so that a healthy
/// device is never pinged.
pub const PING_AFTER: Duration = Duration::from_secs(32);
/// A socket without inbound frames is closed after this long.
pub const SILENCE_MAX: Duration = Duration::from_secs(40);
/// A socket that was told to close is dropped after this long, answer or not.
pub const CLOSING_MAX: Duration = Duration::from_secs(5);
/// Messages and pings a second that a device may send for long.
pub const MESSAGES_PER_SECOND: u32 = 10;
/// Messages and pings a device may send at once.
pub const MESSAGES_BURST: u32 = 50;
/// Messages that a device owes as answers to commands and that cost it nothing: an acknowledgement and a result for each
/// command that can be under way.
pub const MESSAGES_ASKED_MAX: u16 = 2 * UNACKED_COMMANDS_MAX as u16;
/// A device that keeps its socket's reading paused for this long is closed.
pub const FLOOD_MAX: Duration = Duration::from_secs(10);
/// Unreadable frames within [`MALFORMED_WINDOW`] after which the socket is closed.
pub const MALFORMED_MAX: u32 = 5;
/// See [`MALFORMED_MAX`].
pub const MALFORMED_WINDOW: Duration = Duration::from_secs(60);

// --- delivery
/// Commands sent to one device and not acknowledged yet; also what one reconcile reads.
pub const UNACKED_COMMANDS_MAX: usize = 32;
/// A device that declared acks must acknowledge a command within this long.
pub const ACK_MAX: Duration = Duration::from_secs(10);
/// Times a command is sent on one socket before the socket counts as half-open.
pub const SENDS_MAX: u8 = 3;
/// Reports of one socket that wait for their commit; more are answered `busy`.
pub const REPORTS_IN_FLIGHT_MAX: usize = 3 * UNACKED_COMMANDS_MAX;
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

// --- node
/// Writes of sockets that wait for the store; more are refused as `unavailable`.
pub const WRITES_QUEUED_MAX: usize = 20_000;
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
/// A draining node tells its next devices this often, and each to come back within as long.
pub const DRAIN_TICK: Duration = Duration::from_millis(100);
/// Devices told to reconnect come back spread over this long.
pub const RECONNECT_SPREAD: Duration = Duration::from_secs(5);
/// A signed download URL is good for this long; at most 15 minutes.
pub const DOWNLOAD_URL_TTL: Duration = Duration::from_secs(15 * 60);

// --- the bus between nodes
/// Channels over which hints are spread.
pub const BUS_SHARDS: u64 = 16;
/// Messages of this node that wait to be published; more are dropped and found by polling.
pub const BUS_OUTGOING_MAX: usize = 4_096;
/// Messages published in one round trip.
pub const BUS_BATCH_MAX: usize = 256;
/// A node says this often that it is there.
pub const BEACON_EVERY: Duration = Duration::from_secs(1);
/// A node that was not heard for this long is not heard.
pub const BEACON_MISSING_MAX: Duration = Duration::from_secs(3);
/// Connecting, one subscription and one publish must each be answered within this time.
pub const BUS_CALL_MAX: Duration = Duration::from_secs(2);
/// Pause before a lost connection is made again, doubled up to [`BUS_RETRY_MAX`].
pub const BUS_RETRY_MIN: Duration = Duration::from_millis(200);
/// See [`BUS_RETRY_MIN`].
pub const BUS_RETRY_MAX: Duration = Duration::from_secs(5);
/// The change log is polled this often while the bus is not heard.
pub const POLL_EVERY_DEGRADED: Duration = Duration::from_millis(500);

// --- one owner per device
/// A node's lease lasts this long from each renewal, by the database's clock.
pub const LEASE_TTL: Duration = Duration::from_secs(15);
/// A lease is renewed this often.
pub const LEASE_RENEW_EVERY: Duration = Duration::from_secs(5);
/// A renewal that failed is tried again after this.
pub const LEASE_RETRY: Duration = Duration::from_secs(1);
/// Devices that one statement claims again, gives up or marks as gone.
pub const LEASE_DEVICES_MAX: usize = 1_000;
/// A lease that ran out is kept this long, so that whatever its node still wrote is noticed.
pub const LEASE_KEPT: Duration = Duration::from_secs(3_600);
/// Nodes of one cluster that a node keeps in mind besides itself.
pub const NODES_MAX: usize = 256;
/// A node looks this often for notices that other nodes left; the bus says the same sooner.
pub const NOTICES_EVERY: Duration = Duration::from_secs(1);
/// Notices that one look takes.
pub const NOTICES_MAX: usize = 1_000;
/// Within this long, a device may be taken over [`TAKEOVERS_MAX`] times before its holder is asked to prove itself.
pub const TAKEOVERS_WINDOW: Duration = Duration::from_secs(60);
/// See [`TAKEOVERS_WINDOW`].
pub const TAKEOVERS_MAX: i64 = 5;
/// A holder that was asked to prove itself must answer a ping within this.
pub const CHALLENGE_MAX: Duration = Duration::from_secs(3);
/// A newcomer waits this long for the holder's proof: [`NOTICES_EVERY`] for the question to arrive when the bus is down, and
/// [`CHALLENGE_MAX`], and one second for the answers on their way.
pub const CONTEST_MAX: Duration = Duration::from_secs(5);
/// Times one join has its holder asked; a device that changes hands all the while is told to come back.
pub const CONTEST_ROUNDS_MAX: u32 = 3;
/// A newcomer whose identity is held by another live socket is told to stay away for this long.
pub const DUPLICATE_RETRY: Duration = Duration::from_secs(300);

// --- while the database is away
/// A node without its database asks the others this often whether they have it.
pub const PEERS_ASKED_EVERY: Duration = Duration::from_secs(5);
/// A node whose peers have the database for this long while it has not is cut off.
pub const ISOLATED_AFTER: Duration = Duration::from_secs(30);
/// A database that is away is asked this often whether it is back.
pub const DATABASE_PROBE_EVERY: Duration = Duration::from_millis(500);
/// A batch of writes is given up this long after its first failure to reach the database.
pub const WRITES_RETRIED_MAX: Duration = Duration::from_millis(1_500);
/// A device whose socket ended may connect again without the database for this long.
pub const TRUST_MAX: Duration = Duration::from_secs(600);
/// Devices trusted in this way.
pub const TRUSTED_MAX: usize = 20_000;
/// Joins a second that a database takes which was just away; devices that wait for it are spread so that no more come.
pub const JOINS_PER_SECOND: u64 = 500;
/// Longest time a device is told to wait for the database.
pub const UNAVAILABLE_RETRY_MAX: Duration = Duration::from_secs(60);

// --- rebalancing
/// A node that holds too many devices looks this often whether it still does.
pub const REBALANCE_TICK: Duration = Duration::from_secs(1);
/// An operator's order to level nodes lasts this long where it does not say otherwise.
pub const REBALANCE_LASTS: Duration = Duration::from_secs(600);
/// An operator's order to level nodes lasts at most this long.
pub const REBALANCE_LASTS_MAX: Duration = Duration::from_secs(24 * 3600);
/// Devices that a node sends away a second, at most, to level nodes.
pub const REBALANCE_PER_SECOND_MAX: u32 = 1_000;
/// A node may hold this many percent of the mean, at most, and still be level.
pub const REBALANCE_RELATIVE_PERCENT_MAX: u32 = 1_000;

// --- configuration
/// Bytes of a file with a secret.
pub const SECRET_FILE_BYTES_MAX: u64 = 16 * 1024;

// --- telemetry
/// Series of latency histograms for which traces are kept as examples, one in each bucket.
pub const EXEMPLAR_SERIES_MAX: usize = 256;
/// Spans, and log records, that wait to be sent, where the environment does not say otherwise; more are dropped and counted.
pub const TELEMETRY_QUEUED: usize = 2048;
/// Longest call to a receiver of telemetry, where the environment does not say otherwise.
pub const TELEMETRY_CALL_MAX: Duration = Duration::from_secs(10);
/// Longest time a node that ends goes on sending telemetry.
pub const TELEMETRY_STOP_MAX: Duration = Duration::from_secs(3);
/// Commands whose traces a node keeps, the last ones it heard of.
pub const TRACED_COMMANDS_MAX: usize = 1024;
/// Deliveries of one command that get spans on each node.
pub const SPANS_PER_COMMAND_MAX: u32 = 16;
/// Failures of one command that get spans on each node, beside those.
pub const FAILURE_SPANS_PER_COMMAND_MAX: u32 = 128;
/// Deliveries with spans that one socket remembers until their ends.
pub const JOURNEYS_PER_SOCKET_MAX: usize = 32;

// --- firmware files
/// Firmware uploads that one node takes at the same time; more are answered 503.
pub const UPLOADS_MAX: usize = 8;
/// An upload that sends nothing for this long is broken off.
pub const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(30);
/// Pieces of one upload that wait for the disk; then the client has to wait.
pub const UPLOAD_QUEUED_CHUNKS_MAX: usize = 8;
/// Clocks of nodes that honour each other's download links may differ by this much.
pub const DOWNLOAD_CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);
/// Bytes of a firmware file that are read and sent at a time.
pub const DOWNLOAD_CHUNK_BYTES: usize = 64 * 1024;
/// A downloader that leaves bytes waiting must take [`DOWNLOAD_BYTES_PER_WINDOW_MIN`] of them in this long.
pub const DOWNLOAD_WINDOW: Duration = Duration::from_secs(30);
/// See [`DOWNLOAD_WINDOW`]; some 270 bytes a second, which a bad radio link still manages.
pub const DOWNLOAD_BYTES_PER_WINDOW_MIN: usize = 8 * 1024;

const _: () = {
    assert!(PING_AFTER.as_secs() < SILENCE_MAX.as_secs());
    assert!(SILENCE_MAX.as_secs() <= 60);
    assert!(DOWNLOAD_URL_TTL.as_secs() <= 900);
    assert!(OUTBOX_BYTES_MAX >= 2 * MESSAGE_BYTES_MAX);
    assert!(LEASE_TTL.as_secs() >= 3 * LEASE_RENEW_EVERY.as_secs());
    assert!(CONTEST_MAX.as_millis() > NOTICES_EVERY.as_millis() + CHALLENGE_MAX.as_millis());
};
// --- certificates
/// Certificates a client may send besides its own.
pub const INTERMEDIATES_MAX: usize = 6;
/// Registered authorities tried as the signer of one certificate.
pub const ANCHORS_MAX: usize = 4;
/// Reads of authorities that one handshake of an unknown certificate may cause.
pub const ANCHOR_READS_MAX: usize = 8;
/// The store must say who holds a certificate within this time.
pub const VERDICT_MAX: Duration = Duration::from_secs(2);
/// Certificates looked up in one read.
pub const LOOKUPS_MAX: usize = 128;
/// Certificates that wait to be looked up; more handshakes wait for a place.
pub const LOOKUPS_QUEUED_MAX: usize = 1024;
/// A TLS session key for tickets makes tickets for this long and accepts them for twice as long.
pub const TICKET_KEY_LIFETIME: Duration = Duration::from_secs(6 * 3600);
/// A node looks this often whether the files of its device certificate were replaced.
pub const CERTIFICATE_LOOK_EVERY: Duration = Duration::from_secs(30);
/// Files of revocation lists in a directory.
pub const CRL_FILES_MAX: usize = 256;
/// Bytes of a file of revocation lists.
pub const CRL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A revocation list is used for so long after its `nextUpdate`; then its issuer's certificates are refused.
pub const CRL_GRACE: Duration = Duration::from_secs(24 * 3600);
/// Bytes of a certificate's serial number; the bound of RFC 5280.
pub const CERTIFICATE_SERIAL_BYTES_MAX: usize = 20;
/// Bytes of PEM text with one certificate.
pub const CERTIFICATE_PEM_BYTES_MAX: usize = 64 * 1024;

// --- answers on the device port before the upgrade
/// Query parameters of one request on the device port.
pub const QUERY_PARAMETERS_MAX: usize = 16;
/// WebSocket subprotocols of one upgrade that are read; further ones are ignored.
pub const SUBPROTOCOLS_MAX: usize = 8;
/// When a device asks again after the store could not say who it is.
pub const IDENTITY_RETRY_AFTER: Duration = Duration::from_secs(5);
/// A refusal must be written this fast; a peer that does not read it is dropped.
pub const REFUSAL_WRITE_MAX: Duration = Duration::from_secs(2);

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
/// A code that proves possession of an authority's key is good for this long.
pub const REGISTRATION_TTL: Duration = Duration::from_secs(24 * 3_600);
/// Seconds a caller is told to wait after a 503.
pub const API_RETRY_AFTER_S: u32 = 2;
/// Time one call spends on announcing what it committed; what is left is found by polling.
pub const API_PUBLISH_MAX: Duration = Duration::from_secs(1);
/// Printable characters of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// A call waits this long for another one with the same idempotency key.
pub const IDEMPOTENCY_WAIT_MAX: Duration = Duration::from_secs(5);

// --- the store
/// Rows of one page of a list.
pub const STORE_PAGE_ROWS_MAX: usize = 1_000;
/// Writes of sockets in one transaction: what is batched, and what the store takes in one call.
pub const DEVICE_WRITES_MAX: usize = 256;
/// Groups one device can be in: the reply to its join lists them all, and must fit in a frame.
pub const GROUPS_PER_DEVICE_MAX: i64 = 100;
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
/// Connections of one node to a Postgres database.
pub const STORE_CONNECTIONS_MAX: u32 = 16;
/// One statement of a Postgres database, and a pause inside one transaction.
pub const STORE_STATEMENT_MAX: Duration = Duration::from_secs(5);
/// Waiting for a lock that another transaction of a Postgres database holds.
pub const STORE_LOCK_MAX: Duration = Duration::from_secs(2);
/// A call must be answered by the database within this time, or it counts as away.
pub const STORE_CALL_MAX: Duration = Duration::from_secs(5);
/// The same for the small reads that a node does all the time anyway: they tell first that the database is away.
pub const STORE_PROBE_MAX: Duration = Duration::from_millis(1_500);
/// Rows that a copy between databases moves in one statement.
pub const COPY_ROWS_MAX: usize = 500;
/// Prepared statements kept per connection.
pub const STORE_STATEMENTS_MAX: usize = 256;
