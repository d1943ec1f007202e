//! What a run found out, as a table for people and as JSON for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::gauge::{Memory, Slab};
use crate::limits::{ARGS_BYTES, HEARTBEAT_EVERY};

/// Everything one run of `idle-and-fanout` measured. Each field has its unit in its name.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) devices: u32,
    pub(crate) workers: u32,
    pub(crate) rounds: u32,
    pub(crate) cores: usize,
    /// How this program was built; the node lies beside it unless another one was named.
    pub(crate) build: &'static str,
    pub(crate) node_log: String,
    pub(crate) args_bytes: usize,
    pub(crate) memory: MemoryReport,
    pub(crate) arrival: ArrivalReport,
    pub(crate) idle: IdleReport,
    pub(crate) held: HeldReport,
    pub(crate) acked: AckedReport,
    /// Commands that a device got more than once.
    pub(crate) repeats: u64,
    /// Acknowledgements that the node could not commit at once, and that were said again.
    pub(crate) refusals: u64,
}

/// Memory of the node.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct MemoryReport {
    /// Freshly started, nobody connected.
    pub(crate) before: Memory,
    /// All devices joined and idle.
    pub(crate) idle: Memory,
    /// Idle again after all commands.
    pub(crate) after: Memory,
    pub(crate) rss_kib_per_device: f64,
    pub(crate) pss_kib_per_device: f64,
    pub(crate) rss_kib_per_device_after: f64,
    /// The kernel's small pieces on the whole machine, freshly started: nobody connected.
    pub(crate) slab_before: Slab,
    /// The same with all devices joined and idle.
    pub(crate) slab_idle: Slab,
    /// Of both ends of each socket, because the devices are on the same machine.
    pub(crate) slab_kib_per_device: f64,
    /// The part of it that the kernel cannot give back.
    pub(crate) unreclaimable_kib_per_device: f64,
}

/// What it costs that a device comes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ArrivalReport {
    /// Unknown device: handshake, upgrade, registration by its authority, device join, goodbye.
    pub(crate) first_contact_cpu_us: f64,
    /// Known device: handshake, upgrade, device join, group join.
    pub(crate) cpu_us: f64,
    /// Known devices that arrived in a second; the machine is shared with them.
    pub(crate) per_second: f64,
    /// Known device that comes back with a session ticket: resumed handshake, upgrade, device join, group join.
    pub(crate) return_cpu_us: f64,
    /// Such devices in a second.
    pub(crate) return_per_second: f64,
    /// How many of them did resume.
    pub(crate) return_resumed: u32,
}

/// What it costs that devices stay.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct IdleReport {
    pub(crate) seconds: f64,
    /// Of one core, nobody connected.
    pub(crate) empty_node_cpu_percent: f64,
    /// Of one core, all devices connected.
    pub(crate) cpu_percent: f64,
    pub(crate) cpu_us_per_device_minute: f64,
}

/// Commands whose acknowledgements were kept back until the last device had them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HeldReport {
    /// From the call to the last delivery, for each delivery.
    pub(crate) cpu_us_per_delivery: f64,
    /// From the first acknowledgement to the last one's commit and reply, for each.
    pub(crate) cpu_us_per_ack: f64,
    pub(crate) times: Times,
}

/// Commands that were acknowledged at once.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AckedReport {
    /// From the call to the last reply, for each device: delivery, acknowledgement, commit, reply.
    pub(crate) cpu_us_per_delivery: f64,
    pub(crate) times: Times,
}

/// Milliseconds after the call of the API began.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Times {
    pub(crate) api_answered_ms: Percentiles,
    pub(crate) first_delivery_ms: Percentiles,
    pub(crate) last_delivery_ms: Percentiles,
    /// In a series of kept acknowledgements: milliseconds after they were let go.
    pub(crate) last_ack_ms: Percentiles,
}

/// The middle and the bad end of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Percentiles {
    /// Of these durations, by the nearest rank, in milliseconds; 0 for none.
    pub(crate) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        let rank = |percent: usize| {
            let at = (durations.len() * percent).div_ceil(100).max(1) - 1;
            durations
                .get(at)
                .map_or(0.0, |duration| duration.as_secs_f64() * 1_000.0)
        };
        Self {
            p50: rank(50),
            p99: rank(99),
        }
    }
}

/// Microseconds of `cpu` for each of `count`.
pub(crate) fn micros_each(cpu: Duration, count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let count = count.max(1) as f64;
    cpu.as_secs_f64() * 1e6 / count
}

impl MemoryReport {
    /// Of readings when freshly started, with all devices idle, and idle again after all commands.
    pub(crate) fn new(
        (before, slab_before): (Memory, Slab),
        (idle, slab_idle): (Memory, Slab),
        after: Memory,
        devices: u32,
    ) -> Self {
        let each = |now: u64, start: u64| {
            #[expect(clippy::cast_precision_loss, reason = "kibibytes are far below 2^52")]
            let (now, start) = (now as f64, start as f64);
            (now - start) / f64::from(devices)
        };
        Self {
            before,
            idle,
            after,
            rss_kib_per_device: each(idle.rss_kib, before.rss_kib),
            pss_kib_per_device: each(idle.pss_kib, before.pss_kib),
            rss_kib_per_device_after: each(after.rss_kib, before.rss_kib),
            slab_before,
            slab_idle,
            slab_kib_per_device: each(slab_idle.slab_kib, slab_before.slab_kib),
            unreclaimable_kib_per_device: each(
                slab_idle.unreclaimable_kib,
                slab_before.unreclaimable_kib,
            ),
        }
    }
}

impl Report {
    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut table = format!(
            "{} devices, mutual TLS 1.3, each joined to its own channel and one group · {} cores, shared with {} worker processes\n\
             {} build, node log level {}, {} commands a series, {} bytes of arguments\n\n",
            self.devices,
            self.cores,
            self.workers,
            self.build,
            self.node_log,
            self.rounds,
            self.args_bytes
        );
        for (what, value) in self.rows() {
            // Writing into a String cannot fail.
            let _ = writeln!(table, "{what:<72}{value:>16}");
        }
        let _ = write!(
            table,
            "\nRSS and PSS: (with the devices - freshly started) / devices. CPU: user and system time of the node's process.\n\
             Slab is the whole machine's, so whatever else runs is in it.\n\
             Delivery alone: devices keep their acknowledgements until the last one has the command; the call of the API\n\
             and the write of the command are in it. Acknowledged at once: from the call until every acknowledgement is\n\
             committed and answered. Times run from the start of the call; heartbeats every {} s go on all the time.",
            HEARTBEAT_EVERY.as_secs()
        );
        table
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = self.idle_rows();
        let (held, acked) = (&self.held, &self.acked);
        rows.push((
            "delivery alone: CPU per delivered message",
            us(held.cpu_us_per_delivery),
        ));
        rows.push((
            "  and per acknowledgement, committed and answered",
            us(held.cpu_us_per_ack),
        ));
        rows.extend(held.times.rows());
        rows.push((
            "acknowledged at once: CPU per delivery with its acknowledgement",
            us(acked.cpu_us_per_delivery),
        ));
        rows.extend(acked.times.rows());
        let repeats = self.repeats.to_string();
        rows.push(("commands that a device got more than once", repeats));
        let refusals = self.refusals.to_string();
        rows.push(("acknowledgements refused for now, and said again", refusals));
        rows
    }

    fn idle_rows(&self) -> Vec<(&'static str, String)> {
        let (memory, arrival, idle) = (self.memory, self.arrival, self.idle);
        vec![
            ("RSS per idle device", kib(memory.rss_kib_per_device)),
            ("PSS per idle device", kib(memory.pss_kib_per_device)),
            (
                "RSS per device, idle again after all commands",
                kib(memory.rss_kib_per_device_after),
            ),
            (
                "RSS of the node without devices",
                format!("{} KiB", memory.before.rss_kib),
            ),
            (
                "kernel slab per device, both ends of the socket: all / unreclaimable",
                format!(
                    "{:.1} / {:.1} KiB",
                    memory.slab_kib_per_device, memory.unreclaimable_kib_per_device
                ),
            ),
            (
                "CPU per set-up: handshake, upgrade, device join, group join",
                us(arrival.cpu_us),
            ),
            (
                "CPU per set-up of a device that comes back with a session ticket",
                us(arrival.return_cpu_us),
            ),
            (
                "  devices that did resume",
                format!("{} of {}", arrival.return_resumed, self.devices),
            ),
            (
                "CPU per first contact: handshake, upgrade, registration, join, close",
                us(arrival.first_contact_cpu_us),
            ),
            (
                "set-ups per second, full / resumed",
                format!(
                    "{:.0} / {:.0}",
                    arrival.per_second, arrival.return_per_second
                ),
            ),
            (
                "idle CPU, all devices together, share of one core",
                format!("{:.2} %", idle.cpu_percent),
            ),
            (
                "idle CPU without devices, share of one core",
                format!("{:.2} %", idle.empty_node_cpu_percent),
            ),
            (
                "idle CPU per device and minute",
                us(idle.cpu_us_per_device_minute),
            ),
        ]
    }
}

impl Times {
    fn rows(&self) -> [(&'static str, String); 4] {
        let ms = |of: Percentiles| format!("{:.0} / {:.0} ms", of.p50, of.p99);
        [
            ("  API answered, p50 / p99", ms(self.api_answered_ms)),
            ("  first delivery, p50 / p99", ms(self.first_delivery_ms)),
            ("  last delivery, p50 / p99", ms(self.last_delivery_ms)),
            (
                "  last acknowledgement answered, p50 / p99",
                ms(self.last_ack_ms),
            ),
        ]
    }
}

fn kib(value: f64) -> String {
    format!("{value:.1} KiB")
}

fn us(value: f64) -> String {
    format!("{value:.1} us")
}

/// Arguments of a command: an object of [`ARGS_BYTES`] bytes.
pub(crate) fn args() -> String {
    let frame = r#"{"data":""}"#;
    format!(r#"{{"data":"{}"}}"#, "x".repeat(ARGS_BYTES - frame.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_members_of_the_series() {
        let series = (1..=50).map(Duration::from_millis).collect();
        let found = Percentiles::of(series);
        assert_eq!((found.p50, found.p99), (25.0, 50.0));
        assert_eq!(Percentiles::of(Vec::new()).p99, 0.0);
    }

    #[test]
    fn arguments_have_their_size() {
        assert_eq!(args().len(), ARGS_BYTES);
        serde_json::from_str::<serde_json::Value>(&args()).unwrap();
    }
}
