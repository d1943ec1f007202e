//! What is the same for every call: its id, its headers, its slot and deadline, and answers where no handler is reached.

use super::ApiState;
use super::problem::Refused;
use crate::telemetry::{spans, traces};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hub_proto::trace::TraceContext;

use std::any::Any;
use std::time::{Duration, Instant};
use tracing::Instrument as _;
use uuid::Uuid;

/// Names one call in logs; the caller's own is kept when it is well-formed.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a caller's own request id.
const REQUEST_ID_CHARS_MAX: usize = 64;

tokio::task_local! {
    static TRACE: Option<TraceContext>;
}

/// Where in a trace the caller of this is; where the call's own caller was, when this node makes no spans.
pub(super) fn trace_context() -> Option<TraceContext> {
    traces::current().or_else(|| TRACE.try_with(Clone::clone).ok().flatten())
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    let well_formed = |value: &&HeaderValue| {
        (1..=REQUEST_ID_CHARS_MAX).contains(&value.len())
            && value
                .as_bytes()
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
    };
    headers
        .get(X_REQUEST_ID)
        .filter(well_formed)
        .cloned()
        .unwrap_or_else(|| {
            HeaderValue::from_str(&Uuid::now_v7().to_string())
                .unwrap_or(HeaderValue::from_static("none"))
        })
}

/// A method's name; anybody can make new ones up.
fn method_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

/// The call's trace context by the W3C rules; anything malformed is no context.
fn trace_of(headers: &HeaderMap) -> Option<TraceContext> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let state = headers
        .get("tracestate")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    TraceContext::new(parent, state)
}

/// Outermost layer: times the call, gives it its id and trace, and every answer the headers of an API that is no website.
pub(super) async fn dress(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(request.headers());
    let trace = trace_of(request.headers());
    let method = method_of(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    let span = spans::call(method, route, trace.as_ref());
    let answering = async {
        let response = TRACE.scope(trace, next.run(request)).await;
        (response, traces::active())
    };
    let (mut response, within) = answering.instrument(span.clone()).await;
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    spans::answered(&span, status);
    let metrics = &state.metrics;
    metrics.api_call(method, status, route, took, within.as_ref());
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id);
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Lets a bounded number of calls in, each for a bounded time.
pub(super) async fn call_slot(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let Ok(_slot) = state.calls.try_acquire() else {
        return Err(Refused::Unavailable {
            code: "busy",
            detail: "too many calls at a time",
        });
    };
    in_time(state.limits.call_max, request, next).await
}

/// Lets uploads take their own, longer time; the intake bounds their number.
pub(super) async fn upload_time(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    in_time(state.limits.upload_max, request, next).await
}

async fn in_time(time_max: Duration, request: Request, next: Next) -> Result<Response, Refused> {
    tokio::time::timeout(time_max, next.run(request))
        .await
        .map_err(|_| Refused::Unavailable {
            code: "timeout",
            detail: "the call took too long",
        })
}

/// Answer where no route is.
pub(super) async fn no_route() -> Refused {
    Refused::NoRoute
}

/// Answer where the route has other methods.
pub(super) async fn no_method() -> Refused {
    Refused::MethodNotAllowed
}

/// Answer of a call whose handler panicked. What it said is logged, never shown.
pub(super) fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let said = cause
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| cause.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("nothing readable");
    tracing::error!(said, "a handler of the API panicked");
    Refused::Internal.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_kept_when_it_is_harmless() {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("ci-42.a_b"));
        assert_eq!(request_id(&headers), "ci-42.a_b");
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("a b"));
        assert_ne!(request_id(&headers), "a b");
    }
}
