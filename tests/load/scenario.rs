//! `idle-and-fanout`: devices come, stay, and are sent group commands; what each of these costs the node.
//!
//! Devices are registered in a first start of the node and measured in a second one, because memory that was freed
//! after the registration would hide memory that is needed later.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use hub_proto::api::CommandCreate;
use hub_proto::id::CommandId;
use hub_tests::process::built;
use indicatif::{ProgressBar, ProgressStyle};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::value::RawValue;
use tokio::time::sleep;

use crate::crew::Crew;
use crate::gauge::{Gauge, monotonic_ns};
use crate::limits::{ARGS_BYTES, COMMAND_EVERY, FILES_KEPT, SETTLE, WORKERS_MAX};
use crate::orders::{Order, Span};
use crate::report::{
    AckedReport, ArrivalReport, HeldReport, IdleReport, MemoryReport, Percentiles, Report, Times,
    args, micros_each,
};
use crate::server::{GROUP, ORG, PRODUCT, Server, Site, add_members};

/// The name of the command that is sent; every device would know what to do with it.
const COMMAND: &str = "identify";

/// What to measure.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct IdleAndFanout {
    /// How many devices connect.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    devices: u32,
    /// Group commands in each of the two series.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Processes that play the devices.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    workers: u32,
    /// How long to watch the idle devices; at least 30 lets each of them send a heartbeat.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    idle_seconds: u64,
    /// Log filter of the node; what it ships with by default. It must let `ready` through.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    node_log: String,
    /// The node's program, if it is not the one beside this one.
    #[arg(long, value_name = "FILE")]
    node: Option<PathBuf>,
}

impl IdleAndFanout {
    /// Measures.
    ///
    /// # Errors
    /// What went wrong first. Nothing that was started outlives this.
    pub(crate) async fn run(&self) -> anyhow::Result<Report> {
        self.check()?;
        let dir = tempfile::tempdir()?;
        let program = match &self.node {
            Some(program) => program.clone(),
            None => built("hub-node")?,
        };
        let mut site = Site::make(dir.path(), program, self.node_log.clone(), None).await?;
        let (bar, devices) = (bar("certificates", self.devices), self.devices);
        let mut crew = Crew::start(self.workers, devices, dir.path(), &bar).await?;
        bar.finish();
        let first_contact_cpu_us = self.register(&mut site, &mut crew).await?;
        let server = site.start().await?;
        sleep(SETTLE).await;
        let before = server.gauge.memory()?;
        let empty = idle_cpu(server.gauge, SETTLE).await?;
        let arrival = self
            .arrive(&server, &mut crew, first_contact_cpu_us)
            .await?;
        sleep(SETTLE).await;
        let idle = server.gauge.memory()?;
        let idle_report = self.watch(server.gauge, empty).await?;
        let held = self.held(&server, &mut crew).await?;
        let acked = self.acked(&server, &mut crew).await?;
        sleep(SETTLE).await;
        let after = server.gauge.memory()?;
        let repeats = crew.repeats;
        crew.dismiss().await?;
        server.stop().await?;
        Ok(Report {
            devices,
            workers: self.workers,
            rounds: self.rounds,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            build: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
            node_log: self.node_log.clone(),
            args_bytes: ARGS_BYTES,
            memory: MemoryReport::new([before, idle, after], devices),
            arrival,
            idle: idle_report,
            held,
            acked,
            repeats,
        })
    }

    /// Whether so many sockets fit into the node's process and into each worker's.
    fn check(&self) -> anyhow::Result<()> {
        let (_, files) = getrlimit(Resource::RLIMIT_NOFILE)?;
        // What we may raise without asking; the node and the workers inherit it.
        setrlimit(Resource::RLIMIT_NOFILE, files, files)?;
        let sockets = files.saturating_sub(FILES_KEPT);
        if u64::from(self.devices) > sockets {
            bail!(
                "{} devices need as many open files in the node, which may have {files}: take --devices {sockets} at most, or raise `ulimit -n`",
                self.devices
            );
        }
        if self.workers > self.devices {
            bail!("{} workers for {} devices", self.workers, self.devices);
        }
        Ok(())
    }

    /// First contact of all devices; afterwards they are members of the group and the node is stopped.
    async fn register(&self, site: &mut Site, crew: &mut Crew) -> anyhow::Result<f64> {
        let server = site.start().await?;
        site.furnish(&server.api, self.devices)
            .await
            .context("cannot furnish the hub")?;
        let bar = bar("first contact", self.devices);
        let begin = server.gauge.cpu()?;
        crew.order(&Order::Visit { hub: server.hub }, &bar).await?;
        let cpu = server.gauge.cpu()?.saturating_sub(begin);
        bar.finish();
        add_members(&server.api, self.devices)
            .await
            .context("cannot fill the group")?;
        server.stop().await?;
        Ok(micros_each(cpu, self.devices.into()))
    }

    async fn arrive(
        &self,
        server: &Server,
        crew: &mut Crew,
        first_contact_cpu_us: f64,
    ) -> anyhow::Result<ArrivalReport> {
        let bar = bar("arrival", self.devices);
        let (begin, began) = (server.gauge.cpu()?, Instant::now());
        crew.order(
            &Order::Arrive {
                hubs: vec![server.hub],
            },
            &bar,
        )
        .await?;
        let cpu = server.gauge.cpu()?.saturating_sub(begin);
        bar.finish();
        Ok(ArrivalReport {
            first_contact_cpu_us,
            cpu_us: micros_each(cpu, self.devices.into()),
            per_second: f64::from(self.devices) / began.elapsed().as_secs_f64(),
        })
    }

    async fn watch(&self, gauge: Gauge, empty: f64) -> anyhow::Result<IdleReport> {
        let bar = bar("idle", u32::try_from(self.idle_seconds)?);
        let (begin, began) = (gauge.cpu()?, Instant::now());
        for _ in 0..self.idle_seconds {
            sleep(Duration::from_secs(1)).await;
            bar.inc(1);
        }
        let (cpu, seconds) = (
            gauge.cpu()?.saturating_sub(begin).as_secs_f64(),
            began.elapsed().as_secs_f64(),
        );
        bar.finish();
        Ok(IdleReport {
            seconds,
            empty_node_cpu_percent: empty * 100.0,
            cpu_percent: cpu / seconds * 100.0,
            cpu_us_per_device_minute: cpu * 1e6 / f64::from(self.devices) / seconds * 60.0,
        })
    }

    /// Deliveries and acknowledgements, one after the other.
    async fn held(&self, server: &Server, crew: &mut Crew) -> anyhow::Result<HeldReport> {
        let bar = bar("delivery alone", self.rounds);
        let (mut delivery_cpu, mut ack_cpu) = (Duration::ZERO, Duration::ZERO);
        let mut series = Series::default();
        for _ in 0..self.rounds {
            crew.order(&Order::Acks { hold: true }, &bar).await?;
            let pause = sleep(COMMAND_EVERY);
            let begin = server.gauge.cpu()?;
            let call = Call::make(server).await?;
            let delivered = crew.delivered(call.id).await?;
            let middle = server.gauge.cpu()?;
            let released = monotonic_ns()?;
            crew.order(&Order::Acks { hold: false }, &bar).await?;
            let acked = crew.acked(call.id).await?;
            let end = server.gauge.cpu()?;
            delivery_cpu += middle.saturating_sub(begin);
            ack_cpu += end.saturating_sub(middle);
            series.add(&call, delivered, since(acked.last, released));
            bar.inc(1);
            pause.await;
        }
        bar.finish();
        let messages = u64::from(self.devices) * u64::from(self.rounds);
        Ok(HeldReport {
            cpu_us_per_delivery: micros_each(delivery_cpu, messages),
            cpu_us_per_ack: micros_each(ack_cpu, messages),
            times: series.times(),
        })
    }

    /// Deliveries that are acknowledged at once.
    async fn acked(&self, server: &Server, crew: &mut Crew) -> anyhow::Result<AckedReport> {
        let bar = bar("acknowledged at once", self.rounds);
        let mut cpu = Duration::ZERO;
        let mut series = Series::default();
        for _ in 0..self.rounds {
            let pause = sleep(COMMAND_EVERY);
            let begin = server.gauge.cpu()?;
            let call = Call::make(server).await?;
            let (delivered, acked) = crew.delivered_and_acked(call.id).await?;
            cpu += server.gauge.cpu()?.saturating_sub(begin);
            series.add(&call, delivered, since(acked.last, call.began));
            bar.inc(1);
            pause.await;
        }
        bar.finish();
        let messages = u64::from(self.devices) * u64::from(self.rounds);
        Ok(AckedReport {
            cpu_us_per_delivery: micros_each(cpu, messages),
            times: series.times(),
        })
    }
}

/// One command given to the group.
pub(crate) struct Call {
    pub(crate) id: CommandId,
    /// Monotonic nanoseconds.
    began: u64,
    took: Duration,
}

impl Call {
    /// Gives a command to the group.
    ///
    /// # Errors
    /// The API's.
    pub(crate) async fn make(server: &Server) -> anyhow::Result<Self> {
        let body = CommandCreate {
            name: COMMAND.parse()?,
            args: Some(RawValue::from_string(args())?),
            ttl_s: None,
        };
        let began = monotonic_ns()?;
        let command = server.api.command_group(ORG, PRODUCT, GROUP, &body);
        let id = command.await.context("the hub refused a command")?.id;
        Ok(Self {
            id,
            began,
            took: since(monotonic_ns()?, began),
        })
    }
}

/// The times of all commands of a series.
#[derive(Default)]
struct Series {
    answered: Vec<Duration>,
    first: Vec<Duration>,
    last: Vec<Duration>,
    acked: Vec<Duration>,
}

impl Series {
    fn add(&mut self, call: &Call, delivered: Span, acked: Duration) {
        self.answered.push(call.took);
        self.first.push(since(delivered.first, call.began));
        self.last.push(since(delivered.last, call.began));
        self.acked.push(acked);
    }

    fn times(self) -> Times {
        Times {
            api_answered_ms: Percentiles::of(self.answered),
            first_delivery_ms: Percentiles::of(self.first),
            last_delivery_ms: Percentiles::of(self.last),
            last_ack_ms: Percentiles::of(self.acked),
        }
    }
}

fn since(at: u64, began: u64) -> Duration {
    Duration::from_nanos(at.saturating_sub(began))
}

/// The share of one core that a process uses over this time.
async fn idle_cpu(gauge: Gauge, time: Duration) -> anyhow::Result<f64> {
    let (begin, began) = (gauge.cpu()?, Instant::now());
    sleep(time).await;
    Ok(gauge.cpu()?.saturating_sub(begin).as_secs_f64() / began.elapsed().as_secs_f64())
}

pub(crate) fn bar(what: &'static str, length: u32) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:22} {bar:40} {pos}/{len} {elapsed}");
    ProgressBar::new(length.into())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}
