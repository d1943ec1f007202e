//! What hub does: actors, TLS, WebSocket, store, bus and the operators' API around the decisions of `hub-core`.

pub mod api;
mod blobs;
pub mod bus;
pub mod edge;
pub mod identity;
mod intake;
pub mod pki;
pub mod store;
