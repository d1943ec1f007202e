//! A node's site and the devices that belong to it: registered, members of one group, and ready to arrive again and again.
//!
//! Devices are registered in a first start of the node and measured in later ones, because memory that was freed
//! after the registration would hide memory that is needed later.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use hub_tests::process::built;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::crew::Crew;
use crate::gauge::Gauge;
use crate::limits::{FILES_KEPT, WORKERS_MAX};
use crate::orders::Order;
use crate::progress::bar;
use crate::report::micros_each;
use crate::server::{Server, Shared, Site, add_members};

/// How the node runs and who plays its devices.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct FleetFlags {
    /// Processes that play the devices.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    pub(crate) workers: u32,
    /// Log filter of the node; what it ships with by default. It must let `ready` through.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub(crate) node_log: String,
    /// The node's program, if it is not the one beside this one.
    #[arg(long, value_name = "FILE")]
    node: Option<PathBuf>,
}

/// Registered devices and the node they belong to.
pub(crate) struct Fleet {
    pub(crate) site: Site,
    pub(crate) crew: Crew,
    /// CPU of the node for each first contact, microseconds.
    pub(crate) first_contact_cpu_us: f64,
    dir: TempDir,
}

/// What an arrival of all devices cost the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// For each device, microseconds.
    pub(crate) cpu_us: f64,
    /// Devices in a second.
    pub(crate) per_second: f64,
    /// Devices that resumed a TLS session.
    pub(crate) resumed: u32,
}

impl Fleet {
    /// Makes devices, registers them by first contact and fills the group. No node runs afterwards. Without
    /// anything `shared`, the database is SQLite.
    ///
    /// # Errors
    /// What went wrong first.
    pub(crate) async fn enrol(
        flags: &FleetFlags,
        devices: u32,
        shared: Option<&Shared>,
    ) -> anyhow::Result<Self> {
        Ok(Self::enrol_all(flags, devices, 0, shared).await?.0)
    }

    /// The same with guests beside the devices, who are registered and members as well and have a crew of their own.
    ///
    /// # Errors
    /// As [`Fleet::enrol`].
    pub(crate) async fn enrol_with(
        flags: &FleetFlags,
        devices: u32,
        guests: u32,
    ) -> anyhow::Result<(Self, Crew)> {
        let (fleet, crew) = Self::enrol_all(flags, devices, guests, None).await?;
        Ok((fleet, crew.context("there are no guests")?))
    }

    async fn enrol_all(
        flags: &FleetFlags,
        devices: u32,
        guests: u32,
        shared: Option<&Shared>,
    ) -> anyhow::Result<(Self, Option<Crew>)> {
        check(devices + guests, flags.workers)?;
        let dir = tempfile::tempdir()?;
        let program = match &flags.node {
            Some(program) => program.clone(),
            None => built("hub-node")?,
        };
        let site = Site::make(dir.path(), program, flags.node_log.clone(), shared).await?;
        let certificates = bar("certificates", devices + guests);
        let crew = Crew::start(flags.workers, 0..devices, dir.path(), &certificates).await?;
        let numbers = devices..devices + guests;
        let mut crew_of_guests = if guests == 0 {
            None
        } else {
            Some(Crew::start(1, numbers, dir.path(), &certificates).await?)
        };
        certificates.finish();
        let mut fleet = Self {
            site,
            crew,
            first_contact_cpu_us: 0.0,
            dir,
        };
        fleet.register(crew_of_guests.as_mut()).await?;
        Ok((fleet, crew_of_guests))
    }

    /// Where certificates and keys are.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// First contact of all devices; afterwards they are members of the group and the node is stopped.
    async fn register(&mut self, guests: Option<&mut Crew>) -> anyhow::Result<()> {
        let devices = self.crew.devices;
        let all = devices + guests.as_ref().map_or(0, |guests| guests.devices);
        let server = self.site.start().await?;
        self.site
            .furnish(&server.api, all)
            .await
            .context("cannot furnish the hub")?;
        let bar = bar("first contact", all);
        let begin = server.gauge.cpu()?;
        let order = Order::Visit { hub: server.hub };
        self.crew.order(&order, &bar).await?;
        let cpu = server.gauge.cpu()?.saturating_sub(begin);
        if let Some(guests) = guests {
            guests.order(&order, &bar).await?;
        }
        bar.finish();
        add_members(&server.api, 0..all)
            .await
            .context("cannot fill the group")?;
        server.stop().await?;
        self.first_contact_cpu_us = micros_each(cpu, devices.into());
        Ok(())
    }

    /// All devices come to a node and join their channels.
    ///
    /// # Errors
    /// What the workers report.
    pub(crate) async fn arrive(
        &mut self,
        server: &Server,
        resume: bool,
        what: String,
    ) -> anyhow::Result<Arrival> {
        let hubs = vec![server.hub];
        let order = Order::Arrive { hubs, resume };
        arrive(&mut self.crew, &order, &server.gauge, what).await
    }
}

/// Has all devices carry out an order that brings them to a server, and reads what it costs that.
///
/// # Errors
/// What the workers report.
pub(crate) async fn arrive(
    crew: &mut Crew,
    order: &Order,
    gauge: &Gauge,
    what: String,
) -> anyhow::Result<Arrival> {
    let bar = bar(what, crew.devices);
    let (begin, began) = (gauge.cpu()?, Instant::now());
    crew.order(order, &bar).await?;
    let cpu = gauge.cpu()?.saturating_sub(begin);
    bar.finish();
    Ok(Arrival {
        cpu_us: micros_each(cpu, crew.devices.into()),
        per_second: f64::from(crew.devices) / began.elapsed().as_secs_f64(),
        resumed: crew.resumed,
    })
}

/// All devices close their connections.
///
/// # Errors
/// What the workers report.
pub(crate) async fn depart(crew: &mut Crew, what: String) -> anyhow::Result<()> {
    let bar = bar(what, crew.devices);
    crew.order(&Order::Depart, &bar).await?;
    bar.finish();
    Ok(())
}

/// The share of one core that a server uses over this time.
///
/// # Errors
/// When it is gone.
pub(crate) async fn idle_cpu(gauge: &Gauge, time: Duration) -> anyhow::Result<f64> {
    let (begin, began) = (gauge.cpu()?, Instant::now());
    sleep(time).await;
    Ok(gauge.cpu()?.saturating_sub(begin).as_secs_f64() / began.elapsed().as_secs_f64())
}

/// The same, with a bar that shows how long it still takes; it also gives the seconds.
///
/// # Errors
/// When the server is gone.
pub(crate) async fn watch(gauge: &Gauge, seconds: u32) -> anyhow::Result<(f64, f64)> {
    let bar = bar("idle", seconds);
    let (begin, began) = (gauge.cpu()?, Instant::now());
    for _ in 0..seconds {
        sleep(Duration::from_secs(1)).await;
        bar.inc(1);
    }
    let cpu = gauge.cpu()?.saturating_sub(begin).as_secs_f64();
    let seconds = began.elapsed().as_secs_f64();
    bar.finish();
    Ok((cpu / seconds, seconds))
}

/// Whether so many sockets fit into the server's process and into each worker's.
fn check(devices: u32, workers: u32) -> anyhow::Result<()> {
    let (_, files) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // What we may raise without asking; servers and workers inherit it.
    setrlimit(Resource::RLIMIT_NOFILE, files, files)?;
    let sockets = files.saturating_sub(FILES_KEPT);
    if u64::from(devices) > sockets {
        bail!(
            "{devices} devices need as many open files in the node, which may have {files}: take --devices {sockets} at most, or raise `ulimit -n`"
        );
    }
    if workers > devices {
        bail!("{workers} workers for {devices} devices");
    }
    Ok(())
}
