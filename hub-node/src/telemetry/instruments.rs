//! Every instrument of a node, in one table: what `hub-node metrics list` prints, what `/metrics` answers, and what is sent as OTLP.
//!
//! Rules owned here: names are dotted, without units and without `_total`; an attribute has few values, all of them known when
//! the program is built, but for the routes of the API and the verbs of the store, which the source bounds; nothing that grows with a
//! fleet (a device, a group, an org, a token) is ever an attribute.

use serde::Serialize;

/// What kind of instrument it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls; sums over nodes make sense.
    UpDownCounter,
    /// A value as it is now.
    Gauge,
    /// A distribution.
    Histogram,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter => "up_down_counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One instrument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instrument {
    /// Dotted name.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// Unit, in UCUM; what is counted stands in braces.
    pub unit: &'static str,
    /// Names of its attributes.
    pub attributes: &'static [&'static str],
    /// What it says, for people.
    pub help: &'static str,
    /// Upper bounds of a histogram's buckets, rising; empty for other kinds.
    pub buckets: &'static [f64],
}

impl Instrument {
    /// Its name in a Prometheus: dots become underscores, a unit that is a measure becomes a suffix, a counter ends in `_total`.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut name = self.family();
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }

    /// [`Self::prometheus`] without the counter's suffix, as OpenMetrics calls the whole family.
    pub(super) fn family(&self) -> String {
        let mut name = self.name.replace('.', "_");
        if let Some(unit) = self.unit_word() {
            name.push('_');
            name.push_str(unit);
        }
        name
    }

    /// The unit as a word, when it is a measure.
    pub(super) fn unit_word(&self) -> Option<&'static str> {
        match self.unit {
            "s" => Some("seconds"),
            "By" => Some("bytes"),
            _ => None,
        }
    }
}

const fn counter(
    name: &'static str,
    unit: &'static str,
    attributes: &'static [&'static str],
    help: &'static str,
) -> Instrument {
    Instrument {
        name,
        kind: Kind::Counter,
        unit,
        attributes,
        help,
        buckets: &[],
    }
}

const fn gauge(
    name: &'static str,
    unit: &'static str,
    attributes: &'static [&'static str],
    help: &'static str,
) -> Instrument {
    Instrument {
        kind: Kind::Gauge,
        ..counter(name, unit, attributes, help)
    }
}

const fn histogram(
    name: &'static str,
    unit: &'static str,
    attributes: &'static [&'static str],
    buckets: &'static [f64],
    help: &'static str,
) -> Instrument {
    Instrument {
        kind: Kind::Histogram,
        buckets,
        ..counter(name, unit, attributes, help)
    }
}

/// Calls and messages, from milliseconds to the patience of a person: the bounds of the semantic conventions.
const LATENCY: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// Calls to a database: the bounds of the semantic conventions.
const QUERY: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];
/// From a command's acceptance to its acknowledgement: a device may be away for as long as the command is good.
const DELIVERY: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0,
    86_400.0,
];
/// Lives of connections.
const LIVES: &[f64] = &[
    1.0, 10.0, 60.0, 300.0, 1_800.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0, 604_800.0,
];
/// Writes in one transaction.
const BATCH: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Device sockets held now.
pub const ACTIVE_CONNECTIONS: Instrument = Instrument {
    kind: Kind::UpDownCounter,
    ..counter(
        "hub.device.active_connections",
        "{connection}",
        &[],
        "Device sockets held now",
    )
};
/// How long sockets lived.
pub const CONNECTION_DURATION: Instrument = histogram(
    "hub.device.connection.duration",
    "s",
    &["hub.close.reason"],
    LIVES,
    "How long device sockets lived, by why they ended",
);
/// Sockets that were upgraded.
pub const CONNECTION_ACCEPTED: Instrument = counter(
    "hub.device.connection.accepted",
    "{connection}",
    &["tls.resumed"],
    "Device sockets that were opened, by whether their TLS session was resumed",
);
/// Connections that did not become one.
pub const CONNECTION_REJECTED: Instrument = counter(
    "hub.device.connection.rejected",
    "{connection}",
    &["hub.reject.reason"],
    "Connections on the device port that were refused before they became a socket or a download",
);
/// Sockets that ended.
pub const DISCONNECTS: Instrument = counter(
    "hub.device.disconnects",
    "{connection}",
    &["hub.close.reason"],
    "Device sockets that ended: client, lost, drain, rebalance, timeout, slow_consumer, takeover, revoked, overload, protocol, error",
);
/// Joins of the device channel.
pub const JOINS: Instrument = counter(
    "hub.device.joins",
    "{join}",
    &["outcome"],
    "Joins of the device channel: ok, refused, duplicate, unavailable",
);
/// Frames.
pub const MESSAGES: Instrument = counter(
    "hub.device.messages",
    "{message}",
    &["direction"],
    "WebSocket messages of devices (in) and to devices (out)",
);
/// TLS handshakes of devices.
pub const TLS_HANDSHAKE: Instrument = histogram(
    "hub.tls.handshake.duration",
    "s",
    &["outcome"],
    LATENCY,
    "TLS handshakes on the device port: ok, refused, timeout",
);
/// Until certificates run out.
pub const CERTIFICATE_EXPIRY: Instrument = gauge(
    "hub.tls.certificate.expiry",
    "s",
    &["listener"],
    "Time until the certificate in use runs out; negative once it has: device, api, peer",
);
/// Certificates read again.
pub const TLS_RELOAD: Instrument = counter(
    "hub.tls.reload",
    "{reload}",
    &["outcome"],
    "Changed certificate files that were read again: ok, failed (then the old ones stay in use)",
);
/// Commands that were answered with 2xx.
pub const COMMAND_ACCEPTED: Instrument = counter(
    "hub.command.accepted",
    "{command}",
    &["scope"],
    "Commands accepted by this node's API, for a device or a group",
);
/// What became of commands.
pub const COMMAND_EXECUTIONS: Instrument = counter(
    "hub.command.executions",
    "{execution}",
    &["state"],
    "Steps of commands on devices of this node: sent (repeats included), and, once committed, delivered, succeeded, failed, rejected",
);
/// From acceptance to acknowledgement.
pub const COMMAND_DELIVERY: Instrument = histogram(
    "hub.command.delivery.duration",
    "s",
    &[],
    DELIVERY,
    "From a command's acceptance by the API to the commit of its first acknowledgement by a device",
);
/// Spans that were not made.
pub const SPANS_DROPPED: Instrument = counter(
    "hub.command.spans.dropped",
    "{span}",
    &[],
    "Deliveries of sampled commands without a span, because the command has enough of them on this node",
);
/// What did not fit.
pub const OUTBOUND_DROPPED: Instrument = counter(
    "hub.outbound.dropped",
    "{message}",
    &["reason"],
    "Messages to devices that did not fit and are read from the store again: inbox (too many at once), slow_consumer",
);
/// Is the bus heard.
pub const BUS_STATE: Instrument = gauge(
    "hub.bus.state",
    "{bus}",
    &[],
    "1 while the bus between nodes is heard, 0 while it is not and the database is polled faster",
);
/// Connections that had to be made again.
pub const BUS_RECONNECTS: Instrument = counter(
    "hub.bus.reconnects",
    "{reconnect}",
    &[],
    "Times the connection to the bus was given up and made again",
);
/// From publishing to handling.
pub const BUS_MESSAGE: Instrument = histogram(
    "hub.bus.message.duration",
    "s",
    &[],
    LATENCY,
    "From the moment a node publishes a message to the moment it is handled here; by the clocks of both",
);
/// Messages on the bus.
pub const BUS_MESSAGES: Instrument = counter(
    "hub.bus.messages",
    "{message}",
    &["direction", "kind"],
    "Messages on the bus, published (out) or heard (in): hint, notice, beacon",
);
/// Is the database there.
pub const DATABASE_STATE: Instrument = gauge(
    "hub.database.state",
    "{database}",
    &[],
    "1 while the database answers, 0 while it is away",
);
/// Calls to the store.
pub const DATABASE_CALL: Instrument = histogram(
    "db.client.operation.duration",
    "s",
    &["db.operation.name", "error.type"],
    QUERY,
    "Calls to the store, by verb; error.type is there when one failed",
);
/// Batches.
pub const BATCH_SIZE: Instrument = histogram(
    "hub.store.batch.size",
    "{write}",
    &[],
    BATCH,
    "Writes of device sockets in one transaction",
);
/// What the node is doing.
pub const NODE_STATE: Instrument = gauge(
    "hub.node.state",
    "{node}",
    &["state"],
    "1 for the state the node is in, 0 for the others: starting, ready, draining, isolated",
);
/// How many sockets it takes.
pub const CONNECTIONS_LIMIT: Instrument = gauge(
    "hub.node.connections.limit",
    "{connection}",
    &[],
    "Device sockets the node takes at most",
);
/// Who has still to be sent away.
pub const DRAIN_REMAINING: Instrument = gauge(
    "hub.drain.remaining",
    "{connection}",
    &[],
    "Device sockets a draining node still holds; 0 while it does not drain",
);
/// Calls of the API.
pub const API_CALL: Instrument = histogram(
    "http.server.request.duration",
    "s",
    &[
        "http.request.method",
        "http.response.status_code",
        "http.route",
    ],
    LATENCY,
    "Calls of the operators' API",
);
/// Telemetry that was not sent.
pub const TELEMETRY_DROPPED: Instrument = counter(
    "hub.telemetry.dropped",
    "{item}",
    &["reason", "signal"],
    "Spans, log records and metric exports that were thrown away: queue_full, export_failed",
);
/// CPU time.
pub const PROCESS_CPU: Instrument = counter(
    "process.cpu.time",
    "s",
    &["cpu.mode"],
    "CPU time of the process: user, system",
);
/// Memory.
pub const PROCESS_MEMORY: Instrument = Instrument {
    kind: Kind::UpDownCounter,
    ..counter(
        "process.memory.usage",
        "By",
        &[],
        "Memory of the process that is resident",
    )
};
/// Open files.
pub const PROCESS_FILES: Instrument = Instrument {
    kind: Kind::UpDownCounter,
    ..counter(
        "process.open_file_descriptor.count",
        "{file_descriptor}",
        &[],
        "Open file descriptors of the process",
    )
};
/// Age.
pub const PROCESS_UPTIME: Instrument =
    gauge("process.uptime", "s", &[], "Time since the process started");

/// Every instrument, in the order in which they are shown.
pub const ALL: [Instrument; 31] = [
    ACTIVE_CONNECTIONS,
    CONNECTION_DURATION,
    CONNECTION_ACCEPTED,
    CONNECTION_REJECTED,
    DISCONNECTS,
    JOINS,
    MESSAGES,
    TLS_HANDSHAKE,
    CERTIFICATE_EXPIRY,
    TLS_RELOAD,
    COMMAND_ACCEPTED,
    COMMAND_EXECUTIONS,
    COMMAND_DELIVERY,
    SPANS_DROPPED,
    OUTBOUND_DROPPED,
    BUS_STATE,
    BUS_RECONNECTS,
    BUS_MESSAGE,
    BUS_MESSAGES,
    DATABASE_STATE,
    DATABASE_CALL,
    BATCH_SIZE,
    NODE_STATE,
    CONNECTIONS_LIMIT,
    DRAIN_REMAINING,
    API_CALL,
    TELEMETRY_DROPPED,
    PROCESS_CPU,
    PROCESS_MEMORY,
    PROCESS_FILES,
    PROCESS_UPTIME,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_rules() {
        let mut seen = BTreeSet::new();
        for instrument in &ALL {
            let name = instrument.name;
            assert!(seen.insert(instrument.prometheus()), "{name} twice");
            let plain = |byte: u8| byte.is_ascii_lowercase() || b"._".contains(&byte);
            assert!(name.bytes().all(plain), "{name}");
            assert!(!name.ends_with("total") && !name.ends_with("seconds"));
            let histogram = instrument.kind == Kind::Histogram;
            assert_eq!(histogram, !instrument.buckets.is_empty(), "{name}");
            assert!(instrument.buckets.is_sorted(), "{name}");
            assert!(
                instrument.attributes.is_sorted(),
                "{name}: sort the attributes"
            );
            for attribute in instrument.attributes {
                let grows = ["device", "org", "group", "product", "token", "command"];
                assert!(
                    !grows.contains(&attribute.rsplit('.').next().unwrap_or_default()),
                    "{name}: {attribute} grows with the fleet"
                );
            }
        }
    }

    #[test]
    fn names_in_prometheus_carry_their_unit() {
        assert_eq!(
            CONNECTION_DURATION.prometheus(),
            "hub_device_connection_duration_seconds"
        );
        assert_eq!(JOINS.prometheus(), "hub_device_joins_total");
        assert_eq!(PROCESS_CPU.prometheus(), "process_cpu_time_seconds_total");
        assert_eq!(PROCESS_CPU.family(), "process_cpu_time_seconds");
        assert_eq!(PROCESS_MEMORY.prometheus(), "process_memory_usage_bytes");
        assert_eq!(BUS_STATE.prometheus(), "hub_bus_state");
    }
}
