//! A typed client of the operators' API, for `hubctl`, the demo and tests; depends on the wire types only.
//!
//! [`Client`] has one method per route. Calls that may be repeated without harm are repeated when the connection fails or
//! the hub asks to come back later; creating calls carry an `Idempotency-Key`, so that a repetition has no second effect.

pub mod client;
pub mod error;
mod limits;
mod paths;

pub use client::upload::Progress;
pub use client::{Client, ClientOptions, PageOf};
pub use error::ClientError;
