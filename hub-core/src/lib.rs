//! What hub decides: pure state machines, without async, I/O, clock, randomness or logging.
//!
//! Every machine has the same shape: `step(&mut self, event, now, &mut effects)` and `deadline()`. Three laws hold for all
//! of them and are property-tested: total (no event panics), deterministic (same events, same effects), bounded (effects
//! per step and memory stay within [`limits`]). A refusal is an effect with a reason, never an `Err`.

#![warn(clippy::iter_over_hash_type)]
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "a test takes one moment from the clock to count from"
    )
)]

pub mod admission;
pub mod bus_health;
pub mod command;
pub mod fanout;
pub mod isolation;
pub mod lease;
pub mod level;
pub mod limits;
pub mod outbox;
pub mod rate;
pub mod rebalance;
pub mod session;
pub mod target;
