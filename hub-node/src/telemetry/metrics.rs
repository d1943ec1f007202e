//! What a node counts and times, by the verbs of the node.
//!
//! Rule owned here: what happens for each message costs one atomic addition. Such counts are sampled when somebody asks for
//! them; only what is rare, or waits for a disk or a network anyway, is recorded in the library's own instruments.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hub_core::command::ExecutionState;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::trace::SpanContext;

use super::exemplars::Exemplars;
use super::instruments::{self as table, Instrument, Kind};

/// A count that many threads raise; alone on its cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, many: u64) {
        self.0.fetch_add(many, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Which way a message goes, seen from the node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Direction {
    In,
    Out,
}

/// What a message on the bus is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OnBus {
    Hint,
    Notice,
    Beacon,
}

/// Why a message to a device was thrown away.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dropped {
    /// Its socket's actor was told too much at once.
    Inbox,
    /// The device reads too slowly.
    SlowConsumer,
}

/// Words for [`Direction`] in its order, and so on below.
const DIRECTIONS: [&str; 2] = ["in", "out"];
const ON_BUS: [&str; 3] = ["hint", "notice", "beacon"];
const DROPPED: [&str; 2] = ["inbox", "slow_consumer"];
const EXECUTIONS: [&str; 5] = ["sent", "delivered", "succeeded", "failed", "rejected"];

/// Counts that are sampled.
#[derive(Debug, Default)]
struct Counts {
    messages: [Count; DIRECTIONS.len()],
    executions: [Count; EXECUTIONS.len()],
    dropped: [Count; DROPPED.len()],
    spans_dropped: [Count; 1],
    bus_messages: [[Count; ON_BUS.len()]; DIRECTIONS.len()],
    bus_reconnects: [Count; 1],
}

/// All a node counts. One per node.
#[derive(Debug)]
pub(crate) struct Metrics {
    counts: Arc<Counts>,
    exemplars: Arc<Exemplars>,
    accepted: Counter<u64>,
    rejected: Counter<u64>,
    disconnects: Counter<u64>,
    joins: Counter<u64>,
    reloads: Counter<u64>,
    commands: Counter<u64>,
    lives: Histogram<f64>,
    handshakes: Histogram<f64>,
    deliveries: Histogram<f64>,
    bus: Histogram<f64>,
    database: Histogram<f64>,
    batches: Histogram<f64>,
    api: Histogram<f64>,
}

/// Counts for nobody to read: of what is not part of a node.
impl Default for Metrics {
    fn default() -> Self {
        let nowhere = opentelemetry::global::meter("nowhere");
        Self::new(&nowhere, Arc::default())
    }
}

impl Metrics {
    /// Instruments of this meter. Exemplars of its latencies are kept where a scrape looks for them.
    pub(crate) fn new(meter: &Meter, exemplars: Arc<Exemplars>) -> Self {
        let counts = Arc::new(Counts::default());
        sample_all(meter, &counts);
        Self {
            counts,
            exemplars,
            accepted: counter(meter, &table::CONNECTION_ACCEPTED),
            rejected: counter(meter, &table::CONNECTION_REJECTED),
            disconnects: counter(meter, &table::DISCONNECTS),
            joins: counter(meter, &table::JOINS),
            reloads: counter(meter, &table::TLS_RELOAD),
            commands: counter(meter, &table::COMMAND_ACCEPTED),
            lives: histogram(meter, &table::CONNECTION_DURATION),
            handshakes: histogram(meter, &table::TLS_HANDSHAKE),
            deliveries: histogram(meter, &table::COMMAND_DELIVERY),
            bus: histogram(meter, &table::BUS_MESSAGE),
            database: histogram(meter, &table::DATABASE_CALL),
            batches: histogram(meter, &table::BATCH_SIZE),
            api: histogram(meter, &table::API_CALL),
        }
        .begin()
    }

    /// Says zero of what has not happened yet: a rate needs a first value.
    fn begin(self) -> Self {
        let zero = |counter: &Counter<u64>, key: &'static str, words: &[&'static str]| {
            for word in words {
                counter.add(0, &[KeyValue::new(key, *word)]);
            }
        };
        zero(&self.rejected, "hub.reject.reason", &["tls", "node_full"]);
        zero(
            &self.disconnects,
            "hub.close.reason",
            &[
                "client",
                "lost",
                "drain",
                "timeout",
                "slow_consumer",
                "takeover",
            ],
        );
        zero(&self.joins, "outcome", &["ok", "unavailable"]);
        zero(&self.reloads, "outcome", &["ok", "failed"]);
        zero(&self.commands, "scope", &["device", "group"]);
        for resumed in [false, true] {
            self.accepted
                .add(0, &[KeyValue::new("tls.resumed", resumed)]);
        }
        self
    }

    /// A device's socket was opened.
    pub(crate) fn connected(&self, resumed: bool) {
        self.accepted
            .add(1, &[KeyValue::new("tls.resumed", resumed)]);
    }

    /// A connection on the device port was refused.
    pub(crate) fn rejected(&self, reason: &'static str) {
        self.rejected
            .add(1, &[KeyValue::new("hub.reject.reason", reason)]);
    }

    /// A device's socket ended.
    pub(crate) fn disconnected(&self, reason: &'static str, lived: Duration) {
        let why = [KeyValue::new("hub.close.reason", reason)];
        self.disconnects.add(1, &why);
        self.lives.record(lived.as_secs_f64(), &why);
    }

    /// A join was answered.
    pub(crate) fn joined(&self, outcome: &'static str) {
        self.joins.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// Frames of or to devices.
    pub(crate) fn messages(&self, direction: Direction, many: usize) {
        self.counts.messages[direction as usize].add(many as u64);
    }

    /// A TLS handshake on the device port ended.
    pub(crate) fn handshake(&self, outcome: &'static str, took: Duration) {
        self.handshakes
            .record(took.as_secs_f64(), &[KeyValue::new("outcome", outcome)]);
    }

    /// Changed certificate files were read.
    pub(crate) fn reloaded(&self, outcome: &'static str) {
        self.reloads.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// A command was accepted.
    pub(crate) fn command_accepted(&self, scope: &'static str) {
        self.commands.add(1, &[KeyValue::new("scope", scope)]);
    }

    /// A command came to this state on a device.
    pub(crate) fn executed(&self, state: ExecutionState) {
        if let Some(at) = place(state) {
            self.counts.executions[at].add(1);
        }
    }

    /// The first acknowledgement of a command by a device was committed, so long after the command was accepted.
    pub(crate) fn delivered(&self, after: Duration, trace: Option<&SpanContext>) {
        self.deliveries.record(after.as_secs_f64(), &[]);
        self.exemplars
            .offer(&table::COMMAND_DELIVERY, &[], after, trace);
    }

    /// A delivery of a sampled command got no span.
    pub(crate) fn span_dropped(&self) {
        self.counts.spans_dropped[0].add(1);
    }

    /// Messages to a device were thrown away.
    pub(crate) fn outbound_dropped(&self, reason: Dropped, many: usize) {
        self.counts.dropped[reason as usize].add(many as u64);
    }

    /// The bus was connected again.
    pub(crate) fn bus_reconnected(&self) {
        self.counts.bus_reconnects[0].add(1);
    }

    /// A message was published or heard.
    pub(crate) fn on_bus(&self, direction: Direction, kind: OnBus) {
        self.counts.bus_messages[direction as usize][kind as usize].add(1);
    }

    /// A message of the bus was handled, so long after it was published.
    pub(crate) fn bus_handled(&self, after: Duration, trace: Option<&SpanContext>) {
        self.bus.record(after.as_secs_f64(), &[]);
        self.exemplars.offer(&table::BUS_MESSAGE, &[], after, trace);
    }

    /// The store answered a call.
    pub(crate) fn database_call(
        &self,
        verb: &'static str,
        error: Option<&'static str>,
        took: Duration,
    ) {
        let verb = KeyValue::new("db.operation.name", verb);
        match error {
            None => self.database.record(took.as_secs_f64(), &[verb]),
            Some(error) => {
                let error = KeyValue::new("error.type", error);
                self.database.record(took.as_secs_f64(), &[verb, error]);
            }
        }
    }

    /// So many writes of sockets went into one transaction.
    pub(crate) fn batch(&self, writes: usize) {
        self.batches.record(writes as f64, &[]);
    }

    /// The API answered a call.
    pub(crate) fn api_call(
        &self,
        method: &'static str,
        status: u16,
        route: Option<&str>,
        took: Duration,
        trace: Option<&SpanContext>,
    ) {
        let call = [
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.response.status_code", i64::from(status)),
            KeyValue::new("http.route", route.unwrap_or_default().to_owned()),
        ];
        // where no route is, the convention wants no attribute
        let call = &call[..if route.is_some() { 3 } else { 2 }];
        self.api.record(took.as_secs_f64(), call);
        self.exemplars.offer(&table::API_CALL, call, took, trace);
    }
}

/// The place of a state among [`EXECUTIONS`]; none for states of reading, which no socket reports.
fn place(state: ExecutionState) -> Option<usize> {
    match state {
        ExecutionState::Sent => Some(0),
        ExecutionState::Delivered => Some(1),
        ExecutionState::Succeeded => Some(2),
        ExecutionState::Failed => Some(3),
        ExecutionState::Rejected => Some(4),
        ExecutionState::Queued | ExecutionState::Expired | ExecutionState::Cancelled => None,
    }
}

/// The word of metrics and traces for what a device said about a command.
pub(crate) fn word(state: ExecutionState) -> &'static str {
    place(state).map_or("other", |at| EXECUTIONS[at])
}

fn sample_all(meter: &Meter, counts: &Arc<Counts>) {
    let key = |instrument: &Instrument| instrument.attributes.first().copied().unwrap_or_default();
    let words = |key: &'static str, words: &[&'static str]| -> Vec<Vec<KeyValue>> {
        let of = |word: &&'static str| vec![KeyValue::new(key, *word)];
        words.iter().map(of).collect()
    };
    let plain = || vec![Vec::new()];
    let messages = words(key(&table::MESSAGES), &DIRECTIONS);
    sample(meter, &table::MESSAGES, counts, messages, |c| &c.messages);
    let states = words(key(&table::COMMAND_EXECUTIONS), &EXECUTIONS);
    sample(meter, &table::COMMAND_EXECUTIONS, counts, states, |c| {
        &c.executions
    });
    let reasons = words(key(&table::OUTBOUND_DROPPED), &DROPPED);
    sample(meter, &table::OUTBOUND_DROPPED, counts, reasons, |c| {
        &c.dropped
    });
    sample(meter, &table::SPANS_DROPPED, counts, plain(), |c| {
        &c.spans_dropped
    });
    sample(meter, &table::BUS_RECONNECTS, counts, plain(), |c| {
        &c.bus_reconnects
    });
    let on_bus = DIRECTIONS.iter().flat_map(|direction| {
        let of = |kind: &&'static str| {
            let direction = KeyValue::new("direction", *direction);
            vec![direction, KeyValue::new("kind", *kind)]
        };
        ON_BUS.iter().map(of).collect::<Vec<_>>()
    });
    sample(meter, &table::BUS_MESSAGES, counts, on_bus.collect(), |c| {
        c.bus_messages.as_flattened()
    });
}

/// Samples a row of counts, each with the attributes at its place.
fn sample<T: Send + Sync + 'static>(
    meter: &Meter,
    instrument: &Instrument,
    counts: &Arc<T>,
    attributes: Vec<Vec<KeyValue>>,
    row: impl Fn(&T) -> &[Count] + Send + Sync + 'static,
) {
    let counts = counts.clone();
    sample_counter(meter, instrument, move |observe| {
        for (count, attributes) in row(&counts).iter().zip(&attributes) {
            observe(count.get(), attributes);
        }
    });
}

/// A counter whose values are asked for when somebody wants to know.
pub(super) fn sample_counter(
    meter: &Meter,
    instrument: &Instrument,
    values: impl Fn(&dyn Fn(u64, &[KeyValue])) + Send + Sync + 'static,
) {
    debug_assert_eq!(instrument.kind, Kind::Counter);
    // Dropping the handle leaves the callback in place.
    let _ = meter
        .u64_observable_counter(instrument.name)
        .with_unit(instrument.unit)
        .with_description(instrument.help)
        .with_callback(move |observer| {
            values(&|value, attributes| observer.observe(value, attributes));
        })
        .build();
}

fn counter(meter: &Meter, instrument: &Instrument) -> Counter<u64> {
    debug_assert_eq!(instrument.kind, Kind::Counter);
    meter
        .u64_counter(instrument.name)
        .with_unit(instrument.unit)
        .with_description(instrument.help)
        .build()
}

fn histogram(meter: &Meter, instrument: &Instrument) -> Histogram<f64> {
    debug_assert_eq!(instrument.kind, Kind::Histogram);
    meter
        .f64_histogram(instrument.name)
        .with_unit(instrument.unit)
        .with_description(instrument.help)
        .with_boundaries(instrument.buckets.to_vec())
        .build()
}
