//! hub-proto: what hub promises on the wire, and nothing else.
//!
//! Device frames (Phoenix Channels framing, both serializers), device and hub events, close codes, and the
//! envelope between nodes. Everything here is a total function of its input: no clock, no I/O, no randomness,
//! and no input that panics. `docs/protocol.md` is the same promise in prose, for people who write devices.

pub mod api;
pub mod close;
pub mod cluster;
pub mod codes;
pub mod event;
pub mod frame;
pub mod id;
pub mod json;
pub mod limits;
pub mod push;
pub mod slug;
pub mod tail;
pub mod time;
pub mod topic;
pub mod trace;
pub mod version;

mod text;

pub use tail::Tail;
