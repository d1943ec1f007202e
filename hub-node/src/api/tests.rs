//! The API over a real SQLite store, call by call: every answer is checked against the OpenAPI document it serves.

mod cases;
mod client;
mod happy;
mod harness;
mod idempotency;
mod refusals;
mod roles;
mod tenancy;
mod world;
