//! The `.fw` firmware container: reading, verifying and writing it, and talking to the program that applies it.
//!
//! A `.fw` file is a ZIP archive whose first entry is an Ed25519 signature, whose second entry `meta.conf` is what
//! was signed, and whose remaining entries are the resources that `meta.conf` binds by length and BLAKE2b-256.
//! One verifier serves everybody: [`StreamVerifier`] takes bytes as they arrive, and [`verify`] feeds it a reader.
//! The hub and the device therefore cannot disagree about a file. Nothing is ever unpacked to a path.

mod builder;
mod container;
mod error;
pub mod framing;
mod keys;
pub mod limits;
mod meta;
mod path;
mod stream;
mod verify;

#[cfg(test)]
mod fixture;

pub use builder::{BuildError, Builder};
pub use error::FirmwareError;
pub use keys::{KeyError, PublicKey, SigningKey};
pub use limits::Limits;
pub use meta::{MetaError, Metadata, Resource, firmware_uuid};
pub use stream::{Announced, Event, Events, StreamVerifier};
pub use verify::{Firmware, verify, verify_file};
