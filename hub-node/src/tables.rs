//! `hub-node migrate` and `hub-node store`: what is done to a database while no node serves from it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::{Config, ConfigFlags};
use crate::store::copy::{self, CopiedTable, Progress};
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;

/// Brings the tables of a Postgres database up to date. Safe while nodes of this or the previous version run.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hub-node migrate --database-url postgres://hub@db/hub\n  HUB_DATABASE_URL=… hub-node migrate --json"
)]
pub struct MigrateCommand {
    #[command(flatten)]
    flags: ConfigFlags,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Work on whole databases.
#[derive(Debug, Args)]
pub struct StoreCommand {
    #[command(subcommand)]
    command: StoreSubcommand,
}

#[derive(Debug, Subcommand)]
enum StoreSubcommand {
    /// Move a hub of one node from its SQLite file into an empty Postgres database, and prove that all of it arrived.
    #[command(
        after_help = "Stop the node first. Then:\n  hub-node migrate --database-url postgres://hub@db/hub\n  hub-node store copy --from state --to postgres://hub@db/hub\nand start nodes with database_url set. Copy the firmware directory too: see docs/operations.md."
    )]
    Copy(CopyCommand),
    /// Declare a restored database a new history, so that nodes and devices take nothing they remember for granted.
    RenewEpoch(Box<ConfigFlags>),
}

#[derive(Debug, Args)]
struct CopyCommand {
    /// State directory of the hub that moves, or its database file.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The database it moves to, `postgres://…`.
    #[arg(
        long,
        value_name = "URL",
        env = "HUB_DATABASE_URL",
        hide_env_values = true
    )]
    to: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl MigrateCommand {
    /// Runs it.
    ///
    /// # Errors
    /// A configuration without `database_url`, and what the database says.
    pub async fn run(self, output: &mut impl Write) -> anyhow::Result<()> {
        let config = Config::read(&self.flags)?;
        if config.database_url.is_empty() {
            bail!(
                "database_url is not set; the SQLite file of a hub of one node is brought up to date when the node starts"
            );
        }
        let applied = PostgresStore::migrate(&config.database_url)
            .await
            .context("cannot migrate the database")?;
        if self.json {
            writeln!(output, "{}", serde_json::json!({ "applied": applied }))?;
        } else if applied.is_empty() {
            writeln!(output, "the database is up to date")?;
        } else {
            for migration in applied {
                writeln!(output, "applied {migration}")?;
            }
        }
        Ok(())
    }
}

impl StoreCommand {
    /// Runs it.
    ///
    /// # Errors
    /// What cannot be opened, read or written.
    pub async fn run(self, output: &mut impl Write) -> anyhow::Result<()> {
        match self.command {
            StoreSubcommand::Copy(command) => command.run(output).await,
            StoreSubcommand::RenewEpoch(flags) => {
                let config = Config::read(&flags)?;
                let epoch = if config.database_url.is_empty() {
                    SqliteStore::renew_epoch(&config.database()).await?
                } else {
                    PostgresStore::renew_epoch(&config.database_url).await?
                };
                writeln!(output, "the database is history {:016x} now", epoch.0)?;
                Ok(())
            }
        }
    }
}

impl CopyCommand {
    async fn run(self, output: &mut impl Write) -> anyhow::Result<()> {
        let file = if self.from.is_dir() {
            self.from.join("hub.db")
        } else {
            self.from
        };
        if !file.is_file() {
            bail!(
                "{}: no such file; name the state directory of a hub",
                file.display()
            );
        }
        let from = SqliteStore::open(&file)
            .await
            .context("cannot open the hub that moves")?;
        let to = PostgresStore::open(&self.to)
            .await
            .context("cannot open the database it moves to")?;
        let mut bar = Bar(ProgressBar::new(0));
        let copied = copy::copy(&from, &to, &mut bar).await?;
        bar.0.finish_and_clear();
        if self.json {
            serde_json::to_writer(&mut *output, &copied)?;
            writeln!(output)?;
        } else {
            print(&copied, output)?;
        }
        Ok(())
    }
}

fn print(copied: &[CopiedTable], output: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        output,
        "{:<20} {:>10}  digest (the same on both sides)",
        "table", "rows"
    )?;
    for table in copied {
        writeln!(
            output,
            "{:<20} {:>10}  {}",
            table.table, table.rows, table.digest
        )?;
    }
    let rows: u64 = copied.iter().map(|table| table.rows).sum();
    writeln!(output, "{:<20} {rows:>10}", "all")
}

/// A bar per table, on a terminal.
struct Bar(ProgressBar);

impl Progress for Bar {
    fn table(&mut self, name: &'static str, rows: u64) {
        self.0.finish_and_clear();
        self.0 = ProgressBar::new(rows).with_message(name);
        if let Ok(style) = ProgressStyle::with_template("{msg:20} {wide_bar} {pos}/{len} {eta}") {
            self.0.set_style(style);
        }
    }

    fn rows(&mut self, many: u64) {
        self.0.inc(many);
    }
}
