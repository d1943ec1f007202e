//! `hub-node demo`: a whole hub in one process, on nothing but itself.
//!
//! It does what an operator and four devices would do, through the public API and over real sockets: devices enrol on first use, a
//! group is updated, a device joins the group while connected, a command goes to all. There is no other path to any of it.

mod fleet;
mod screen;
mod stage;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use hub_proto::api::{CommandCreate, ExecutionState, MembersAdd, TargetSet};
use tokio::signal::unix::{SignalKind, signal};

use fleet::Fleet;
use screen::Screen;
use stage::{GROUP, ORG, PRODUCT, Stage};

/// Everything the demo waits for must happen within this time.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the API is asked what the devices do.
const LOOK: Duration = Duration::from_millis(150);
/// Bytes of a demo firmware by default: large enough to watch.
const FIRMWARE_MIB: u16 = 24;

/// Flags of `hub-node demo`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  hub-node demo                     look, then try the commands it prints; Ctrl-C ends it\n  hub-node demo --exit              end when everything has been shown\n  hub-node demo --dir ./my-demo     keep the state; the directory must be empty or missing"
)]
pub struct DemoFlags {
    /// End when everything has been shown, instead of staying up.
    #[arg(long)]
    exit: bool,
    /// Keep all state in this directory instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// MiB of each of the two firmware versions.
    #[arg(long, value_name = "MIB", default_value_t = FIRMWARE_MIB, value_parser = clap::value_parser!(u16).range(1..=512))]
    firmware_mib: u16,
    /// Show the log of the hub and its devices too, filtered like this (for example `info`).
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// Runs the demo to its end.
///
/// # Errors
/// Whatever does not work; nothing of the demo is left running.
pub async fn run(flags: DemoFlags) -> anyhow::Result<()> {
    if let Some(filter) = &flags.log {
        let filter =
            tracing_subscriber::EnvFilter::try_new(filter).context("--log: no log filter")?;
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .init();
    }
    let screen = Screen::new();
    let stage = Stage::set(
        flags.dir.as_deref(),
        usize::from(flags.firmware_mib),
        &screen,
    )
    .await?;
    let mut fleet = Fleet::new(&stage);
    let shown = show(&stage, &mut fleet, &screen).await;
    if shown.is_ok() && !flags.exit {
        invite(&stage, &screen);
        wait_for_the_end().await?;
    }
    screen.say("stopping…");
    fleet.stop().await;
    stage.strike().await;
    shown
}

async fn show(stage: &Stage, fleet: &mut Fleet, screen: &Screen) -> anyhow::Result<()> {
    let api = &stage.api;
    screen.step("Three devices connect. Their authority is registered, so the hub enrols them on first use.");
    for name in ["sensor-1", "sensor-2", "sensor-3"] {
        fleet.start(stage, name).await?;
    }
    fleet.until_online(stage, screen).await?;

    screen
        .step("They become members of the group \"field\", and the group's target becomes 2.0.0.");
    let devices = fleet
        .names()
        .iter()
        .map(|name| name.parse())
        .collect::<Result<_, _>>()?;
    api.add_members(ORG, PRODUCT, GROUP, &MembersAdd { devices })
        .await?;
    let target = TargetSet {
        allow_downgrade: false,
        firmware: Some(stage.newer.parse()?),
    };
    api.target_group(ORG, PRODUCT, GROUP, &target).await?;
    fleet.until_on(stage, &stage.newer, screen).await?;

    screen.step("A fourth device connects, and is added to the group while it is connected.");
    fleet.start(stage, "sensor-4").await?;
    fleet.until_online(stage, screen).await?;
    api.add_member(ORG, PRODUCT, GROUP, "sensor-4").await?;
    fleet.until_on(stage, &stage.newer, screen).await?;

    screen.step("The command \"reboot\" goes to the group.");
    let body = CommandCreate {
        name: "reboot".parse()?,
        args: None,
        ttl_s: None,
    };
    let command = api.command_group(ORG, PRODUCT, GROUP, &body).await?;
    let all = fleet.names().len() as u64;
    let bar = screen.bar("acknowledged", all);
    wait("every device to answer the command", async || {
        let counts = api.command(ORG, command.id).await?.counts;
        let of = |states: &[ExecutionState]| {
            counts
                .iter()
                .filter(|c| states.contains(&c.state))
                .map(|c| c.devices)
                .sum::<u64>()
        };
        let done = of(&[ExecutionState::Succeeded]);
        bar.set_position(done + of(&[ExecutionState::Delivered]));
        bar.set_message(format!("{done} done"));
        Ok(done == all)
    })
    .await?;
    bar.finish_and_clear();
    screen.say(&format!("  {all} of {all} acknowledged it and did it"));
    fleet.until_online(stage, screen).await?;
    screen.say("All of them rebooted once and are back.");
    Ok(())
}

/// What to try while the hub stays up.
fn invite(stage: &Stage, screen: &Screen) {
    let url = format!("http://{}", stage.node.api_addr());
    let (org, product, group) = (ORG, PRODUCT, GROUP);
    let at = format!("{url}/api/v1/orgs/{org}/products/{product}");
    let auth = "-H \"authorization: Bearer $HUB_TOKEN\"";
    screen.step("The hub stays up. Ctrl-C ends it.");
    screen.say(&format!(
        "API    {url}/api/v1   (described at {url}/api/v1/openapi.json)\n\
         token  {token}\n\n\
         Try, in another terminal:\n\n\
         export HUB_URL={url} HUB_TOKEN={token}\n\
         curl -s {auth} {at}/devices\n\
         curl -s {auth} {at}/groups/{group}/commands -d '{{\"name\":\"identify\"}}' -H 'content-type: application/json'\n\
         curl -s {auth} {at}/groups/{group}/target -X PUT -d '{{\"firmware\":\"{older}\",\"allow_downgrade\":true}}' -H 'content-type: application/json'\n",
        token = stage.token,
        older = stage.older,
    ));
}

async fn wait_for_the_end() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}

/// Asks until the answer is yes.
async fn wait(
    what: &str,
    mut ask: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let asking = async {
        while !ask().await? {
            tokio::time::sleep(LOOK).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .with_context(|| format!("waited {} s for {what}", PATIENCE.as_secs()))?
}
