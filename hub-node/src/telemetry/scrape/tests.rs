//! What a scrape says, in both formats.

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use super::*;
use crate::telemetry::metrics::{Direction, Metrics};

#[test]
fn the_format_is_the_one_that_is_preferred() {
    use Format::{OpenMetrics, Prometheus};
    for (accept, format) in [
        ("", Prometheus),
        ("*/*", Prometheus),
        ("text/plain", Prometheus),
        ("application/json", Prometheus),
        ("application/openmetrics-text", OpenMetrics),
        // as a Prometheus asks
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OpenMetrics,
        ),
        (
            "text/plain, Application/OpenMetrics-Text; q=0.9",
            Prometheus,
        ),
        ("application/openmetrics-text;q=0", Prometheus),
        ("application/openmetrics-text;q=much", Prometheus),
    ] {
        assert_eq!(Format::accepted(accept), format, "{accept}");
    }
}

/// A scrape and the metrics it shows.
fn scraped() -> (Scrape, Metrics) {
    let reader = Reader::default();
    let resource = Resource::builder_empty()
        .with_attributes([KeyValue::new("service.name", "a \"b\"\\\n")])
        .build();
    let meters = SdkMeterProvider::builder()
        .with_reader(reader.clone())
        .with_resource(resource)
        .build();
    let scrape = Scrape {
        meters,
        reader,
        exemplars: Arc::default(),
    };
    let metrics = Metrics::new(&scrape.meters.meter("hub"), scrape.exemplars.clone());
    (scrape, metrics)
}

#[test]
fn both_formats_say_the_same() {
    let (scrape, metrics) = scraped();
    metrics.messages(Direction::Out, 3);
    metrics.joined("ok");
    let context = SpanContext::new(
        TraceId::from(1_u128),
        SpanId::from(2_u64),
        TraceFlags::SAMPLED,
        false,
        TraceState::default(),
    );
    metrics.delivered(Duration::from_millis(20), Some(&context));
    metrics.delivered(Duration::from_millis(2_000), None);

    let plain = scrape.text(Format::Prometheus);
    let has = |text: &str, line: &str| {
        assert!(
            text.lines().any(|l| l.starts_with(line)),
            "no {line}\n{text}"
        );
    };
    has(&plain, "target_info{service_name=\"a \\\"b\\\"\\\\\\n\"} 1");
    has(&plain, "# TYPE hub_device_messages_total counter");
    has(&plain, "hub_device_messages_total{direction=\"out\"} 3");
    has(&plain, "hub_device_joins_total{outcome=\"ok\"} 1");
    has(&plain, "hub_device_joins_total{outcome=\"unavailable\"} 0");
    has(&plain, "# TYPE hub_tls_certificate_expiry_seconds gauge");
    let bucket = "hub_command_delivery_duration_seconds_bucket";
    has(&plain, &format!("{bucket}{{le=\"0.01\"}} 0"));
    has(&plain, &format!("{bucket}{{le=\"0.025\"}} 1"));
    has(&plain, &format!("{bucket}{{le=\"1.0\"}} 1"));
    has(&plain, &format!("{bucket}{{le=\"+Inf\"}} 2"));
    has(&plain, "hub_command_delivery_duration_seconds_sum 2.02");
    has(&plain, "hub_command_delivery_duration_seconds_count 2");
    assert!(!plain.contains("trace_id") && !plain.contains("# EOF"));

    let open = scrape.text(Format::OpenMetrics);
    assert!(open.ends_with("# EOF\n"));
    has(&open, "# TYPE target info");
    has(&open, "# TYPE hub_device_messages counter");
    has(&open, "hub_device_messages_total{direction=\"out\"} 3");
    has(
        &open,
        "# UNIT hub_command_delivery_duration_seconds seconds",
    );
    let trace = "trace_id=\"00000000000000000000000000000001\",span_id=\"0000000000000002\"";
    has(
        &open,
        &format!("{bucket}{{le=\"0.025\"}} 1 # {{{trace}}} 0.02 "),
    );
    assert_eq!(open.matches("trace_id").count(), 1);
}

#[test]
fn every_instrument_is_named_before_anything_happened() {
    let (scrape, _metrics) = scraped();
    let text = scrape.text(Format::Prometheus);
    for instrument in &ALL {
        let name = instrument.prometheus();
        assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
    }
}
