//! The wall clock, for the columns that say when a row was made. Nothing is decided by it.

use std::time::SystemTime;

use hub_proto::time::Timestamp;

/// Now.
pub(super) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
