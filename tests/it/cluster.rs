//! Three real nodes on a real Postgres and a real Redis: what a cluster must keep up whatever happens to its parts.

mod commits;
mod crew;
mod drain;
mod failover;
mod faults;
mod outages;
mod owners;
mod partitions;
mod prometheus;
mod reach;
mod rebalance;
mod traces;
