//! What hub decides: pure state machines, without async, I/O, clock, randomness or logging.

pub mod command;
pub mod level;
pub mod limits;
