//! What hub does: actors, TLS, WebSocket, store, bus and the operators' API around the decisions of `hub-core`.

pub mod store;
