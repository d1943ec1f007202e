//! The store's statements: one text for both databases.
//!
//! This directory is compiled once for each database, as a part of [`super::sqlite`](crate::store::sqlite) and of
//! [`super::postgres`](crate::store::postgres). What differs between the two is all in those modules: the connection type, pools and
//! transactions, and an `engine` with the statements that only one of them understands; inside statements, the macros
//! `list!`, `json!`, `locked!` and others that they define.
//!
//! Rules that hold for every statement here: types are TEXT, BIGINT and bytes; parameters are `$1`; an integer constant that is
//! read back is cast. A transaction that decides something about a device's commands first locks the device, and one of an
//! operator's call holds its org (`write_in`), so that what it reads stays true until it commits.

mod anchors;
mod audience;
mod authorities;
mod batch;
mod certificates;
mod channels;
mod clock;
mod commands;
mod contests;
mod delivery;
mod devices;
mod due;
mod executions;
mod failure;
mod firmware;
mod fleet;
mod groups;
mod identity;
mod level;
mod lookup;
mod members;
mod nodes;
mod offers;
mod owners;
mod paging;
mod provision;
mod reports;
mod rows;
mod sessions;
mod signing_keys;
mod tenants;
mod tokens;
mod updates;

use super::{Backend, Db, commit, engine};
