//! How a command's trace goes on where no call of a function does: from the API over the bus to the node, from there to the device, and from
//! its answer to the commit.
//!
//! Rules owned here: a trace that is not sampled costs nothing; a command for a million devices makes a bounded number of spans on each node,
//! successes and failures each within bounds of their own, and what got none is counted; a node knows traces by the hints that it
//! hears, so a command that a device finds in the store instead is delivered without spans.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use hub_core::limits::{FAILURE_SPANS_PER_COMMAND_MAX, SPANS_PER_COMMAND_MAX, TRACED_COMMANDS_MAX};
use hub_proto::cluster::{Hint, HintBody};
use hub_proto::id::CommandId;
use hub_proto::trace::TraceContext;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, Span};

use super::metrics::Metrics;

/// Target of the spans of `tracing` that are for traces and for no log.
pub(crate) const TARGET: &str = "hub_node::traces";
/// What messages between nodes are sent to, as attributes of spans say it.
pub(crate) const HINTS: &str = "hub.hints";

/// The context in which something was said elsewhere.
pub(crate) fn remote(said: &TraceContext) -> Context {
    let headers = HashMap::from([
        ("traceparent".to_owned(), said.traceparent.to_string()),
        ("tracestate".to_owned(), said.tracestate.to_string()),
    ]);
    TraceContextPropagator::new().extract_with_context(&Context::new(), &headers)
}

/// The active context, to be said elsewhere; `None` outside of any trace.
pub(crate) fn current() -> Option<TraceContext> {
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(&Context::current(), &mut headers);
    let text = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
    TraceContext::new(text("traceparent"), text("tracestate"))
}

/// Whether the caller is part of a trace that is kept.
pub(crate) fn inside() -> bool {
    Context::map_current(|context| context.span().span_context().is_sampled())
}

/// The active span, if its trace is kept.
pub(crate) fn active() -> Option<SpanContext> {
    Context::map_current(|context| {
        let span = context.span().span_context().clone();
        span.is_sampled().then_some(span)
    })
}

/// A command whose trace is kept.
#[derive(Debug)]
struct Traced {
    /// Of the span in which this node heard of it.
    heard: Context,
    spans_left: AtomicU32,
    failures_left: AtomicU32,
}

#[derive(Debug, Default)]
struct Commands {
    by_id: HashMap<CommandId, Arc<Traced>>,
    /// The oldest first.
    order: VecDeque<CommandId>,
}

/// Traces of the commands that a node heard of last.
#[derive(Debug)]
pub(crate) struct Traces {
    tracer: Option<SdkTracer>,
    metrics: Arc<Metrics>,
    any: AtomicBool,
    commands: RwLock<Commands>,
}

impl Traces {
    /// Without a tracer, nothing is ever traced.
    pub(crate) fn new(tracer: Option<SdkTracer>, metrics: Arc<Metrics>) -> Self {
        Self {
            tracer,
            metrics,
            any: AtomicBool::new(false),
            commands: RwLock::default(),
        }
    }

    /// A hint is about to be handled: the span of that, if its trace is kept.
    pub(crate) fn heard(&self, hint: &Hint) -> Option<Span> {
        let (tracer, said) = (self.tracer.as_ref()?, hint.trace.as_ref()?);
        let from = remote(said);
        if !from.span().span_context().is_sampled() {
            return None;
        }
        let mut attributes = vec![
            KeyValue::new("messaging.operation.name", "process"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", HINTS),
        ];
        let command = hint.body.as_ref();
        let command = command.map(|HintBody::Command(command)| command.id);
        if let Some(command) = command {
            attributes.push(KeyValue::new("hub.command.id", command.to_string()));
        }
        let builder = SpanBuilder::from_name(format!("process {HINTS}"))
            .with_kind(SpanKind::Consumer)
            .with_attributes(attributes);
        let span = tracer.build_with_context(builder, &from);
        if let Some(command) = command {
            self.remember(command, span.span_context().clone());
        }
        Some(span)
    }

    fn remember(&self, command: CommandId, heard: SpanContext) {
        let traced = Arc::new(Traced {
            heard: Context::new().with_remote_span_context(heard),
            spans_left: AtomicU32::new(SPANS_PER_COMMAND_MAX),
            failures_left: AtomicU32::new(FAILURE_SPANS_PER_COMMAND_MAX),
        });
        let mut commands = self
            .commands
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if commands.by_id.insert(command, traced).is_none() {
            commands.order.push_back(command);
        }
        if commands.order.len() > TRACED_COMMANDS_MAX
            && let Some(oldest) = commands.order.pop_front()
        {
            commands.by_id.remove(&oldest);
        }
        self.any.store(true, Ordering::Relaxed);
    }

    fn traced(&self, command: CommandId) -> Option<(&SdkTracer, Arc<Traced>)> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let commands = self.commands.read().unwrap_or_else(PoisonError::into_inner);
        Some((self.tracer.as_ref()?, commands.by_id.get(&command)?.clone()))
    }

    /// A command goes to a device: the span of its delivery, if there is still one for it.
    pub(crate) fn pushed(&self, command: CommandId, name: &str, device: &str) -> Option<Span> {
        let (tracer, traced) = self.traced(command)?;
        if !take_one(&traced.spans_left) {
            self.metrics.span_dropped();
            return None;
        }
        let mut attributes = about(command, device);
        attributes.push(KeyValue::new("hub.command.name", name.to_owned()));
        let builder = SpanBuilder::from_name("push device.command")
            .with_kind(SpanKind::Producer)
            .with_attributes(attributes);
        Some(tracer.build_with_context(builder, &traced.heard))
    }

    /// A device said something about a command: a span for it, below the delivery's if that has one. What failed gets one in any case,
    /// within bounds.
    pub(crate) fn answered(
        &self,
        command: CommandId,
        device: &str,
        name: &'static str,
        below: Option<&SpanContext>,
        failed: bool,
    ) -> Option<Span> {
        let (tracer, traced) = self.traced(command)?;
        let parent = match below {
            Some(push) => Context::new().with_remote_span_context(push.clone()),
            None if failed && take_one(&traced.failures_left) => traced.heard.clone(),
            None => {
                if failed {
                    self.metrics.span_dropped();
                }
                return None;
            }
        };
        let builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Consumer)
            .with_attributes(about(command, device));
        Some(tracer.build_with_context(builder, &parent))
    }
}

fn about(command: CommandId, device: &str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("hub.command.id", command.to_string()),
        KeyValue::new("hub.device.name", device.to_owned()),
    ]
}

fn take_one(left: &AtomicU32) -> bool {
    let one_less = |left: u32| left.checked_sub(1);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
        .is_ok()
}

#[cfg(test)]
mod tests;
