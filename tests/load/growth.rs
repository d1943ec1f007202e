//! `growth`: `idle-and-fanout` with more and more devices, to see whether a device costs the same among many.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Serialize;

use crate::fleet::FleetFlags;
use crate::report::Report;
use crate::scenario::IdleAndFanout;

/// What to measure.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct Growth {
    /// How many devices connect in each step, the fewest first.
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1000,5000,10000,19000",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    at: Vec<u32>,
    /// Group commands in each series.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// How long to watch the idle devices; at least 30 lets each of them send a heartbeat.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    idle_seconds: u32,
    #[command(flatten)]
    fleet: FleetFlags,
}

/// All steps.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GrowthReport {
    steps: Vec<Report>,
    spread: Vec<Spread>,
    /// Resident memory that each further device took between the first step and the last, KiB: what a start costs once is not in it.
    rss_kib_per_further_device: f64,
}

/// How one figure moved from the first step to the last.
#[derive(Clone, Debug, Serialize)]
struct Spread {
    what: &'static str,
    /// Above zero: dearer among many.
    percent: f64,
}

/// A figure's name with its unit, and where it stands.
type Figure = (&'static str, fn(&Report) -> f64);

/// The figures that must not grow, each with its unit.
const FIGURES: [Figure; 11] = [
    ("RSS per idle device, KiB", |report| {
        report.memory.rss_kib_per_device
    }),
    ("PSS per idle device, KiB", |report| {
        report.memory.pss_kib_per_device
    }),
    ("RSS, idle again after commands, KiB", |report| {
        report.memory.rss_kib_per_device_after
    }),
    ("kernel slab, both ends, KiB", |report| {
        report.memory.slab_kib_per_device
    }),
    ("unreclaimable slab, both ends, KiB", |report| {
        report.memory.unreclaimable_kib_per_device
    }),
    ("CPU per set-up, full handshake, us", |report| {
        report.arrival.cpu_us
    }),
    ("CPU per set-up, resumed, us", |report| {
        report.arrival.return_cpu_us
    }),
    ("CPU per delivery alone, us", |report| {
        report.held.cpu_us_per_delivery
    }),
    ("CPU per acknowledgement, us", |report| {
        report.held.cpu_us_per_ack
    }),
    ("acknowledgements said again, per thousand", |report| {
        let acks = f64::from(report.devices) * f64::from(report.rounds) * 2.0;
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let refusals = report.refusals as f64;
        refusals / acks * 1_000.0
    }),
    ("idle CPU per device-minute, us", |report| {
        report.idle.cpu_us_per_device_minute
    }),
];

impl Growth {
    /// Measures.
    ///
    /// # Errors
    /// What went wrong first. Nothing that was started outlives this.
    pub(crate) async fn run(&self) -> anyhow::Result<GrowthReport> {
        ensure!(
            self.at.is_sorted_by(|fewer, more| fewer < more),
            "--at must name more devices in each step"
        );
        let mut steps = Vec::new();
        for devices in &self.at {
            let step = IdleAndFanout {
                devices: *devices,
                rounds: self.rounds,
                idle_seconds: self.idle_seconds,
                fleet: self.fleet.clone(),
            };
            let report = step.run().await;
            // What was measured before is not lost with the step that fails.
            let report = report.with_context(|| {
                let before = GrowthReport::of(steps.clone()).table();
                format!("with {devices} devices, after these:\n{before}\n")
            });
            steps.push(report?);
        }
        Ok(GrowthReport::of(steps))
    }
}

impl GrowthReport {
    fn of(steps: Vec<Report>) -> Self {
        let spread = FIGURES.iter().map(|(what, of)| Spread {
            what,
            percent: match (steps.first().map(of), steps.last().map(of)) {
                (Some(first), Some(last)) if first != 0.0 => (last / first - 1.0) * 100.0,
                (Some(_) | None, Some(_) | None) => 0.0,
            },
        });
        Self {
            spread: spread.collect(),
            rss_kib_per_further_device: further(&steps),
            steps,
        }
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut table = format!("{:<44}", "devices");
        // Writing into a String cannot fail.
        for step in &self.steps {
            let _ = write!(table, "{:>10}", step.devices);
        }
        table.push_str("   last to first\n");
        for ((what, of), spread) in FIGURES.iter().zip(&self.spread) {
            let _ = write!(table, "{what:<44}");
            for step in &self.steps {
                let _ = write!(table, "{:>10.1}", of(step));
            }
            let _ = writeln!(table, "{:>+14.1} %", spread.percent);
        }
        let _ = write!(
            table,
            "RSS per further device, from first to last step: {:.1} KiB\n\nMemory: (with the devices - freshly started) / devices. Slab is the whole machine's: both ends of each socket, and whatever\n\
             else runs. CPU: user and system time of the node's process. Set-up: handshake, upgrade, device join, group join.",
            self.rss_kib_per_further_device
        );
        table
    }
}

/// Resident memory that each further device took between the first step and the last, KiB; 0 for a single step.
fn further(steps: &[Report]) -> f64 {
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
        return 0.0;
    };
    let of = |step: &Report| step.memory.rss_kib_per_device * f64::from(step.devices);
    let devices = f64::from(last.devices) - f64::from(first.devices);
    if devices > 0.0 {
        (of(last) - of(first)) / devices
    } else {
        0.0
    }
}
