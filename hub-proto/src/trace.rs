//! W3C trace context: how a trace goes on from one process to the next.
//!
//! It travels beside what is said and never decides anything: one that is not right is left out.

use serde::Serialize;

use crate::event::Fields;
use crate::limits::{TRACEPARENT_BYTES, TRACESTATE_BYTES_MAX};

/// Where in a trace something was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TraceContext {
    /// The header of this name, version 00.
    pub traceparent: Box<str>,
    /// The header of this name; empty when there is none.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub tracestate: Box<str>,
}

impl TraceContext {
    /// A trace context, if both texts have the form and length of the headers. An invalid `tracestate` is dropped.
    #[must_use]
    pub fn new(traceparent: &str, tracestate: &str) -> Option<Self> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let form = |(at, byte): (usize, u8)| {
            if matches!(at, 2 | 35 | 52) {
                byte == b'-'
            } else {
                digit(byte)
            }
        };
        if traceparent.len() != TRACEPARENT_BYTES || !traceparent.bytes().enumerate().all(form) {
            return None;
        }
        let printable = |byte: u8| (0x20..0x7F).contains(&byte);
        let state = if tracestate.len() <= TRACESTATE_BYTES_MAX && tracestate.bytes().all(printable)
        {
            tracestate
        } else {
            ""
        };
        Some(Self {
            traceparent: traceparent.into(),
            tracestate: state.into(),
        })
    }

    /// What a device put beside a report, if it did.
    pub(crate) fn read(fields: &Fields<'_>) -> Option<Self> {
        let parent = fields.loose_text("traceparent", TRACEPARENT_BYTES + 1)?;
        let state = fields.loose_text("tracestate", TRACESTATE_BYTES_MAX + 1);
        Self::new(&parent, state.as_deref().unwrap_or_default())
    }
}
