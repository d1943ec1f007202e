//! `bus-cost`: what Redis adds to a delivered message: two nodes, each with half of a group's members, the same commands with the bus
//! and without, where nodes find each other's changes by polling alone.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use hub_node::store::postgres::PostgresStore;
use hub_servers::{Postgres, Redis};
use hub_tests::process::built;
use serde::Serialize;
use tokio::time::sleep;

use crate::commands::Call;
use crate::crew::Crew;
use crate::gauge::Gauge;
use crate::limits::{COMMAND_EVERY, SETTLE, WORKERS_MAX};
use crate::orders::Order;
use crate::progress::bar;
use crate::report::micros_each;
use crate::server::{Server, Shared, Site, add_members, cluster_key};

/// What to measure.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct BusCost {
    /// Members of the group, half of them on each node.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..))]
    members: u32,
    /// Group commands with the bus, and as many without.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Processes that play the devices of one node.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    workers: u32,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BusReport {
    members: u32,
    rounds: u32,
    /// CPU of redis-server for each delivered message, microseconds.
    redis_cpu_us: f64,
    /// CPU of both nodes for each delivered message, microseconds, with the bus.
    nodes_cpu_us: f64,
    /// The same without.
    nodes_cpu_us_polling: f64,
    /// From the call until the last member had it, milliseconds, median.
    last_ms: f64,
    /// The same without the bus.
    last_ms_polling: f64,
}

/// One series.
struct Series {
    redis: Duration,
    nodes: Duration,
    last_ms: f64,
}

impl BusCost {
    /// Measures.
    ///
    /// # Errors
    /// What went wrong first. Nothing that was started outlives this.
    pub(crate) async fn run(&self) -> anyhow::Result<BusReport> {
        let (postgres, redis) = tokio::try_join!(Postgres::start(), Redis::start())?;
        let with = self.series(&postgres, &redis, "with_bus", true).await?;
        let without = self.series(&postgres, &redis, "without_bus", false).await?;
        let messages = u64::from(self.members) * u64::from(self.rounds);
        Ok(BusReport {
            members: self.members,
            rounds: self.rounds,
            redis_cpu_us: micros_each(with.redis, messages),
            nodes_cpu_us: micros_each(with.nodes, messages),
            nodes_cpu_us_polling: micros_each(without.nodes, messages),
            last_ms: with.last_ms,
            last_ms_polling: without.last_ms,
        })
    }

    async fn series(
        &self,
        postgres: &Postgres,
        redis: &Redis,
        database: &str,
        bus: bool,
    ) -> anyhow::Result<Series> {
        let dir = tempfile::tempdir()?;
        postgres.create_database(database)?;
        let shared = Shared {
            database_url: postgres.url(database),
            redis_url: if bus { redis.url() } else { String::new() },
            cluster_key: cluster_key(dir.path())?,
        };
        PostgresStore::migrate(&shared.database_url).await?;
        let log = "warn,hub_node::node=info".to_owned();
        let mut site = Site::make(dir.path(), built("hub-node")?, log, Some(&shared)).await?;
        let making = bar("certificates", self.members);
        let mut crew = Crew::start(2 * self.workers, 0..self.members, dir.path(), &making).await?;
        making.finish();
        let nodes = [site.start().await?, site.start().await?];
        site.furnish(&nodes[0].api, self.members).await?;
        let contact = bar("first contact", self.members);
        let hub = nodes[0].hub;
        crew.order(&Order::Visit { hub }, &contact).await?;
        contact.finish();
        add_members(&nodes[0].api, 0..self.members)
            .await
            .context("cannot fill the group")?;
        let arrival = bar("arrival", self.members);
        let hubs = nodes.iter().map(|node| node.hub).collect();
        let resume = false;
        crew.order(&Order::Arrive { hubs, resume }, &arrival)
            .await?;
        arrival.finish();
        sleep(SETTLE).await;
        let series = self
            .commands(&nodes, &mut crew, Gauge::new(redis.pid()?)?)
            .await?;
        crew.dismiss().await?;
        for node in nodes {
            node.stop().await?;
        }
        Ok(series)
    }

    async fn commands(
        &self,
        nodes: &[Server; 2],
        crew: &mut Crew,
        redis: Gauge,
    ) -> anyhow::Result<Series> {
        let rounds = bar("commands", self.rounds);
        let cpu =
            || -> anyhow::Result<Duration> { Ok(nodes[0].gauge.cpu()? + nodes[1].gauge.cpu()?) };
        let (begin_nodes, begin_redis) = (cpu()?, redis.cpu()?);
        let mut took = Vec::new();
        for _ in 0..self.rounds {
            let pause = sleep(COMMAND_EVERY);
            let began = Instant::now();
            let call = Call::make(&nodes[0]).await?;
            crew.delivered(call.id).await?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
            crew.acked(call.id).await?;
            rounds.inc(1);
            pause.await;
        }
        rounds.finish();
        took.sort_by(f64::total_cmp);
        Ok(Series {
            redis: redis.cpu()?.saturating_sub(begin_redis),
            nodes: cpu()?.saturating_sub(begin_nodes),
            last_ms: took.get(took.len() / 2).copied().unwrap_or_default(),
        })
    }
}

impl BusReport {
    /// For people.
    pub(crate) fn table(&self) -> String {
        format!(
            "two nodes, {} members, {} group commands\n\
             redis-server, CPU per delivered message      {:>8.4} us\n\
             both nodes, CPU per delivered message        {:>8.2} us with the bus, {:.2} us without\n\
             Redis adds                                   {:>8.2} % of the nodes' own cost\n\
             call to last member, median                  {:>8.0} ms with the bus, {:.0} ms without",
            self.members,
            self.rounds,
            self.redis_cpu_us,
            self.nodes_cpu_us,
            self.nodes_cpu_us_polling,
            self.redis_cpu_us / self.nodes_cpu_us * 100.0,
            self.last_ms,
            self.last_ms_polling
        )
    }
}
