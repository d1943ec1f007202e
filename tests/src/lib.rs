//! The harness of hub's whole-node tests: what a test needs around a hub, and nothing of the hub itself.
//!
//! Certificates are made here at test time, programs are started and ended by pid, every wait has a
//! deadline, and the raw WebSocket client can say things no honest device would.

pub use hub_servers::{ports, process, wait};

pub mod cluster;
pub mod cut_proxy;
pub mod hub_process;
pub mod netns;
pub mod phoenix_js;
pub mod pki;
pub mod raw_ws;
pub mod reference;
pub mod sandbox;
pub mod tenant;
pub mod tls;
pub mod trials;
