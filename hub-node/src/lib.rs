//! What hub does: actors, TLS, WebSocket, store, bus and the operators' API around the decisions of `hub-core`.

pub mod api;
pub mod bus;
pub mod edge;
pub mod identity;
pub mod pki;
pub mod store;
