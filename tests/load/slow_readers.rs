//! `slow-readers`: what members that read nothing cost the others, how much of the node they hold, and what becomes of them.

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::Args;
use hub_proto::api::{CommandCreate, ExecutionState};
use hub_proto::id::CommandId;
use hub_tests::wait;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{interval, sleep};

use crate::commands::{acked, acked_ids};
use crate::crew::Crew;
use crate::device;
use crate::fleet::{Fleet, FleetFlags, depart};
use crate::gauge::Gauge;
use crate::limits::{
    BACKLOG_ARGS_BYTES, BACKLOG_COMMANDS, GIVEN_UP_MAX, LOOK_EVERY, ROUND_MAX, SETTLE,
};
use crate::orders::Order;
use crate::progress::bar;
use crate::report::{AckedReport, Percentiles};
use crate::server::{ORG, PRODUCT, Server};

/// What to measure.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct SlowReaders {
    /// How many devices read.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    devices: u32,
    /// How many of a hundred members read nothing, beside them.
    #[arg(long, value_name = "PERCENT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=50))]
    percent: u32,
    /// Group commands in each turn.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Turns without slow readers and with them, alternating.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
    #[command(flatten)]
    fleet: FleetFlags,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SlowReadersReport {
    devices: u32,
    slow: u32,
    rounds: u32,
    turns: u32,
    /// Turns in which all members read.
    without: Vec<Percentiles>,
    /// Turns with slow readers; of the others.
    with: Vec<Percentiles>,
    /// What the node holds for each slow reader before it is given up, more than without them; the most of all turns.
    rss_kib_per_slow: f64,
    /// By which code the hub closed slow readers.
    closed: Vec<(u16, u32)>,
    /// Commands of which a device has still not acknowledged one after it came back and read.
    lost: u32,
    /// Commands that were given while there were slow readers.
    commands: u32,
}

impl SlowReaders {
    /// Measures.
    ///
    /// # Errors
    /// What went wrong first. Nothing that was started outlives this.
    pub(crate) async fn run(&self) -> anyhow::Result<SlowReadersReport> {
        let slow = (self.devices * self.percent / 100).max(1);
        let (mut fleet, mut guests) = Fleet::enrol_with(&self.fleet, self.devices, slow).await?;
        let server = fleet.site.start().await?;
        fleet.arrive(&server, false, "arrival".to_owned()).await?;
        let mut report = SlowReadersReport {
            devices: self.devices,
            slow,
            rounds: self.rounds,
            turns: self.turns,
            without: Vec::new(),
            with: Vec::new(),
            rss_kib_per_slow: 0.0,
            closed: Vec::new(),
            lost: 0,
            commands: 0,
        };
        // What the first commands cost once belongs to neither.
        acked(&server, &mut fleet.crew, 5).await?;
        for _ in 0..self.turns {
            sleep(SETTLE).await;
            let (without, ids) = acked_ids(&server, &mut fleet.crew, self.rounds).await?;
            report.without.push(last(&without));
            // Else the slow readers would be owed these first.
            catch_up(&server, &mut guests, ids).await?;
            self.with_slow(&server, &mut fleet.crew, &mut guests, &mut report)
                .await?;
        }
        fleet.crew.dismiss().await?;
        guests.dismiss().await?;
        server.stop().await?;
        Ok(report)
    }

    async fn with_slow(
        &self,
        server: &Server,
        crew: &mut Crew,
        guests: &mut Crew,
        report: &mut SlowReadersReport,
    ) -> anyhow::Result<()> {
        let mut commands = backlog(server, self.devices, report.slow).await?;
        let before = rss(&server.gauge)?;
        let stall = bar("slow readers", report.slow);
        guests
            .order(&Order::Stall { hub: server.hub }, &stall)
            .await?;
        stall.finish();
        let given_up = async {
            let most = given_up(server, self.devices).await?;
            // At once, while the hub still holds the connections to say by which code it ends them.
            depart(guests, "slow readers read".to_owned()).await?;
            Ok(most)
        };
        let rounds = acked_ids(server, crew, self.rounds);
        let ((with, ids), most) = tokio::try_join!(rounds, given_up)?;
        report.with.push(last(&with));
        let grown = (most - before).max(0.0) / f64::from(report.slow);
        report.rss_kib_per_slow = report.rss_kib_per_slow.max(grown);
        for code in guests.closed.drain(..) {
            match report.closed.iter_mut().find(|(known, _)| *known == code) {
                Some((_, many)) => *many += 1,
                None => report.closed.push((code, 1)),
            }
        }
        commands.extend(ids);
        report.commands += u32::try_from(commands.len())?;
        report.lost += catch_up(server, guests, commands).await?;
        Ok(())
    }
}

fn last(report: &AckedReport) -> Percentiles {
    report.times.last_delivery_ms
}

fn rss(gauge: &Gauge) -> anyhow::Result<f64> {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(gauge.memory()?.rss_kib as f64)
}

/// Commands that wait for each slow reader, as large as it takes to fill what kernel and outbox hold for it.
async fn backlog(server: &Server, first: u32, slow: u32) -> anyhow::Result<Vec<CommandId>> {
    let bar = bar("backlog", slow);
    let args = format!("{{\"text\":\"{}\"}}", "x".repeat(BACKLOG_ARGS_BYTES));
    let mut ids = Vec::new();
    for number in first..first + slow {
        for _ in 0..BACKLOG_COMMANDS {
            let body = CommandCreate {
                name: "logs".parse()?,
                args: Some(RawValue::from_string(args.clone())?),
                ttl_s: None,
            };
            let name = device::name(number);
            let command = server.api.command_device(ORG, PRODUCT, &name, &body);
            ids.push(command.await?.id);
        }
        bar.inc(1);
    }
    bar.finish();
    Ok(ids)
}

/// Waits until only those that read are connected; the most memory the node had meanwhile, KiB.
async fn given_up(server: &Server, readers: u32) -> anyhow::Result<f64> {
    let mut most = 0.0_f64;
    // Listing connections is work for the node that must not be taken for the slow readers'.
    let mut looks = interval(LOOK_EVERY);
    let alone = async || {
        looks.tick().await;
        most = most.max(rss(&server.gauge).ok()?);
        let connected = server.connected().await.ok()?;
        (connected <= u64::from(readers)).then_some(())
    };
    let waited = wait::until("slow readers are given up", GIVEN_UP_MAX, alone).await;
    waited.context("a slow reader is still connected")?;
    Ok(most)
}

/// Has the slow readers come, read and acknowledge what they missed, and leave; of how many commands they did not get to the end.
async fn catch_up(
    server: &Server,
    guests: &mut Crew,
    commands: Vec<CommandId>,
) -> anyhow::Result<u32> {
    let hubs = vec![server.hub];
    let order = Order::Arrive {
        hubs,
        resume: false,
    };
    let bar = bar("slow readers catch up", guests.devices);
    guests.order(&order, &bar).await?;
    bar.finish();
    let lost = unfinished(server, commands).await?;
    depart(guests, "departure".to_owned()).await?;
    Ok(lost)
}

/// How many commands some device has not acknowledged, after it had time to.
async fn unfinished(server: &Server, commands: Vec<CommandId>) -> anyhow::Result<u32> {
    let mut lost = 0;
    for id in commands {
        let done = async || {
            let command = server.api.command(ORG, id).await.ok()?;
            let had = |state| !matches!(state, ExecutionState::Queued | ExecutionState::Sent);
            command
                .counts
                .iter()
                .all(|count| had(count.state))
                .then_some(())
        };
        lost += u32::from(
            wait::until("a command is done", ROUND_MAX, done)
                .await
                .is_err(),
        );
    }
    Ok(lost)
}

impl SlowReadersReport {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut table = format!(
            "{} devices that read, {} that do not; {} group commands in each of {} turns of both kinds\n\n{:<46}{:>10}{:>10}\n",
            self.devices,
            self.slow,
            self.rounds,
            self.turns,
            "last delivery to those that read, ms",
            "p50",
            "p99"
        );
        let mut row = |what: &str, turns: &[Percentiles]| {
            let (p50, p99) = (mean(turns, |turn| turn.p50), mean(turns, |turn| turn.p99));
            // Writing into a String cannot fail.
            let _ = writeln!(table, "{what:<46}{p50:>10.1}{p99:>10.1}");
            (p50, p99)
        };
        let (p50, p99) = row("all members read", &self.without);
        let (slow_p50, slow_p99) = row("some do not", &self.with);
        let _ = writeln!(
            table,
            "{:<46}{:>10.2}{:>10.2}",
            "ratio",
            slow_p50 / p50,
            slow_p99 / p99
        );
        let _ = writeln!(
            table,
            "\nRSS for each slow reader, KiB, at most          {:.0}\nslow readers closed, by code                   {:?}\ncommands given meanwhile                       {}\nof these not acknowledged by all in the end    {}",
            self.rss_kib_per_slow, self.closed, self.commands, self.lost
        );
        table.push_str(
            "\nSlow readers join, read nothing and beat several times a second; commands of their own wait for them. Later they read on,\nconnect again, and acknowledge what they missed.",
        );
        table
    }
}

fn mean(turns: &[Percentiles], of: fn(&Percentiles) -> f64) -> f64 {
    let sum: f64 = turns.iter().map(of).sum();
    #[expect(clippy::cast_precision_loss, reason = "a few turns")]
    let many = turns.len().max(1) as f64;
    sum / many
}
