//! Programs for tests, on ports and in directories of their own: the servers a cluster stands on, and ours.
//!
//! Every program is started, watched, signalled and ended by pid, every wait has a deadline, and nothing is left behind.

pub mod haproxy;
pub mod nats;
pub mod nchan;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod redis;
pub mod wait;

mod find;

pub use haproxy::Haproxy;
pub use nats::Nats;
pub use nchan::Nchan;
pub use postgres::Postgres;
pub use prometheus::Prometheus;
pub use redis::Redis;
