//! A bus that drops, repeats, reorders and delays, a store that is slow and at times away, and a device that comes into a group and
//! leaves it: whatever happens, the device ends up with exactly what was for it, in the order of each channel.
//!
//! `HUB_SEEDS` runs more worlds than the suite does.

mod store;
mod world;

use super::*;
use world::World;

/// Worlds of one run.
const SEEDS: u64 = 2_000;

#[test]
fn a_lossy_bus_gives_the_same_final_state() {
    let more = std::env::var("HUB_SEEDS").ok();
    let seeds = more.and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let first = std::env::var("HUB_SEED")
        .ok()
        .and_then(|t| t.parse().ok())
        .unwrap_or(1);
    for seed in first..=seeds {
        World::new(seed).run().check(seed);
    }
}
