//! `joins`: how many known devices a node takes back in a second, on SQLite and on Postgres.

use std::fmt::Write as _;

use clap::Args;
use hub_node::store::postgres::PostgresStore;
use hub_servers::Postgres;
use serde::Serialize;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::fleet::{Arrival, Fleet, FleetFlags, depart};
use crate::limits::SETTLE;
use crate::server::{Shared, cluster_key};

/// What to measure.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct Joins {
    /// How many devices connect.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    devices: u32,
    /// How often all of them come back; medians are shown.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    #[command(flatten)]
    fleet: FleetFlags,
}

/// Both databases.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct JoinsReport {
    devices: u32,
    rounds: u32,
    workers: u32,
    sqlite: Returns,
    postgres: Returns,
}

/// A figure's name with its unit, and where it stands.
type Figure = (&'static str, fn(&Returns) -> f64);

/// Warm reconnects on one database: the device is known, its firmware is, and it resumes its TLS session.
#[derive(Clone, Debug, Serialize)]
struct Returns {
    /// Devices that were connected and had joined both channels, in a second; median.
    per_second: f64,
    /// CPU of the node for each, without the database's own processes, microseconds; median.
    cpu_us: f64,
    /// The first arrival at a fresh node, with full handshakes.
    first_per_second: f64,
    first_cpu_us: f64,
    /// Devices that did resume, in all rounds.
    resumed: u32,
}

impl Joins {
    /// Measures.
    ///
    /// # Errors
    /// What went wrong first. Nothing that was started outlives this.
    pub(crate) async fn run(&self) -> anyhow::Result<JoinsReport> {
        let sqlite = self.returns(None, "SQLite").await?;
        let server = Postgres::start().await?;
        server.create_database("joins")?;
        let secrets = TempDir::new()?;
        let shared = Shared {
            database_url: server.url("joins"),
            redis_url: String::new(),
            cluster_key: cluster_key(secrets.path())?,
        };
        PostgresStore::migrate(&shared.database_url).await?;
        let postgres = self.returns(Some(&shared), "Postgres").await?;
        Ok(JoinsReport {
            devices: self.devices,
            rounds: self.rounds,
            workers: self.fleet.workers,
            sqlite,
            postgres,
        })
    }

    async fn returns(&self, shared: Option<&Shared>, who: &str) -> anyhow::Result<Returns> {
        let mut fleet = Fleet::enrol(&self.fleet, self.devices, shared).await?;
        let server = fleet.site.start().await?;
        sleep(SETTLE).await;
        let first = fleet
            .arrive(&server, true, format!("{who}: arrival"))
            .await?;
        let mut returns = Vec::new();
        for round in 1..=self.rounds {
            depart(&mut fleet.crew, format!("{who}: departure")).await?;
            // What the departures cost must not be counted with the returns.
            sleep(SETTLE).await;
            let what = format!("{who}: return {round}");
            returns.push(fleet.arrive(&server, true, what).await?);
        }
        fleet.crew.dismiss().await?;
        server.stop().await?;
        let median = |of: fn(&Arrival) -> f64| {
            let mut all: Vec<f64> = returns.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        Ok(Returns {
            per_second: median(|arrival| arrival.per_second),
            cpu_us: median(|arrival| arrival.cpu_us),
            first_per_second: first.per_second,
            first_cpu_us: first.cpu_us,
            resumed: returns.iter().map(|arrival| arrival.resumed).sum(),
        })
    }
}

impl JoinsReport {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut table = format!(
            "{} known devices come back {} times; medians. Played by {} processes on the same machine\n\n{:<58}{:>10}{:>10}\n",
            self.devices, self.rounds, self.workers, "", "SQLite", "Postgres"
        );
        let rows: [Figure; 5] = [
            ("returns per second, each with two joins", |of| {
                of.per_second
            }),
            ("CPU of the node per return, us", |of| of.cpu_us),
            ("first arrivals per second, full handshake", |of| {
                of.first_per_second
            }),
            ("CPU of the node per first arrival, us", |of| {
                of.first_cpu_us
            }),
            ("returns that resumed their TLS session", |of| {
                f64::from(of.resumed)
            }),
        ];
        for (what, of) in rows {
            // Writing into a String cannot fail.
            let _ = writeln!(
                table,
                "{what:<58}{:>10.0}{:>10.0}",
                of(&self.sqlite),
                of(&self.postgres)
            );
        }
        table.push_str(
            "\nA return: TCP, resumed mutual TLS 1.3, upgrade, join of the device channel (committed before its answer), join of the\n\
             group channel. Devices, node and database share the cores, so the rate is a lower bound; SQLite runs inside the node.",
        );
        table
    }
}
