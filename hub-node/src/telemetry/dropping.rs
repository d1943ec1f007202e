//! Counts what telemetry is thrown away, and says so once when it begins and once when it ends.
//!
//! The library drops in silence when its queue is full. So the queue is bounded here, by the same number, before the library's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchLogProcessor, LogBatch, LogExporter, LogProcessor, SdkLogRecord,
};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use tracing::{info, warn};

use super::metrics::Count;

/// What was thrown away of one signal.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// The queue was full.
    pub(super) queue_full: Count,
    /// The receiver did not take it.
    pub(super) export_failed: Count,
}

/// What was thrown away of each signal.
#[derive(Debug, Default)]
pub(super) struct AllLost {
    pub(super) spans: Lost,
    pub(super) logs: Lost,
    pub(super) metrics: Lost,
}

/// How much of a signal waits, and what became of the rest.
#[derive(Debug)]
pub(super) struct Queue {
    signal: &'static str,
    max: usize,
    waiting: AtomicUsize,
    failing: AtomicBool,
    all: Arc<AllLost>,
    lost: fn(&AllLost) -> &Lost,
}

impl Queue {
    /// An empty one for at most `max`.
    pub(super) fn new(
        signal: &'static str,
        max: usize,
        all: Arc<AllLost>,
        lost: fn(&AllLost) -> &Lost,
    ) -> Arc<Self> {
        Arc::new(Self {
            signal,
            max,
            waiting: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
            all,
            lost,
        })
    }

    /// Whether one more has room. Counts it, one way or the other.
    fn enters(&self) -> bool {
        let room = |waiting: usize| (waiting < self.max).then_some(waiting + 1);
        let entered = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .is_ok();
        if !entered {
            (self.lost)(&self.all).queue_full.add(1);
        }
        entered
    }

    fn leave(&self, many: usize) {
        self.waiting.fetch_sub(many, Ordering::Relaxed);
    }

    /// What became of so many that were sent.
    fn sent(&self, many: usize, outcome: &OTelSdkResult) {
        let failed = outcome.is_err();
        if failed {
            (self.lost)(&self.all).export_failed.add(many as u64);
        }
        if self.failing.swap(failed, Ordering::Relaxed) == failed {
            return;
        }
        match outcome {
            Ok(()) => info!(signal = self.signal, "telemetry is taken again"),
            Err(error) => {
                warn!(signal = self.signal, %error, "telemetry is not taken, and is dropped until it is");
            }
        }
    }
}

/// An exporter that counts what it could not send.
#[derive(Debug)]
pub(super) struct Counting<E>(pub(super) E, pub(super) Arc<Queue>);

impl<E: SpanExporter> SpanExporter for Counting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let many = batch.len();
        self.1.leave(many);
        let outcome = self.0.export(batch).await;
        self.1.sent(many, &outcome);
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Counting<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let many = batch.iter().count();
        self.1.leave(many);
        let outcome = self.0.export(batch).await;
        self.1.sent(many, &outcome);
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Counting<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let outcome = self.0.export(metrics).await;
        self.1.sent(1, &outcome);
        outcome
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.0.temporality()
    }
}

/// A processor that takes no more than its queue has room for.
#[derive(Debug)]
pub(super) struct Bounding<P>(pub(super) P, pub(super) Arc<Queue>);

impl SpanProcessor for Bounding<BatchSpanProcessor> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.1.enters() {
            self.0.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

impl LogProcessor for Bounding<BatchLogProcessor> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.1.enters() {
            self.0.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    #[test]
    fn what_has_no_room_and_what_is_not_taken_is_counted() {
        let all = Arc::new(AllLost::default());
        let queue = Queue::new("spans", 3, all.clone(), |all| &all.spans);
        let entered = (0..5).filter(|_| queue.enters()).count();
        assert_eq!((entered, all.spans.queue_full.get()), (3, 2));
        queue.leave(2);
        queue.sent(2, &Err(OTelSdkError::InternalFailure("away".into())));
        assert_eq!(all.spans.export_failed.get(), 2);
        assert!(queue.enters() && queue.enters() && !queue.enters());
        queue.sent(3, &Ok(()));
        assert_eq!(all.spans.export_failed.get(), 2);
        assert_eq!(all.logs.queue_full.get(), 0);
    }
}
