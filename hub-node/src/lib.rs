//! What hub does: actors, TLS, WebSocket, store, bus and the operators' API around the decisions of `hub-core`.

pub mod api;
pub mod bus;
pub mod cli;
pub mod config;
pub mod demo;
pub mod edge;
pub mod firmware;
pub mod healthcheck;
pub mod identity;
pub mod node;
pub mod pki;
pub mod server_certificate;
pub mod store;
pub mod tables;
pub mod telemetry;
pub mod token;

pub(crate) mod actors;
pub(crate) mod admin;
pub(crate) mod blobs;
pub(crate) mod context;
pub(crate) mod database;
pub(crate) mod drain;
pub(crate) mod hints;
pub(crate) mod intake;
pub(crate) mod membership;
pub(crate) mod peers;
pub(crate) mod rebalance;
pub(crate) mod reload;
pub(crate) mod renewal;
pub(crate) mod routing;
pub(crate) mod secret;
pub(crate) mod writes;

pub use config::Config;
pub use node::Node;
pub use telemetry::Telemetry;
