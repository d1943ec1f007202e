//! The device's parts that touch disk and network, against real files, sockets and programs.

mod download;
mod firmware;
mod server;
mod session;
mod updaters;
