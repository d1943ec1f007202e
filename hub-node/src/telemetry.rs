//! What a node tells about itself: metrics for whoever asks, and traces, metrics and logs for a receiver of OTLP if the environment
//! names one.
//!
//! One per process. [`instruments`] is the table of everything that is counted; [`metrics`] and [`observed`] fill it. [`traces`] is how
//! a command's trace goes on from one node to the next and to the device.

mod dropping;
mod exemplars;
mod export;
mod http;
pub mod instruments;
pub(crate) mod listing;
pub(crate) mod logging;
pub(crate) mod metrics;
pub(crate) mod observed;
mod process;
pub(crate) mod scrape;
pub(crate) mod spans;
pub(crate) mod traces;

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{self, BatchLogProcessor, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector as _};
use opentelemetry_sdk::trace::{self, BatchSpanProcessor, SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::warn;

use dropping::{AllLost, Bounding, Counting, Queue};
use export::{Signal, protocol};
use metrics::Metrics;
use observed::Certificates;
use scrape::{Reader, Scrape};
use traces::Traces;

/// The name that spans, instruments and log records are under.
const SCOPE: &str = "hub-node";

/// Telemetry of a process.
#[derive(Debug)]
pub struct Telemetry {
    scrape: Scrape,
    started: Instant,
    spans: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
}

impl Telemetry {
    /// Metrics that are shown on `/metrics`; nothing is sent.
    #[must_use]
    pub fn kept(node_name: &str) -> Self {
        let reader = Reader::default();
        let meters = SdkMeterProvider::builder()
            .with_reader(reader.clone())
            .with_resource(resource(node_name))
            .build();
        Self::with(meters, reader)
    }

    fn with(meters: SdkMeterProvider, reader: Reader) -> Self {
        Self {
            scrape: Scrape {
                meters,
                reader,
                exemplars: Arc::default(),
            },
            started: Instant::now(),
            spans: None,
            logs: None,
        }
    }

    /// The same, and what the `OTEL_*` variables want to be sent is sent. Nothing waits for a receiver: what it does not take in time is
    /// dropped and counted.
    ///
    /// # Errors
    /// A variable that makes no sense, outside of a runtime too.
    pub fn from_env(node_name: &str) -> anyhow::Result<Self> {
        let runtime = Handle::try_current()?;
        // the HTTP client looks for it
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let lost = Arc::new(AllLost::default());
        let resource = resource(node_name);
        let wanted = |signal| protocol(signal, |name| std::env::var(name).ok());
        let reader = Reader::default();
        let mut meters = SdkMeterProvider::builder()
            .with_reader(reader.clone())
            .with_resource(resource.clone());
        if let Some(protocol) = wanted(Signal::Metrics)? {
            let queue = Queue::new("metrics", 1, lost.clone(), |all| &all.metrics);
            let exporter = Counting(export::metrics(protocol, &runtime)?, queue);
            meters = meters.with_reader(PeriodicReader::builder(exporter).build());
        }
        let mut telemetry = Self::with(meters.build(), reader);
        observed::lost(&telemetry.meter(), lost.clone());
        if let Some(protocol) = wanted(Signal::Traces)? {
            let room = room("OTEL_BSP_MAX_QUEUE_SIZE");
            let queue = Queue::new("traces", room, lost.clone(), |all| &all.spans);
            let exporter = Counting(export::spans(protocol, &runtime)?, queue.clone());
            let config = trace::BatchConfigBuilder::default().with_max_queue_size(room);
            let batches = BatchSpanProcessor::builder(exporter)
                .with_batch_config(config.build())
                .build();
            let spans = SdkTracerProvider::builder()
                .with_span_processor(Bounding(batches, queue))
                .with_resource(resource.clone());
            telemetry.spans = Some(spans.build());
        }
        if let Some(protocol) = wanted(Signal::Logs)? {
            let room = room("OTEL_BLRP_MAX_QUEUE_SIZE");
            let queue = Queue::new("logs", room, lost, |all| &all.logs);
            let exporter = Counting(export::logs(protocol, &runtime)?, queue.clone());
            let config = logs::BatchConfigBuilder::default().with_max_queue_size(room);
            let batches = BatchLogProcessor::builder(exporter)
                .with_batch_config(config.build())
                .build();
            let records = SdkLoggerProvider::builder()
                .with_log_processor(Bounding(batches, queue))
                .with_resource(resource);
            telemetry.logs = Some(records.build());
        }
        Ok(telemetry)
    }

    fn meter(&self) -> Meter {
        self.scrape.meters.meter(SCOPE)
    }

    fn tracer(&self) -> Option<SdkTracer> {
        self.spans.as_ref().map(|spans| spans.tracer(SCOPE))
    }

    /// Instruments for one node.
    pub(crate) fn node(&self) -> NodeTelemetry {
        let meter = self.meter();
        let certificates = Arc::new(Certificates::default());
        observed::certificates(&meter, certificates.clone());
        process::observe(&meter, self.started);
        let metrics = Arc::new(Metrics::new(&meter, self.scrape.exemplars.clone()));
        NodeTelemetry {
            traces: Arc::new(Traces::new(self.tracer(), metrics.clone())),
            metrics,
            certificates,
            scrape: self.scrape.clone(),
            meter,
        }
    }

    /// Sends what is still queued, for no longer than this, and ends.
    pub async fn stop(self, within: Duration) {
        let flush = move || {
            let ends = [
                self.spans.map(|spans| spans.shutdown_with_timeout(within)),
                self.logs.map(|logs| logs.shutdown_with_timeout(within)),
                Some(self.scrape.meters.shutdown_with_timeout(within)),
            ];
            for error in ends.into_iter().flatten().filter_map(Result::err) {
                warn!(%error, "some telemetry was not sent before the end");
            }
        };
        // It blocks on threads of the library, and these on the runtime.
        let flushing = tokio::task::spawn_blocking(flush);
        let _ = tokio::time::timeout(within, flushing).await;
    }
}

/// How much may wait of what this variable is about; the specification's 2048 where it says nothing.
fn room(variable: &str) -> usize {
    let said = std::env::var(variable).ok();
    let said = said.and_then(|text| text.parse().ok());
    said.filter(|room| *room > 0)
        .unwrap_or(hub_core::limits::TELEMETRY_QUEUED)
}

/// What the parts of one node record with.
#[derive(Clone, Debug)]
pub(crate) struct NodeTelemetry {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) traces: Arc<Traces>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) scrape: Scrape,
    pub(crate) meter: Meter,
}

/// Who tells: what the environment says, over what the node knows of itself.
fn resource(node_name: &str) -> Resource {
    let own = [
        KeyValue::new("service.name", "hub-node"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", node_name.to_owned()),
    ];
    let given = EnvResourceDetector::new().detect();
    let given = given
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let mut all = Resource::builder_empty()
        .with_attributes(own)
        .with_attributes(given);
    if let Ok(name) = std::env::var("OTEL_SERVICE_NAME")
        && !name.is_empty()
    {
        all = all.with_service_name(name);
    }
    all.build()
}
