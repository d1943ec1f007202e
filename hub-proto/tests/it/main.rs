//! Whole-crate tests of the wire format, in one binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod cluster;
mod document;
mod events;
mod generated;
mod golden;
mod laws;
mod names;
mod wire_rules;

use hub_proto::frame::Payload;
use serde_json::value::RawValue;

/// A payload from JSON text.
fn payload(text: &str) -> Payload {
    Payload::Json(RawValue::from_string(text.to_owned()).unwrap())
}
