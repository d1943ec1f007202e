//! `/metrics`: the instruments as text, in the format that whoever asks prefers.
//!
//! Prometheus' own text and OpenMetrics differ in little: how a counter's family is called, units, exemplars, the mark at the end.
//! The libraries that turn this SDK's metrics into text write only the former, so both are written here, from the one table.

use std::fmt::Write as _;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, Histogram, Metric, MetricData, ResourceMetrics,
};
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality,
};

use super::exemplars::{Exemplar, Exemplars};
use super::instruments::{ALL, Instrument, Kind};

/// The two text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text of Prometheus, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format that an `Accept` header prefers; Prometheus' where it has no preference.
    pub(crate) fn accepted(accept: &str) -> Self {
        let quality = |wanted: &[&str]| -> f64 {
            let of = |range: &str| -> Option<f64> {
                let mut parts = range.split(';').map(str::trim);
                let kind = parts.next()?;
                if !wanted.iter().any(|name| kind.eq_ignore_ascii_case(name)) {
                    return None;
                }
                let quality = parts.find_map(|part| part.strip_prefix("q="));
                Some(quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)))
            };
            accept.split(',').filter_map(of).fold(0.0, f64::max)
        };
        let open = quality(&["application/openmetrics-text"]);
        if open > 0.0 && open >= quality(&["text/plain", "text/*"]) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// Its `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Collects when it is asked to. Clones share it: the SDK keeps one.
#[derive(Clone, Debug)]
pub(super) struct Reader(Arc<ManualReader>);

impl Default for Reader {
    fn default() -> Self {
        Self(Arc::new(ManualReader::builder().build()))
    }
}

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, _: InstrumentKind) -> Temporality {
        // what is scraped counts from the start
        Temporality::Cumulative
    }
}

/// Writes all that is collected as text. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Scrape {
    /// What the reader reads from; without it there would be nothing.
    pub(super) meters: SdkMeterProvider,
    pub(super) reader: Reader,
    pub(super) exemplars: Arc<Exemplars>,
}

impl Scrape {
    /// Every instrument of the table, with or without a value yet. Reads files of the kernel, so it may take a moment.
    pub(crate) fn text(&self, format: Format) -> String {
        let mut collected = ResourceMetrics::default();
        // One that was shut down has nothing to tell, and the names still stand.
        let _ = self.reader.collect(&mut collected);
        let mut text = Text {
            out: String::with_capacity(32 * 1024),
            format,
            exemplars: &self.exemplars,
        };
        text.target(collected.resource());
        for instrument in &ALL {
            text.head(instrument);
            let scopes = collected.scope_metrics().flat_map(|s| s.metrics());
            for metric in scopes.filter(|metric| metric.name() == instrument.name) {
                text.metric(instrument, metric);
            }
        }
        if format == Format::OpenMetrics {
            text.out.push_str("# EOF\n");
        }
        text.out
    }
}

/// The text so far.
struct Text<'a> {
    out: String,
    format: Format,
    exemplars: &'a Exemplars,
}

impl Text<'_> {
    /// Whose metrics these are.
    fn target(&mut self, resource: &Resource) {
        let (name, kind) = match self.format {
            Format::Prometheus => ("target_info", "gauge"),
            Format::OpenMetrics => ("target", "info"),
        };
        let _ = writeln!(self.out, "# HELP {name} Target metadata");
        let _ = writeln!(self.out, "# TYPE {name} {kind}");
        let mut attributes: Vec<_> = resource
            .iter()
            .map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
            .collect();
        attributes.sort_by(|one, other| one.key.cmp(&other.key));
        self.sample("target_info", &attributes, None, 1.0);
    }

    fn head(&mut self, instrument: &Instrument) {
        let kind = match instrument.kind {
            Kind::Counter => "counter",
            Kind::UpDownCounter | Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let (name, unit) = match self.format {
            Format::Prometheus => (instrument.prometheus(), None),
            Format::OpenMetrics => (instrument.family(), instrument.unit_word()),
        };
        let _ = writeln!(self.out, "# HELP {name} {}", instrument.help);
        let _ = writeln!(self.out, "# TYPE {name} {kind}");
        if let Some(unit) = unit {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
    }

    fn metric(&mut self, instrument: &Instrument, metric: &Metric) {
        match metric.data() {
            AggregatedMetrics::F64(data) => self.data(instrument, data, |value| value),
            AggregatedMetrics::I64(data) => self.data(instrument, data, |value| value as f64),
            AggregatedMetrics::U64(data) => self.data(instrument, data, |value| value as f64),
        }
    }

    fn data<T: Copy>(
        &mut self,
        instrument: &Instrument,
        data: &MetricData<T>,
        number: fn(T) -> f64,
    ) {
        let name = instrument.prometheus();
        match data {
            MetricData::Gauge(gauge) => {
                for point in gauge.data_points() {
                    let attributes = sorted(point.attributes());
                    self.sample(&name, &attributes, None, number(point.value()));
                }
            }
            MetricData::Sum(sum) => {
                for point in sum.data_points() {
                    let attributes = sorted(point.attributes());
                    self.sample(&name, &attributes, None, number(point.value()));
                }
            }
            MetricData::Histogram(histogram) => {
                self.histogram(instrument, &name, histogram, number);
            }
            // no instrument of the table is one
            MetricData::ExponentialHistogram(_) => {}
        }
    }

    fn histogram<T: Copy>(
        &mut self,
        instrument: &Instrument,
        name: &str,
        histogram: &Histogram<T>,
        number: fn(T) -> f64,
    ) {
        let [bucket, sum, count] = ["bucket", "sum", "count"].map(|part| format!("{name}_{part}"));
        for point in histogram.data_points() {
            let attributes = sorted(point.attributes());
            let kept = match self.format {
                Format::Prometheus => None,
                Format::OpenMetrics => self.exemplars.of(instrument.name, &attributes),
            };
            let mut so_far = 0;
            let bounds = point.bounds().map(Some).chain([None]);
            for (at, (bound, many)) in bounds.zip(point.bucket_counts()).enumerate() {
                so_far += many;
                let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| format!("{bound:?}"));
                self.start(&bucket, &attributes, Some(&bound));
                let _ = write!(self.out, " {so_far}");
                if let Some(Some(exemplar)) = kept.as_deref().and_then(|kept| kept.get(at)) {
                    self.exemplar(exemplar);
                }
                self.out.push('\n');
            }
            self.sample(&sum, &attributes, None, number(point.sum()));
            self.start(&count, &attributes, None);
            let _ = writeln!(self.out, " {}", point.count());
        }
    }

    fn exemplar(&mut self, exemplar: &Exemplar) {
        let Exemplar {
            trace,
            span,
            value,
            at,
        } = exemplar;
        let at = at.duration_since(SystemTime::UNIX_EPOCH);
        let at = at.unwrap_or_default().as_secs_f64();
        let _ = write!(
            self.out,
            " # {{trace_id=\"{trace}\",span_id=\"{span}\"}} {value} {at:.3}"
        );
    }

    fn sample(&mut self, name: &str, attributes: &[KeyValue], le: Option<&str>, value: f64) {
        self.start(name, attributes, le);
        let _ = writeln!(self.out, " {value}");
    }

    /// A line up to its value.
    fn start(&mut self, name: &str, attributes: &[KeyValue], le: Option<&str>) {
        self.out.push_str(name);
        let mut separator = '{';
        for attribute in attributes {
            self.out.push(separator);
            separator = ',';
            push_label_name(&mut self.out, attribute.key.as_str());
            self.out.push_str("=\"");
            push_escaped(&mut self.out, &attribute.value.as_str());
            self.out.push('"');
        }
        if let Some(le) = le {
            let _ = write!(self.out, "{separator}le=\"{le}\"");
            separator = ',';
        }
        if separator == ',' {
            self.out.push('}');
        }
    }
}

fn sorted<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> Vec<KeyValue> {
    let mut attributes: Vec<_> = attributes.cloned().collect();
    attributes.sort_by(|one, other| one.key.cmp(&other.key));
    attributes
}

/// A label's name has letters, digits and underscores, and does not start with a digit.
fn push_label_name(out: &mut String, key: &str) {
    if key.starts_with(|first: char| first.is_ascii_digit()) {
        out.push('_');
    }
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '_'
        }
    };
    out.extend(key.chars().map(plain));
}

fn push_escaped(out: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            letter => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests;
