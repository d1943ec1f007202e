//! `hub-cluster`: a whole cluster on this machine, to be played with. Starts Postgres, Redis, HAProxy, three nodes and a hundred
//! devices, shows where each device is, and takes orders: kill a node and see what happens.

mod orders;
mod screen;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use hub_cli::PageOf;
use hub_proto::api::{CommandCreate, ExecutionState};
use hub_tests::cluster::{Cluster, Launcher, Plan};
use hub_tests::reference::Reference;
use hub_tests::tenant::{self, ORG, PRODUCT};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

use orders::Order;
use screen::Screen;

/// The group that all devices are in.
const GROUP: &str = "fleet";
/// How often the table is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(500);
/// How long the answer to a command is waited for.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// A whole cluster on this machine: Postgres, Redis, HAProxy, three nodes, a hundred devices, and a prompt.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  cargo run --release -p hub-tests --bin hub-cluster\n\nOn Debian, as root, once: apt-get install redis-server haproxy postgresql"
)]
struct Flags {
    /// Devices.
    #[arg(long, default_value_t = 100)]
    devices: usize,
    /// End after so many seconds, for scripts.
    #[arg(long, value_name = "S")]
    end_after: Option<u64>,
}

fn main() -> anyhow::Result<ExitCode> {
    // A node is this program again, so that one command builds and runs everything.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == "node")
    {
        return Ok(hub_node::cli::main_from(std::env::args_os().skip(1)));
    }
    let flags = Flags::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(play(flags))?;
    Ok(ExitCode::SUCCESS)
}

async fn play(flags: Flags) -> anyhow::Result<()> {
    let plan = Plan {
        balanced: true,
        drain_window_s: 10,
        lb_grace_s: 3,
        program: Some(Launcher {
            program: std::env::current_exe()?,
            args: vec!["node".to_owned()],
        }),
        ..Plan::default()
    };
    let mut cluster = Cluster::start(plan)
        .await
        .context("cannot start the cluster")?;
    let fleet = fleet(&cluster, flags.devices.max(1)).await?;
    let mut screen = Screen::start(cluster.nodes.len())?;
    screen.say(&format!(
        "{} devices connect to {} | logs in {} | help shows what you can do",
        fleet.len(),
        cluster.front(0),
        cluster.dir.path().display()
    ))?;
    let mut lines = typed_lines();
    let mut typed = true;
    let end = flags
        .end_after
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut ticks = tokio::time::interval(DRAWN_EVERY);
    loop {
        let line = tokio::select! {
            _ = ticks.tick() => {
                screen.table(&cluster, &fleet).await?;
                if end.is_some_and(|end| end <= Instant::now()) {
                    return screen.end();
                }
                continue;
            }
            line = lines.recv(), if typed => line,
            _ = tokio::signal::ctrl_c() => return screen.end(),
        };
        let Some(line) = line else {
            // no prompt, as in a script without an end: the table goes on
            typed = false;
            if end.is_none() {
                return screen.end();
            }
            continue;
        };
        match Order::parse(&line) {
            Ok(Order::Quit) => return screen.end(),
            Ok(Order::Nothing) => {}
            Ok(Order::Command(name)) => {
                let answer = command(&cluster, &name, fleet.len()).await;
                screen.say(&answer.unwrap_or_else(|error| format!("{error:#}")))?;
            }
            Ok(order) => match order.carry_out(&mut cluster).await {
                Ok(done) => screen.say(&done)?,
                Err(error) => screen.say(&format!("{error:#}"))?,
            },
            Err(help) => screen.say(&help)?,
        }
        screen.prompt()?;
    }
}

/// What is typed, line by line, until the end of input.
fn typed_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Reference devices behind the load balancer, all in one group.
async fn fleet(cluster: &Cluster, devices: usize) -> anyhow::Result<Vec<Reference>> {
    let bar = ProgressBar::new(devices as u64).with_message("devices");
    bar.set_style(ProgressStyle::with_template(
        "{msg} {wide_bar} {pos}/{len}",
    )?);
    let mut fleet = Vec::new();
    let names: Vec<String> = (1..=devices)
        .map(|number| format!("device-{number}"))
        .collect();
    for name in &names {
        fleet.push(cluster.reference(name, 0).await?.start()?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let members: Vec<&str> = names.iter().map(String::as_str).collect();
    tenant::group(&cluster.nodes[0].api, GROUP, 0, &members).await?;
    Ok(fleet)
}

/// Gives a command to all devices through the first node that takes it, and waits for what they say.
async fn command(cluster: &Cluster, name: &str, devices: usize) -> anyhow::Result<String> {
    let body = CommandCreate {
        name: name.parse().context("a command's name is one plain word")?,
        args: None,
        ttl_s: None,
    };
    let began = Instant::now();
    let mut given = None;
    for node in cluster.nodes.iter().filter(|node| node.runs()) {
        if let Ok(command) = node.api.command_group(ORG, PRODUCT, GROUP, &body).await {
            given = Some((node, command));
            break;
        }
    }
    let (node, command) = given.context("no node takes commands now; try again")?;
    let mut ended = 0;
    while began.elapsed() < ANSWERED_WITHIN {
        let page = PageOf {
            limit: Some(1000),
            ..PageOf::default()
        };
        if let Ok(executions) = node.api.executions(ORG, command.id, &page).await {
            let under_way = |state| {
                matches!(
                    state,
                    ExecutionState::Queued | ExecutionState::Sent | ExecutionState::Delivered
                )
            };
            let over = executions.items.iter().filter(|one| !under_way(one.state));
            ended = over.count();
        }
        if ended >= devices {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(format!(
        "{name}, given to {}: {ended} of {devices} devices answered within {:.2?}",
        node.name,
        began.elapsed()
    ))
}
