//! A run of fault trials on a cluster behind its load balancer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hub_cli::{Client, PageOf};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::checker::{self, Verdict};
use super::faults::{Fault, happen};
use super::writer::{Accepted, Caller, Channel, GROUP, Pace, SHIFT, Writer};
use crate::cluster::{Cluster, Launcher, Plan};
use crate::netns::Namespaces;
use crate::pki::Leaf;
use crate::reference::{Reference, Setup};
use crate::tenant::{self, ORG};

/// Presence must be right, and every device joined, this long after a fault: a lease, and those who look for it.
const CONVERGED_WITHIN: Duration = Duration::from_secs(60);
/// How often presence is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Everything must be settled this long after the last fault.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);
/// One trial in this many has two faults at a time.
const TWO_ONE_IN: u32 = 4;
/// Calm between two trials, milliseconds at most.
const CALM_MS_MAX: u64 = 800;
/// Some 15 commands a second from each writer, which devices keep up with when they are stopped for some seconds at a time.
pub const BRISK: Pace = Pace {
    pause_ms_max: 110,
    at_once_one_in: 5,
    reboots: true,
};
/// Some 3 commands a second from each writer, for devices that are stopped most of the time.
pub const CALM: Pace = Pace {
    pause_ms_max: 600,
    at_once_one_in: 20,
    reboots: true,
};

/// What to run.
#[derive(Clone, Debug)]
pub struct Trials {
    /// Faults, one or two at a time.
    pub trials: u32,
    /// Trials go on, up to [`LONGER_MAX`] times as many, until so many commands are accepted.
    pub commands: u64,
    /// What they follow from.
    pub seed: u64,
    /// Devices, all members of one group.
    pub devices: usize,
    /// How hard each of four writers writes.
    pub pace: Pace,
    /// Nodes, three at most.
    pub nodes: usize,
    /// Each node in a network namespace of its own.
    pub apart: Option<Arc<Namespaces>>,
    /// How a node is started; the program beside the test when there is none.
    pub program: Option<Launcher>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What was asked for.
    pub trials: Trials,
    /// Commands and effects.
    pub verdict: Verdict,
    /// How often each fault happened.
    pub faults: BTreeMap<&'static str, u32>,
    /// From the end of each fault until presence was right.
    pub converged: Vec<Duration>,
    /// Trials after which presence was not right in time.
    pub wrong_presence: Vec<String>,
    /// Calls that were made again.
    pub repeated: u64,
    /// Joins of all devices.
    pub joins: u64,
    /// How long it all took.
    pub took: Duration,
}

/// How many times the trials asked for are made at most, where commands are still missing.
pub const LONGER_MAX: u32 = 4;

/// Runs them. `tell` hears of each trial before it begins.
///
/// # Errors
/// When the laboratory itself fails.
pub async fn run(trials: Trials, tell: impl FnMut(u32, &[Fault])) -> anyhow::Result<Outcome> {
    let mut random = StdRng::seed_from_u64(trials.seed);
    let (mut drawn, asked) = (0, trials.trials);
    let (commands, nodes, devices) = (trials.commands, trials.nodes, trials.devices);
    let next = |accepted| {
        let goes_on = drawn < asked || (accepted < commands && drawn < LONGER_MAX * asked);
        drawn += 1;
        goes_on.then(|| draw(&mut random, nodes, devices))
    };
    run_each(trials, next, tell).await
}

/// The same with these faults, one group of them for each trial.
///
/// # Errors
/// As [`run`].
pub async fn run_these(
    trials: Trials,
    drawn: Vec<Vec<Fault>>,
    tell: impl FnMut(u32, &[Fault]),
) -> anyhow::Result<Outcome> {
    let mut drawn = drawn.into_iter();
    run_each(trials, |_| drawn.next(), tell).await
}

/// `next` gives the faults of each trial, and is told how many commands are accepted so far.
async fn run_each(
    trials: Trials,
    mut next: impl FnMut(u64) -> Option<Vec<Fault>>,
    mut tell: impl FnMut(u32, &[Fault]),
) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let mut random = StdRng::seed_from_u64(!trials.seed);
    let plan = Plan {
        nodes: trials.nodes,
        balanced: true,
        apart: trials.apart.clone(),
        program: trials.program.clone(),
        ..Plan::default()
    };
    let mut cluster = Cluster::start(plan).await?;
    let (names, leaves, fleet) = fleet(&cluster, trials.devices).await?;
    present(&mut cluster, 0, trials.devices).await?;
    let apis: Vec<String> = cluster.nodes.iter().map(|node| node.api_url()).collect();
    let caller = Caller::new(&apis, &cluster.token)?;
    let enough = CancellationToken::new();
    let writers = writers(&caller, &names, [trials.pace; 2], &mut random, &enough);

    let (mut faults, mut converged, mut wrong) = (BTreeMap::new(), Vec::new(), Vec::new());
    let mut trial = 0;
    while let Some(drawn) = next(caller.accepted()) {
        trial += 1;
        tell(trial, &drawn);
        for fault in &drawn {
            *faults.entry(fault.name()).or_insert(0) += 1;
        }
        happen(&drawn, &mut cluster, &leaves)
            .await
            .with_context(|| format!("trial {trial}, seed {}", trials.seed))?;
        let healed = Instant::now();
        match present(&mut cluster, trial as usize % trials.nodes, names.len()).await {
            Ok(()) => converged.push(healed.elapsed()),
            Err(error) => wrong.push(format!("trial {trial} {drawn:?}: {error:#}")),
        }
        let calm = random.random_range(0..=CALM_MS_MAX);
        tokio::time::sleep(Duration::from_millis(calm)).await;
    }
    enough.cancel();
    let mut accepted: Vec<Vec<Accepted>> = Vec::new();
    for writer in writers {
        accepted.push(writer.await??);
    }
    let setups: Vec<Setup> = fleet.iter().map(|device| device.setup.clone()).collect();
    let api = &cluster.nodes[0].api;
    let verdict = checker::check(api, &names, &setups, &accepted, SETTLED_WITHIN).await?;
    let joins = fleet.iter().map(|device| device.state.borrow().joins).sum();
    let clean = verdict.is_clean() && wrong.is_empty();
    if !clean {
        keep(cluster, &accepted, &verdict)?;
    }
    Ok(Outcome {
        trials,
        verdict,
        faults,
        converged,
        wrong_presence: wrong,
        repeated: caller.repeated(),
        joins,
        took: began.elapsed(),
    })
}

/// Leaves logs, journals and what the database says behind, for whoever looks into a failure.
#[expect(clippy::print_stderr, reason = "the place must be known")]
fn keep(mut cluster: Cluster, accepted: &[Vec<Accepted>], verdict: &Verdict) -> anyhow::Result<()> {
    cluster.dir.disable_cleanup(true);
    let dir = cluster.dir.path();
    for table in ["channel_head", "command", "execution", "member", "cursor"] {
        let rows = cluster
            .postgres
            .sql("hub", &format!("SELECT * FROM {table}"))?;
        std::fs::write(dir.join(format!("{table}.txt")), rows)?;
    }
    std::fs::write(dir.join("accepted.txt"), format!("{accepted:#?}"))?;
    std::fs::write(dir.join("verdict.txt"), format!("{verdict:#?}"))?;
    eprintln!("logs are kept in {}", dir.display());
    Ok(())
}

fn draw(random: &mut StdRng, nodes: usize, devices: usize) -> Vec<Fault> {
    let mut drawn = vec![Fault::draw(random, nodes, devices)];
    if random.random_ratio(1, TWO_ONE_IN) {
        let other = Fault::draw(random, nodes, devices);
        if other.part() != drawn[0].part() {
            drawn.push(other);
        }
    }
    drawn
}

/// Reference devices behind the load balancer, all in [`GROUP`], none in [`SHIFT`].
pub(super) async fn fleet(
    cluster: &Cluster,
    devices: usize,
) -> anyhow::Result<(Vec<String>, Vec<Leaf>, Vec<Reference>)> {
    let names: Vec<String> = (0..devices).map(|device| format!("d{device}")).collect();
    let (mut leaves, mut fleet) = (Vec::new(), Vec::new());
    for name in &names {
        let leaf = cluster.device(name).await?;
        let mut setup = cluster.setup(name, &leaf, 0);
        setup.reconnect.cap = Duration::from_secs(2);
        leaves.push(leaf);
        fleet.push(setup.start()?);
    }
    let api = &cluster.nodes[0].api;
    let members: Vec<&str> = names.iter().map(String::as_str).collect();
    tenant::group(api, GROUP, 0, &members).await?;
    tenant::group(api, SHIFT, 1, &[]).await?;
    Ok((names, leaves, fleet))
}

pub(super) type Writing = tokio::task::JoinHandle<anyhow::Result<Vec<Accepted>>>;

pub(super) fn writers(
    caller: &Caller,
    names: &[String],
    [single, to_groups]: [Pace; 2],
    random: &mut StdRng,
    enough: &CancellationToken,
) -> Vec<Writing> {
    let half = names.len() / 2;
    let devices = |range: std::ops::Range<usize>| range.map(Channel::Device).collect();
    let channels: [(Vec<Channel>, Pace); 4] = [
        (devices(0..half), single),
        (devices(half..names.len()), single),
        (vec![Channel::Group], to_groups),
        (vec![Channel::Shift], to_groups),
    ];
    channels
        .map(|(channels, pace)| {
            let writer = Writer::new(caller, names, channels, pace, random.random());
            tokio::spawn(writer.run(enough.clone()))
        })
        .into()
}

/// Waits until a node shows so many devices as connected, which are all there are, and every node serves.
pub(super) async fn present(
    cluster: &mut Cluster,
    node: usize,
    devices: usize,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + CONVERGED_WITHIN;
    let mut shown = String::new();
    while Instant::now() < deadline {
        cluster.revive()?;
        let api: &Client = &cluster.nodes[node].api;
        let all = PageOf {
            limit: Some(devices.max(100)),
            cursor: None,
        };
        let mut right = match api.connections(ORG, &all).await {
            Ok(connections) => {
                let count = connections.items.len();
                shown = format!("{count} of {devices} devices are shown as connected");
                count == devices
            }
            Err(error) => {
                shown = error.to_string();
                false
            }
        };
        for node in &cluster.nodes {
            right = right && matches!(node.ready().await, Ok((200, _)));
        }
        if right {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    anyhow::bail!("{shown}")
}

impl Outcome {
    /// Trials that were made.
    #[must_use]
    pub fn made(&self) -> usize {
        self.converged.len() + self.wrong_presence.len()
    }

    /// Whether nothing was lost, doubled, inverted or wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.wrong_presence.is_empty()
    }

    /// All of it, for scripts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let millis = |part: usize| {
            let at = self.converged.len().saturating_sub(1) * part / 100;
            let mut sorted = self.converged.clone();
            sorted.sort_unstable();
            sorted.get(at).map_or(0, |took| took.as_millis() as u64)
        };
        json!({
            "trials": self.made(),
            "seed": self.trials.seed,
            "devices": self.trials.devices,
            "seconds": self.took.as_secs(),
            "faults": self.faults,
            "commands": self.verdict.accepted(),
            "effects": self.verdict.effects_wanted(),
            "lost": self.verdict.lost().len(),
            "doubled": self.verdict.doubled().len(),
            "inverted": self.verdict.inverted().len(),
            "strange": self.verdict.strange().len(),
            "wrong_presence": self.wrong_presence,
            "converged_ms": { "p50": millis(50), "p99": millis(99) },
            "calls_repeated": self.repeated,
            "joins": self.joins,
        })
    }
}
