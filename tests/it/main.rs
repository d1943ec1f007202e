//! Every whole-node test, in one binary: cargo links the server once, not once per file.
//!
//! Each module is one subject and starts its own nodes on ports of its own, so tests run side by side.
//! What they share is the library of this package. A test ends only what it started.

#![allow(
    clippy::unwrap_used,
    reason = "a whole target of tests: a panic is a failed test"
)]

mod abuse;
mod acts;
mod cluster;
mod device;
mod harness;
mod kills;
mod phoenix_client;
mod reload;
mod rules;
mod slow_readers;
mod wire_rules;
