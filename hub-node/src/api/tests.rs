//! The API over a real SQLite store, call by call: every answer is checked against the OpenAPI document it serves.

mod cases;
mod harness;
mod happy;
mod idempotency;
mod refusals;
mod roles;
mod tenancy;
mod world;
