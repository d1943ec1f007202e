//! The device's parts that touch disk and network, against real files, sockets and programs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod download;
mod firmware;
mod server;
mod session;
mod updaters;
