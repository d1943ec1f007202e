//! What a node is rather than does: gauges that are looked up when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use hub_core::limits::SOCKETS_MAX;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use rustls::pki_types::CertificateDer;

use super::dropping::AllLost;
use super::instruments::{self as table, Instrument};
use super::metrics::sample_counter;
use crate::admin::Probes;

/// Where a certificate of the node's own is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shown {
    /// To devices.
    Device,
    /// To callers of the API.
    Api,
    /// To other nodes.
    Peer,
}

impl Shown {
    /// The word of metrics for it.
    pub(crate) fn word(self) -> &'static str {
        SHOWN[self as usize]
    }
}

const SHOWN: [&str; 3] = ["device", "api", "peer"];
/// No certificate is shown there.
const NONE: i64 = i64::MIN;

/// When the certificates in use run out.
#[derive(Debug)]
pub(crate) struct Certificates([AtomicI64; SHOWN.len()]);

impl Default for Certificates {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicI64::new(NONE)))
    }
}

impl Certificates {
    /// This chain is in use from now on. A certificate that cannot be read has no end that could be told.
    pub(crate) fn show(&self, at: Shown, chain: &[CertificateDer<'_>]) {
        let ends = chain.first().and_then(|own| {
            let (_, own) = x509_parser::parse_x509_certificate(own).ok()?;
            Some(own.validity().not_after.timestamp())
        });
        self.0[at as usize].store(ends.unwrap_or(NONE), Ordering::Relaxed);
    }
}

/// Shows when certificates run out.
pub(super) fn certificates(meter: &Meter, certificates: Arc<Certificates>) {
    gauge(meter, &table::CERTIFICATE_EXPIRY, move |observe| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs().cast_signed());
        for (name, ends) in SHOWN.iter().zip(&certificates.0) {
            let ends = ends.load(Ordering::Relaxed);
            if ends != NONE {
                let left = ends.saturating_sub(now);
                observe(left, &[KeyValue::new("listener", *name)]);
            }
        }
    });
}

/// Shows how much telemetry was thrown away.
pub(super) fn lost(meter: &Meter, lost: Arc<AllLost>) {
    sample_counter(meter, &table::TELEMETRY_DROPPED, move |observe| {
        let signals = [
            ("traces", &lost.spans),
            ("logs", &lost.logs),
            ("metrics", &lost.metrics),
        ];
        for (signal, lost) in signals {
            let reasons = [
                ("queue_full", &lost.queue_full),
                ("export_failed", &lost.export_failed),
            ];
            for (reason, count) in reasons {
                let [reason, signal] = [
                    KeyValue::new("reason", reason),
                    KeyValue::new("signal", signal),
                ];
                observe(count.get(), &[reason, signal]);
            }
        }
    });
}

/// Shows what the probes look at.
pub(crate) fn node(meter: &Meter, probes: &Probes) {
    let sockets = probes.sockets.clone();
    let _ = meter
        .i64_observable_up_down_counter(table::ACTIVE_CONNECTIONS.name)
        .with_unit(table::ACTIVE_CONNECTIONS.unit)
        .with_description(table::ACTIVE_CONNECTIONS.help)
        .with_callback(move |observer| observer.observe(sockets.len().cast_signed(), &[]))
        .build();
    gauge(meter, &table::CONNECTIONS_LIMIT, |observe| {
        observe(i64::try_from(SOCKETS_MAX).unwrap_or(i64::MAX), &[]);
    });
    let database = probes.database.clone();
    gauge(meter, &table::DATABASE_STATE, move |observe| {
        observe(i64::from(!database.is_away()), &[]);
    });
    let bus = probes.bus.clone();
    gauge(meter, &table::BUS_STATE, move |observe| {
        observe(i64::from(bus.borrow().is_up()), &[]);
    });
    let shown = probes.clone();
    gauge(meter, &table::DRAIN_REMAINING, move |observe| {
        let draining = shown.state() == "draining";
        let left = if draining { shown.sockets.len() } else { 0 };
        observe(left.cast_signed(), &[]);
    });
    let shown = probes.clone();
    gauge(meter, &table::NODE_STATE, move |observe| {
        let now = shown.state();
        for state in ["starting", "ready", "draining", "isolated"] {
            observe(i64::from(now == state), &[KeyValue::new("state", state)]);
        }
    });
}

/// A gauge that is asked for its values when somebody wants to know.
pub(super) fn gauge(
    meter: &Meter,
    instrument: &Instrument,
    values: impl Fn(&dyn Fn(i64, &[KeyValue])) + Send + Sync + 'static,
) {
    // Dropping the handle leaves the callback in place.
    let _ = meter
        .i64_observable_gauge(instrument.name)
        .with_unit(instrument.unit)
        .with_description(instrument.help)
        .with_callback(move |observer| {
            values(&|value, attributes| observer.observe(value, attributes));
        })
        .build();
}
