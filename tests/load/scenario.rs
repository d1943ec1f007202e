//! `idle-and-fanout`: devices come, stay, are sent group commands, leave and come back; what each of these costs the node.

use clap::Args;
use tokio::time::sleep;

use crate::commands::{acked, held};
use crate::fleet::{Fleet, FleetFlags, depart, idle_cpu, watch};
use crate::gauge::Slab;
use crate::limits::{ARGS_BYTES, SETTLE};
use crate::report::{ArrivalReport, IdleReport, MemoryReport, Report};
use crate::server::Server;

/// What to measure.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct IdleAndFanout {
    /// How many devices connect.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) devices: u32,
    /// Group commands in each of the two series.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
    /// How long to watch the idle devices; at least 30 lets each of them send a heartbeat.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) idle_seconds: u32,
    #[command(flatten)]
    pub(crate) fleet: FleetFlags,
}

impl IdleAndFanout {
    /// Measures.
    ///
    /// # Errors
    /// What went wrong first. Nothing that was started outlives this.
    pub(crate) async fn run(&self) -> anyhow::Result<Report> {
        let mut fleet = Fleet::enrol(&self.fleet, self.devices, None).await?;
        let server = fleet.site.start().await?;
        let report = self.measure(&mut fleet, &server).await?;
        fleet.crew.dismiss().await?;
        server.stop().await?;
        Ok(report)
    }

    async fn measure(&self, fleet: &mut Fleet, server: &Server) -> anyhow::Result<Report> {
        let (devices, gauge) = (self.devices, &server.gauge);
        sleep(SETTLE).await;
        let before = (gauge.memory()?, Slab::read()?);
        let empty = idle_cpu(gauge, SETTLE).await?;
        let full = fleet.arrive(server, true, "arrival".to_owned()).await?;
        sleep(SETTLE).await;
        let idle = (gauge.memory()?, Slab::read()?);
        let (share, seconds) = watch(gauge, self.idle_seconds).await?;
        let crew = &mut fleet.crew;
        let held = held(
            server,
            gauge,
            crew,
            self.rounds,
            "delivery alone".to_owned(),
        )
        .await?;
        let acked = acked(server, crew, self.rounds).await?;
        sleep(SETTLE).await;
        let after = gauge.memory()?;
        depart(crew, "departure".to_owned()).await?;
        sleep(SETTLE).await;
        let again = fleet.arrive(server, true, "return".to_owned()).await?;
        Ok(Report {
            devices,
            workers: self.fleet.workers,
            rounds: self.rounds,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            build: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
            node_log: self.fleet.node_log.clone(),
            args_bytes: ARGS_BYTES,
            memory: MemoryReport::new(before, idle, after, devices),
            arrival: ArrivalReport {
                first_contact_cpu_us: fleet.first_contact_cpu_us,
                cpu_us: full.cpu_us,
                per_second: full.per_second,
                return_cpu_us: again.cpu_us,
                return_per_second: again.per_second,
                return_resumed: again.resumed,
            },
            idle: IdleReport {
                seconds,
                empty_node_cpu_percent: empty * 100.0,
                cpu_percent: share * 100.0,
                cpu_us_per_device_minute: share * 60.0e6 / f64::from(devices),
            },
            held,
            acked,
            repeats: fleet.crew.repeats,
            refusals: fleet.crew.refusals,
        })
    }
}
