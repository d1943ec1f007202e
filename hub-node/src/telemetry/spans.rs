//! Spans of what happens inside a call of a function: a call of the API, what it asks of the store, what it publishes.
//!
//! They are spans of `tracing` under a target of their own, which only the layer for traces listens to: while nothing is sent, none is
//! made. None is made outside of a call of the API, either: a heartbeat has no trace.

use hub_proto::trace::TraceContext;
use opentelemetry::trace::Status;
use tracing::field::Empty;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::traces::{self, TARGET};

/// A call of the API, which goes on with the caller's trace if it sent one.
pub(crate) fn call(method: &'static str, route: Option<&str>, from: Option<&TraceContext>) -> Span {
    let span = info_span!(
        target: TARGET,
        "call",
        otel.name = Empty,
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
    );
    if !span.is_disabled() {
        match route {
            Some(route) => span.record("otel.name", format!("{method} {route}")),
            None => span.record("otel.name", method),
        };
        if let Some(from) = from {
            // fails only where no layer is, and then there is nothing to be a part of
            let _ = span.set_parent(traces::remote(from));
        }
    }
    span
}

/// The call was answered. As the conventions have it, only what is the server's own fault is an error.
pub(crate) fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.set_status(Status::error(""));
    }
}

/// A call to the store, if it is part of a kept trace.
pub(crate) fn store(verb: &'static str, system: &'static str) -> Span {
    if !traces::inside() {
        return Span::none();
    }
    info_span!(
        target: TARGET,
        "store",
        otel.name = verb,
        otel.kind = "client",
        db.system.name = system,
        db.operation.name = verb,
        error.type = Empty,
    )
}

/// The call to the store went wrong.
pub(crate) fn store_failed(span: &Span, fault: &'static str) {
    if !span.is_disabled() {
        span.record("error.type", fault);
        span.set_status(Status::error(fault));
    }
}

/// Hints are published, if that is part of a kept trace.
pub(crate) fn publish(system: &'static str, hints: usize) -> Span {
    if !traces::inside() {
        return Span::none();
    }
    info_span!(
        target: TARGET,
        "publish",
        otel.name = "send hub.hints",
        otel.kind = "producer",
        messaging.system = system,
        messaging.operation.name = "send",
        messaging.operation.type = "send",
        messaging.destination.name = traces::HINTS,
        messaging.batch.message_count = hints,
    )
}
