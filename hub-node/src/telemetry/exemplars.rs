//! The last sampled trace in each bucket of a latency histogram, so that a graph leads to a trace.
//!
//! The metrics library keeps none, so they are beside it and only a scrape shows them. Nothing happens here for what is not sampled.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hub_core::limits::EXEMPLAR_SERIES_MAX;
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, SpanId, TraceId};

use super::instruments::Instrument;

/// One measurement that was part of a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    /// Seconds.
    pub(crate) value: f64,
    pub(crate) at: SystemTime,
}

/// A histogram's name and the attributes of one of its series, sorted by key.
type Series = (&'static str, Box<[KeyValue]>);

/// At most one for each bucket of [`EXEMPLAR_SERIES_MAX`] series.
#[derive(Debug, Default)]
pub(crate) struct Exemplars(Mutex<HashMap<Series, Box<[Option<Exemplar>]>>>);

impl Exemplars {
    /// Keeps a measurement if it belongs to a sampled trace. `attributes` are sorted by key.
    pub(crate) fn offer(
        &self,
        instrument: &Instrument,
        attributes: &[KeyValue],
        value: Duration,
        trace: Option<&SpanContext>,
    ) {
        let Some(trace) = trace.filter(|trace| trace.is_sampled()) else {
            return;
        };
        let value = value.as_secs_f64();
        let exemplar = Exemplar {
            trace: trace.trace_id(),
            span: trace.span_id(),
            value,
            at: SystemTime::now(),
        };
        let bucket = instrument.buckets.partition_point(|bound| *bound < value);
        let mut all = self.lock();
        let series = (instrument.name, Box::from(attributes));
        if all.len() >= EXEMPLAR_SERIES_MAX && !all.contains_key(&series) {
            return;
        }
        let buckets = all
            .entry(series)
            .or_insert_with(|| vec![None; instrument.buckets.len() + 1].into());
        if let Some(slot) = buckets.get_mut(bucket) {
            *slot = Some(exemplar);
        }
    }

    /// What is kept of a series, by bucket.
    pub(crate) fn of(
        &self,
        name: &'static str,
        attributes: &[KeyValue],
    ) -> Option<Box<[Option<Exemplar>]>> {
        self.lock().get(&(name, Box::from(attributes))).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Series, Box<[Option<Exemplar>]>>> {
        // Nothing in here is ever half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{TraceFlags, TraceState};

    use super::*;
    use crate::telemetry::instruments::COMMAND_DELIVERY;

    fn context(flags: TraceFlags) -> SpanContext {
        let (trace, span) = (TraceId::from(7_u128), SpanId::from(9_u64));
        SpanContext::new(trace, span, flags, false, TraceState::default())
    }

    #[test]
    fn the_last_sampled_measurement_of_a_bucket_is_kept() {
        let kept = Exemplars::default();
        let (sampled, not) = (context(TraceFlags::SAMPLED), context(TraceFlags::default()));
        let offer = |ms, trace| {
            kept.offer(
                &COMMAND_DELIVERY,
                &[],
                Duration::from_millis(ms),
                Some(trace),
            )
        };
        offer(10, &sampled);
        offer(7, &sampled);
        offer(6, &not);
        let buckets = kept.of(COMMAND_DELIVERY.name, &[]).unwrap();
        assert_eq!(buckets.len(), COMMAND_DELIVERY.buckets.len() + 1);
        // a bound belongs to its own bucket
        assert_eq!(buckets[0].unwrap().value, 0.007);
        assert!(buckets[1..].iter().all(Option::is_none));
        offer(1_000_000_000, &sampled);
        let buckets = kept.of(COMMAND_DELIVERY.name, &[]).unwrap();
        assert!(buckets.last().unwrap().is_some());
    }

    #[test]
    fn series_are_bounded() {
        let kept = Exemplars::default();
        for number in 0..EXEMPLAR_SERIES_MAX as i64 + 10 {
            let attributes = [KeyValue::new("n", number)];
            let sampled = context(TraceFlags::SAMPLED);
            kept.offer(
                &COMMAND_DELIVERY,
                &attributes,
                Duration::ZERO,
                Some(&sampled),
            );
        }
        assert_eq!(kept.lock().len(), EXEMPLAR_SERIES_MAX);
    }
}
