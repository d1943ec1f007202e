//! `compare`: the same load on the hub and on servers that a user would pick instead, in turns, so that a busy machine is busy for all.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use hub_node::store::postgres::PostgresStore;
use hub_servers::{Postgres, Redis};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::commands::{held, since};
use crate::crew::Crew;
use crate::fleet::{self, Fleet, FleetFlags, depart};
use crate::gauge::{Gauge, Memory};
use crate::limits::{COMMAND_EVERY, SETTLE};
use crate::orders::Order;
use crate::peer::{Peer, Running};
use crate::progress::bar;
use crate::report::{Percentiles, micros_each};
use crate::server::{Server, Shared, cluster_key};
use report::{CompareReport, Figures, Row};

mod report;

/// What to compare.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct Compare {
    /// How many devices connect.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    devices: u32,
    /// Messages to all devices in each turn.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// How often each server has its turn; medians of the turns are shown.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
    /// What to compare the hub with.
    #[arg(
        long,
        value_name = "NAMES",
        value_enum,
        value_delimiter = ',',
        default_value = "floor,nchan,nats"
    )]
    peers: Vec<Peer>,
    /// Two nodes on Postgres and Redis instead of one on SQLite, with half of the devices on each.
    #[arg(long)]
    cluster: bool,
    #[command(flatten)]
    fleet: FleetFlags,
}

/// What two nodes share. Ends with this.
struct Backing {
    shared: Shared,
    _servers: (Postgres, Redis),
    _secrets: TempDir,
}

impl Backing {
    async fn start() -> anyhow::Result<Self> {
        let (postgres, redis) = tokio::try_join!(Postgres::start(), Redis::start())?;
        postgres.create_database("compare")?;
        let secrets = TempDir::new()?;
        let shared = Shared {
            database_url: postgres.url("compare"),
            redis_url: redis.url(),
            cluster_key: cluster_key(secrets.path())?,
        };
        PostgresStore::migrate(&shared.database_url).await?;
        Ok(Self {
            shared,
            _servers: (postgres, redis),
            _secrets: secrets,
        })
    }
}

impl Compare {
    /// Measures.
    ///
    /// # Errors
    /// What went wrong first. Nothing that was started outlives this.
    pub(crate) async fn run(&self) -> anyhow::Result<CompareReport> {
        for peer in &self.peers {
            peer.check()?;
        }
        let backing = if self.cluster {
            Some(Backing::start().await?)
        } else {
            None
        };
        let shared = backing.as_ref().map(|backing| &backing.shared);
        let mut fleet = Fleet::enrol(&self.fleet, self.devices, shared).await?;
        let mut hub = Vec::new();
        let mut others: Vec<(Peer, Vec<Figures>)> =
            self.peers.iter().map(|peer| (*peer, Vec::new())).collect();
        for turn in 1..=self.turns {
            let stage = |who: &str| format!("{turn}/{} {who}", self.turns);
            let figures = self.hub_turn(&mut fleet, &stage("hub")).await;
            hub.push(figures.context("the hub's turn")?);
            for (peer, turns) in &mut others {
                let name = peer.name();
                let figures = self.peer_turn(*peer, &mut fleet, &stage(name)).await;
                turns.push(figures.with_context(|| format!("the turn of {name}"))?);
            }
        }
        let about = if self.cluster {
            report::ABOUT_HUBS
        } else {
            report::ABOUT_HUB
        };
        let repeats = fleet.crew.repeats;
        fleet.crew.dismiss().await?;
        let others = others
            .into_iter()
            .map(|(peer, turns)| Row::of(peer.name(), peer.about(), turns));
        Ok(CompareReport {
            devices: self.devices,
            rounds: self.rounds,
            turns: self.turns,
            workers: self.fleet.workers,
            node_log: self.fleet.node_log.clone(),
            hub: Row::of("hub", about, hub),
            others: others.collect(),
            repeats,
        })
    }

    /// The hub's: devices are known, its nodes are fresh, acknowledgements are kept until the last device has a command.
    async fn hub_turn(&self, fleet: &mut Fleet, stage: &str) -> anyhow::Result<Figures> {
        let mut nodes = vec![fleet.site.start().await?];
        if self.cluster {
            nodes.push(fleet.site.start().await?);
        }
        let gauge = Gauge::of(nodes.iter().map(Server::pid))?;
        sleep(SETTLE).await;
        let before = gauge.memory()?;
        let hubs = nodes.iter().map(|node| node.hub).collect();
        let order = Order::Arrive {
            hubs,
            resume: false,
        };
        let crew = &mut fleet.crew;
        let what = format!("{stage}: arrival");
        let arrival = fleet::arrive(crew, &order, &gauge, what).await?;
        sleep(SETTLE).await;
        let idle = gauge.memory()?;
        let what = format!("{stage}: messages");
        let first = nodes.first().context("no node")?;
        let held = held(first, &gauge, crew, self.rounds, what).await?;
        depart(crew, format!("{stage}: departure")).await?;
        for node in nodes {
            node.stop().await?;
        }
        Ok(Figures {
            set_up_cpu_us: arrival.cpu_us,
            delivery_cpu_us: held.cpu_us_per_delivery,
            published_ms_p50: held.times.api_answered_ms.p50,
            last_ms_p50: held.times.last_delivery_ms.p50,
            last_ms_p99: held.times.last_delivery_ms.p99,
            ..self.memory(before, idle)
        })
    }

    async fn peer_turn(
        &self,
        peer: Peer,
        fleet: &mut Fleet,
        stage: &str,
    ) -> anyhow::Result<Figures> {
        let mut running = Running::start(peer, fleet.dir(), self.devices).await?;
        let crew = &mut fleet.crew;
        sleep(SETTLE).await;
        let before = running.gauge.memory()?;
        let order = Order::Listen {
            server: running.server,
            speech: running.speech,
        };
        let what = format!("{stage}: arrival");
        let arrival = fleet::arrive(crew, &order, &running.gauge, what).await?;
        sleep(SETTLE).await;
        let idle = running.gauge.memory()?;
        let messages = self.messages(&mut running, crew, stage).await?;
        depart(crew, format!("{stage}: departure")).await?;
        running.stop().await?;
        Ok(Figures {
            set_up_cpu_us: arrival.cpu_us,
            ..messages
        }
        .with_memory(self.memory(before, idle)))
    }

    async fn messages(
        &self,
        running: &mut Running,
        crew: &mut Crew,
        stage: &str,
    ) -> anyhow::Result<Figures> {
        let bar = bar(format!("{stage}: messages"), self.rounds);
        let mut cpu = Duration::ZERO;
        let (mut published, mut last) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let pause = sleep(COMMAND_EVERY);
            let begin = running.gauge.cpu()?;
            let call = running.publish().await?;
            let delivered = crew.delivered(call.id).await?;
            cpu += running.gauge.cpu()?.saturating_sub(begin);
            published.push(call.took);
            last.push(since(delivered.last, call.began));
            bar.inc(1);
            pause.await;
        }
        bar.finish();
        let (published, last) = (Percentiles::of(published), Percentiles::of(last));
        let messages = u64::from(self.devices) * u64::from(self.rounds);
        Ok(Figures {
            delivery_cpu_us: micros_each(cpu, messages),
            published_ms_p50: published.p50,
            last_ms_p50: last.p50,
            last_ms_p99: last.p99,
            ..Figures::default()
        })
    }

    fn memory(&self, before: Memory, idle: Memory) -> Figures {
        let each = |now: u64, start: u64| {
            #[expect(clippy::cast_precision_loss, reason = "kibibytes are far below 2^52")]
            let (now, start) = (now as f64, start as f64);
            (now - start) / f64::from(self.devices)
        };
        Figures {
            rss_kib: each(idle.rss_kib, before.rss_kib),
            pss_kib: each(idle.pss_kib, before.pss_kib),
            ..Figures::default()
        }
    }
}
