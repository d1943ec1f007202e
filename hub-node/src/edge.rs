//! The device port: everything between `accept` and a device's actor, or a firmware download.

pub mod head;
pub mod prefixed;
pub mod tls;
pub mod tls_stream;

pub(crate) mod download;
pub(crate) mod frame_meter;
pub(crate) mod judge;
pub(crate) mod listener;
pub(crate) mod proxy;
pub(crate) mod range;
pub(crate) mod signed_url;
pub(crate) mod tickets;
pub(crate) mod write_deadline;
