//! The actors of a node.
//!
//! ```text
//!   Node ─┬─ socket_supervisor (a few shards) ─┬─ device_socket   one per device socket, runs one `Session`
//!         │                                    └─ …
//!         └─ groups ─┬─ group_channel   one per group with members on this node, runs one `Fanout`
//!                    └─ …
//! ```
//! A plural file is a supervisor, a singular one is one actor running one machine. No actor is restarted by its supervisor: a socket's
//! device connects again, and a group channel is started again by its members. What a dead socket held is released by a
//! guard in its state, because `post_stop` does not run after a panic.

pub(crate) mod device_socket;
pub(crate) mod group_channel;
pub(crate) mod groups;
pub(crate) mod sockets;
