//! Log lines on standard error and, if the environment wants it, as OTLP; and the layer that makes traces of spans.

use std::fmt;
use std::io::IsTerminal as _;
use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, reload};

use super::Telemetry;
use super::traces::TARGET;
use crate::reload::SetFilter;

/// Targets whose lines would be about sending lines.
const SENDING: [&str; 6] = ["h2", "hyper", "hyper_util", "reqwest", "tonic", "tower"];

/// Starts logging and tracing for the whole process.
///
/// # Errors
/// A filter that makes no sense; a process that logs already.
pub(crate) fn start(wanted: &str, json: bool, telemetry: &Telemetry) -> anyhow::Result<SetFilter> {
    let (lines, set_lines) = reload::Layer::new(filter(wanted)?);
    let lines = lines.and(filter_fn(|metadata| metadata.target() != TARGET));
    // Colours are for terminals: in a file or a journal they are rubbish.
    let plain = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = if json {
        let format = plain.json().map_event_format(WithTrace);
        format.with_filter(lines).boxed()
    } else {
        plain.with_filter(lines).boxed()
    };
    let traces = telemetry.tracer().map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| metadata.target() == TARGET))
    });
    let (records, set_records) = reload::Layer::new(filter(wanted)?);
    let records = telemetry.logs.as_ref().map(|logs| {
        let others = filter_fn(|metadata| metadata.is_event() && !is_sending(metadata.target()));
        OpenTelemetryTracingBridge::new(logs).with_filter(records.and(others))
    });
    tracing_subscriber::registry()
        .with(lines)
        .with(traces)
        .with(records)
        .try_init()?;
    let sends = telemetry.logs.is_some();
    Ok(Arc::new(move |wanted| {
        set_lines.reload(filter(wanted)?)?;
        if sends {
            set_records.reload(filter(wanted)?)?;
        }
        Ok(())
    }))
}

/// The actor library opens a span for each actor's whole life, half a KiB for each device; a filter that names it has it.
fn filter(wanted: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(format!("ractor=warn,{wanted}"))
}

fn is_sending(target: &str) -> bool {
    let module = target.split("::").next().unwrap_or(target);
    SENDING.contains(&module)
}

/// Lines of JSON with the ids of the trace in which they were written.
struct WithTrace(Format<Json>);

impl<S> FormatEvent<S, JsonFields> for WithTrace
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    JsonFields: for<'a> FormatFields<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let within = Context::map_current(|current| current.span().span_context().clone());
        if !within.is_valid() {
            return self.0.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let (trace, span) = (within.trace_id(), within.span_id());
        let rest = line.strip_prefix('{').unwrap_or(&line);
        write!(
            writer,
            "{{\"trace_id\":\"{trace}\",\"span_id\":\"{span}\",{rest}"
        )
    }
}
