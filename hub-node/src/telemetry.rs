//! What a node tells about itself: metrics for whoever asks, and traces, metrics and logs for a receiver of OTLP if the environment
//! names one.
//!
//! One per process. [`instruments`] is the table of everything that is counted; [`metrics`] and [`observed`] fill it.

mod exemplars;
pub mod instruments;
pub(crate) mod listing;
pub(crate) mod metrics;
pub(crate) mod observed;
mod process;
pub(crate) mod scrape;

use std::sync::Arc;
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector as _};

use metrics::Metrics;
use observed::Certificates;
use scrape::{Reader, Scrape};

/// The name that spans, instruments and log records are under.
const SCOPE: &str = "hub-node";

/// Telemetry of a process.
#[derive(Debug)]
pub struct Telemetry {
    scrape: Scrape,
    started: Instant,
}

impl Telemetry {
    /// Metrics that are shown on `/metrics` and sent nowhere.
    #[must_use]
    pub fn kept(node_name: &str) -> Self {
        let reader = Reader::default();
        let meters = SdkMeterProvider::builder()
            .with_reader(reader.clone())
            .with_resource(resource(node_name))
            .build();
        Self {
            scrape: Scrape {
                meters,
                reader,
                exemplars: Arc::default(),
            },
            started: Instant::now(),
        }
    }

    /// Instruments for one node.
    pub(crate) fn node(&self) -> NodeTelemetry {
        let meter = self.scrape.meters.meter(SCOPE);
        let certificates = Arc::new(Certificates::default());
        observed::certificates(&meter, certificates.clone());
        process::observe(&meter, self.started);
        NodeTelemetry {
            metrics: Arc::new(Metrics::new(&meter, self.scrape.exemplars.clone())),
            certificates,
            scrape: self.scrape.clone(),
            meter,
        }
    }
}

/// What the parts of one node record with.
#[derive(Clone, Debug)]
pub(crate) struct NodeTelemetry {
    pub(crate) metrics: Arc<Metrics>,
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
