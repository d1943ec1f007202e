//! Where telemetry is sent, if anywhere: what the `OTEL_*` variables say, and the exporters that follow from it.
//!
//! Rules owned here: without an endpoint nothing is sent, and that is no error; a value that makes no sense is one; what cannot be sent
//! is dropped and counted, and nobody waits for it.

use anyhow::{Context as _, bail};
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithHttpConfig as _};
use tokio::runtime::Handle;

use super::http::OverHttp;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }
}

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    Http,
}

/// A variable's value; nothing when it is empty, as the specification wants.
fn value(variables: &impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    variables(name).filter(|value| !value.trim().is_empty())
}

/// How a signal is to be sent by these variables; `None` when it is not.
///
/// # Errors
/// A variable whose value nothing here can do.
pub(super) fn protocol(
    signal: Signal,
    variables: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Option<Protocol>> {
    let name = signal.name();
    let get = |name: &str| value(&variables, name);
    if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let exporter = format!("OTEL_{name}_EXPORTER");
    match get(&exporter).as_deref() {
        Some("none") => return Ok(None),
        Some("otlp") => {}
        Some(other) => bail!("{exporter}: {other:?} is not supported; use \"otlp\" or \"none\""),
        None => {
            let own = get(&format!("OTEL_EXPORTER_OTLP_{name}_ENDPOINT"));
            if own.or(get("OTEL_EXPORTER_OTLP_ENDPOINT")).is_none() {
                return Ok(None);
            }
        }
    }
    let own = format!("OTEL_EXPORTER_OTLP_{name}_PROTOCOL");
    let said = get(&own).or(get("OTEL_EXPORTER_OTLP_PROTOCOL"));
    match said.as_deref() {
        None | Some("http/protobuf") => Ok(Some(Protocol::Http)),
        Some("grpc") => Ok(Some(Protocol::Grpc)),
        Some(other) => bail!(
            "OTEL_EXPORTER_OTLP_PROTOCOL: {other:?} is not supported; use \"grpc\" or \"http/protobuf\""
        ),
    }
}

/// Sends spans. The runtime drives its connections.
pub(super) fn spans(protocol: Protocol, runtime: &Handle) -> anyhow::Result<SpanExporter> {
    let exporter = match protocol {
        Protocol::Grpc => SpanExporter::builder().with_tonic().build(),
        Protocol::Http => {
            let client = OverHttp::new(runtime.clone())?;
            SpanExporter::builder()
                .with_http()
                .with_http_client(client)
                .build()
        }
    };
    exporter.context("cannot send traces")
}

/// Sends metrics.
pub(super) fn metrics(protocol: Protocol, runtime: &Handle) -> anyhow::Result<MetricExporter> {
    let exporter = match protocol {
        Protocol::Grpc => MetricExporter::builder().with_tonic().build(),
        Protocol::Http => {
            let client = OverHttp::new(runtime.clone())?;
            MetricExporter::builder()
                .with_http()
                .with_http_client(client)
                .build()
        }
    };
    exporter.context("cannot send metrics")
}

/// Sends log records.
pub(super) fn logs(protocol: Protocol, runtime: &Handle) -> anyhow::Result<LogExporter> {
    let exporter = match protocol {
        Protocol::Grpc => LogExporter::builder().with_tonic().build(),
        Protocol::Http => {
            let client = OverHttp::new(runtime.clone())?;
            LogExporter::builder()
                .with_http()
                .with_http_client(client)
                .build()
        }
    };
    exporter.context("cannot send logs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(signal: Signal, variables: &[(&str, &str)]) -> anyhow::Result<Option<Protocol>> {
        protocol(signal, |name| {
            let found = variables.iter().find(|(key, _)| *key == name)?;
            Some(found.1.to_owned())
        })
    }

    #[test]
    fn nothing_is_sent_without_an_endpoint() {
        let empty = [("OTEL_EXPORTER_OTLP_ENDPOINT", " ")];
        for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
            assert_eq!(with(signal, &[]).unwrap(), None);
            assert_eq!(with(signal, &empty).unwrap(), None);
        }
    }

    #[test]
    fn an_endpoint_is_for_all_signals_or_for_one() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://there:4317");
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        let http = ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf");
        let one = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://there:4317");
        let off = ("OTEL_METRICS_EXPORTER", "none");
        let is = |signal, variables: &[_]| with(signal, variables).unwrap();
        assert_eq!(is(Signal::Metrics, &[all]), Some(Protocol::Http));
        assert_eq!(is(Signal::Metrics, &[all, grpc]), Some(Protocol::Grpc));
        assert_eq!(is(Signal::Metrics, &[all, off]), None);
        assert_eq!(is(Signal::Logs, &[all, grpc, http]), Some(Protocol::Http));
        assert_eq!(is(Signal::Traces, &[one]), Some(Protocol::Http));
        assert_eq!(is(Signal::Logs, &[one]), None);
        let disabled = ("OTEL_SDK_DISABLED", "true");
        assert_eq!(is(Signal::Traces, &[all, disabled]), None);
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        let odd = [("OTEL_TRACES_EXPORTER", "zipkin")];
        let error = with(Signal::Traces, &odd).unwrap_err().to_string();
        assert!(error.contains("OTEL_TRACES_EXPORTER"), "{error}");
        let odd = [
            ("OTEL_TRACES_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ];
        let error = with(Signal::Traces, &odd).unwrap_err().to_string();
        assert!(error.contains("http/protobuf"), "{error}");
    }
}
