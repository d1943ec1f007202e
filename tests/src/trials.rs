//! Fault trials: a load of commands on a hub whose parts are killed, frozen and cut off, and the judgement at the end.
//!
//! Owns the claim that faults cost nothing but time: every command that the API accepted takes effect on its exact audience, none
//! twice, and those of one channel in the order of their acceptance. Faults follow from a seed. How processes interleave is the
//! machine's to say.

pub mod checker;
pub mod cluster;
pub mod faults;
pub mod rolling;
pub mod writer;
