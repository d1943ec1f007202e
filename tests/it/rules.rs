//! The ten rules of the device protocol, each on a real node over real TLS.

mod channels;
mod commands;
mod connection;
mod identity;
mod updates;
