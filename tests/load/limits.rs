//! Every bound of the load harness, with its unit in the name.

use std::time::Duration;

/// Files that a process needs besides its sockets: the database, logs, pipes, the runtime's own.
pub(crate) const FILES_KEPT: u64 = 200;
/// Worker processes of one run.
pub(crate) const WORKERS_MAX: u32 = 32;
/// Devices that one worker connects at the same time. Two workers stay below the node's own bound on handshakes.
pub(crate) const CONNECTS_AT_ONCE: usize = 32;
/// Notes of workers that wait to be read; then the workers wait.
pub(crate) const NOTES_MAX: usize = 1_024;
/// A worker tells how far it is after this many devices.
pub(crate) const PROGRESS_STEP: u32 = 20;

/// The node must be ready this long after it was started.
pub(crate) const START_MAX: Duration = Duration::from_secs(30);
/// A node that was told to stop must be gone after this long.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(60);
/// One device must be connected and have joined all its channels after this long.
pub(crate) const ARRIVAL_MAX: Duration = Duration::from_secs(60);
/// No worker may be silent for this long while it carries out an order.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(90);
/// A command must be with the last device after this long, and its last acknowledgement committed. A hub that could not
/// commit some asks for them again after up to half a minute.
pub(crate) const ROUND_MAX: Duration = Duration::from_secs(180);
/// A worker whose orders have ended must be gone after this long.
pub(crate) const FAREWELL_MAX: Duration = Duration::from_secs(10);

/// Every device says this often that it lives, as the clients of the founding protocol do.
pub(crate) const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);
/// Commands start at least this far apart: a device may send 10 messages a second for long, and each command costs
/// it one acknowledgement, beside its heartbeats.
pub(crate) const COMMAND_EVERY: Duration = Duration::from_millis(125);
/// Quiet time before memory or idle CPU is read, so that what belongs to the phase before is over.
pub(crate) const SETTLE: Duration = Duration::from_secs(3);
/// The receive buffer of a device that reads nothing, bytes, before the system doubles it.
pub(crate) const STALLED_RECEIVE_BYTES: u32 = 4 * 1_024;
/// It says this often that it lives: below what counts as a flood.
pub(crate) const STALLED_BEAT_EVERY: Duration = Duration::from_millis(125);
/// It says so this often at the start, which the hub allows as well: the answers must fill its outbox before it is given up because it
/// acknowledges nothing.
pub(crate) const STALLED_BURST: u32 = 30;
/// Commands that wait for each of them: as many as a hub has on their way to one device.
pub(crate) const BACKLOG_COMMANDS: usize = 32;
/// Bytes of the arguments of each.
pub(crate) const BACKLOG_ARGS_BYTES: usize = 16_000;
/// How often the measuring process looks whether they are given up: a few times while the hub still says why.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// They must be given up after this long.
pub(crate) const GIVEN_UP_MAX: Duration = Duration::from_secs(120);
/// Bytes of the arguments of one group command, as JSON.
pub(crate) const ARGS_BYTES: usize = 256;

/// The read buffer of one simulated device, bytes.
pub(crate) const READ_BUFFER_BYTES: usize = 1_024;
/// A simulated device queues at most this many bytes.
pub(crate) const WRITE_BUFFER_BYTES_MAX: usize = 64 * 1_024;

/// Sockets of the floor that are looked after between two waits.
pub(crate) const FLOOR_EVENTS_MAX: usize = 1_024;
/// Orders that wait for the floor; then their reader waits.
pub(crate) const FLOOR_ORDERS_MAX: usize = 16;
/// The floor takes a request's head, or unread frames, of this many bytes at most.
pub(crate) const FLOOR_HEAD_BYTES_MAX: usize = 8 * 1_024;
/// A line or a message of NATS, as a simulated device takes it, has this many bytes at most.
pub(crate) const NATS_BYTES_MAX: usize = 64 * 1_024;
/// A peer must have answered a publication after this long.
pub(crate) const PUBLISH_MAX: Duration = Duration::from_secs(30);
/// TLS sessions that a device remembers: those of one server.
pub(crate) const SESSIONS_KEPT: usize = 1;
