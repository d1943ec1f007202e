//! A rolling restart under load, as the devices see it: how many come back at a time, how long each is away, and how their sockets end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hub_device::{DeviceState, Phase};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::checker::{self, Verdict};
use super::cluster::{fleet, present, writers};
use super::writer::{Accepted, Caller, Pace};
use crate::cluster::{Cluster, Launcher, Plan, disconnects};
use crate::reference::Setup;

/// Everything must be settled this long after the last restart.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// How often a node that leaves is asked what it counts.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Some ten commands a second to single devices. Who restarts by itself is away by itself, so nobody is told to.
const SINGLE: Pace = Pace {
    pause_ms_max: 400,
    at_once_one_in: 1_000,
    reboots: false,
};
/// How sockets end that were asked to leave.
const LEAVING: [&str; 2] = ["client", "drain"];

/// What to run.
#[derive(Clone, Debug)]
pub struct Rolling {
    /// Devices behind the load balancer, all members of one group.
    pub devices: usize,
    /// Seconds over which a node sends its devices away.
    pub window_s: u32,
    /// Seconds between two commands to all devices, on the average.
    pub to_all_s: u32,
    /// How a node is started.
    pub program: Option<Launcher>,
}

/// What came of it.
#[derive(Debug)]
pub struct Rolled {
    /// Commands and effects.
    pub verdict: Verdict,
    /// Devices a second that were to leave the fullest node.
    pub target_rate: f64,
    /// Most devices that joined within any second.
    pub peak_rate: u32,
    /// How long each device was away each time, sorted.
    pub gaps: Vec<Duration>,
    /// How sockets of the nodes that left ended, by the nodes' own count.
    pub closes: BTreeMap<String, u64>,
    /// Sockets that ended between the last look at a node and its end, so that nobody saw how.
    pub unseen: u64,
}

/// Restarts each node once, politely.
///
/// # Errors
/// When the laboratory itself fails.
pub async fn roll(rolling: Rolling, mut tell: impl FnMut(&str)) -> anyhow::Result<Rolled> {
    let plan = Plan {
        balanced: true,
        lb_grace_s: 3,
        drain_window_s: rolling.window_s,
        program: rolling.program.clone(),
        ..Plan::default()
    };
    tell("a cluster and its devices");
    let mut cluster = Cluster::start(plan).await?;
    let (names, _, devices) = fleet(&cluster, rolling.devices).await?;
    present(&mut cluster, 0, rolling.devices).await?;
    let watched: Vec<_> = devices
        .iter()
        .map(|device| tokio::spawn(watch_one(device.state.clone())))
        .collect();
    let apis: Vec<String> = cluster.nodes.iter().map(|node| node.api_url()).collect();
    let caller = Caller::new(&apis, &cluster.token)?;
    let (enough, mut random) = (CancellationToken::new(), StdRng::seed_from_u64(1));
    let to_all = Pace {
        pause_ms_max: u64::from(rolling.to_all_s) * 2_000,
        ..SINGLE
    };
    let writing = writers(&caller, &names, [SINGLE, to_all], &mut random, &enough);
    let (mut closes, mut unseen, mut most) = (BTreeMap::new(), 0, 0);
    for node in 0..cluster.nodes.len() {
        tell(&format!("node {} leaves", node + 1));
        let held = leave(&mut cluster, node, &mut closes, &mut unseen).await?;
        most = most.max(held);
        cluster.start_again(node).await?;
        present(&mut cluster, node, rolling.devices).await?;
    }
    tell("the end of all commands");
    enough.cancel();
    let mut accepted: Vec<Vec<Accepted>> = Vec::new();
    for writer in writing {
        accepted.push(writer.await??);
    }
    let setups: Vec<Setup> = devices.iter().map(|device| device.setup.clone()).collect();
    let api = &cluster.nodes[0].api;
    let verdict = checker::check(api, &names, &setups, &accepted, SETTLED_WITHIN).await?;
    drop(devices);
    let (mut gaps, mut joins) = (Vec::new(), Vec::new());
    for device in watched {
        for (gone, back) in device.await? {
            gaps.push(back.saturating_duration_since(gone));
            joins.push(back);
        }
    }
    gaps.sort_unstable();
    Ok(Rolled {
        verdict,
        target_rate: most as f64 / f64::from(rolling.window_s.max(1)),
        peak_rate: peak(joins),
        gaps,
        closes,
        unseen,
    })
}

/// When a device was away: from its channel's end to its next join.
async fn watch_one(mut state: watch::Receiver<DeviceState>) -> Vec<(Instant, Instant)> {
    let (mut away, mut gone) = (Vec::new(), None);
    while state.changed().await.is_ok() {
        let joined = state.borrow_and_update().phase == Phase::Online;
        match (joined, gone) {
            (false, None) => gone = Some(Instant::now()),
            (true, Some(since)) => {
                away.push((since, Instant::now()));
                gone = None;
            }
            (true, None) | (false, Some(_)) => {}
        }
    }
    away
}

/// Asks a node to leave and adds up how its sockets end, until it is gone; how many it held.
async fn leave(
    cluster: &mut Cluster,
    number: usize,
    closes: &mut BTreeMap<String, u64>,
    unseen: &mut u64,
) -> anyhow::Result<u64> {
    let admin = cluster.nodes[number].config().admin_listen;
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(2))
        .build()?;
    let before = ended(&client, admin).await?;
    let (_, body) = cluster.nodes[number].ready().await?;
    let held = body["sockets"]
        .as_u64()
        .context("the node says what it holds")?;
    let node = &mut cluster.nodes[number];
    let (mut last, mut ticks) = (before.clone(), tokio::time::interval(LOOK_EVERY));
    let stopping = node.stop();
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            stopped = &mut stopping => {
                stopped?;
                break;
            }
            _ = ticks.tick() => last = ended(&client, admin).await.unwrap_or(last),
        }
    }
    let mut seen = 0;
    for (reason, count) in last {
        let more = count - before.get(&reason).copied().unwrap_or_default();
        *closes.entry(reason).or_insert(0) += more;
        seen += more;
    }
    *unseen += held.saturating_sub(seen);
    Ok(held)
}

/// How sockets ended so far, by the node's count.
async fn ended(
    client: &reqwest::Client,
    admin: std::net::SocketAddr,
) -> anyhow::Result<BTreeMap<String, u64>> {
    let answer = client.get(format!("http://{admin}/metrics")).send().await?;
    disconnects(&answer.error_for_status()?.text().await?)
}

/// Most moments within any second.
fn peak(mut moments: Vec<Instant>) -> u32 {
    moments.sort_unstable();
    let mut first = 0;
    let mut most = 0;
    for last in 0..moments.len() {
        while moments[last].duration_since(moments[first]) > Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    u32::try_from(most).unwrap_or(u32::MAX)
}

impl Rolled {
    /// Sockets that ended in another way than by being asked to leave.
    #[must_use]
    pub fn abnormal(&self) -> u64 {
        let others = self.closes.iter();
        let others = others.filter(|(reason, _)| !LEAVING.contains(&reason.as_str()));
        others.map(|(_, count)| count).sum()
    }

    /// Whether nothing was lost and every socket was asked to leave.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.abnormal() == 0
    }

    /// All of it, for people and scripts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let gap = |part: usize| {
            let at = self.gaps.len().saturating_sub(1) * part / 100;
            self.gaps.get(at).map_or(0, |gap| gap.as_millis() as u64)
        };
        json!({
            "commands": self.verdict.accepted(),
            "effects": self.verdict.effects_wanted(),
            "lost": self.verdict.lost().len(),
            "doubled": self.verdict.doubled().len(),
            "inverted": self.verdict.inverted().len(),
            "strange": self.verdict.strange().len(),
            "closes": self.closes,
            "abnormal_closes": self.abnormal(),
            "closes_not_seen": self.unseen,
            "rejoins": self.gaps.len(),
            "rejoins_per_second": { "target": self.target_rate, "peak": self.peak_rate, "ratio": f64::from(self.peak_rate) / self.target_rate.max(0.001) },
            "offline_ms": { "p50": gap(50), "p99": gap(99), "max": gap(100) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_of_any_second() {
        let start = Instant::now();
        let at = |millis: &[u64]| {
            let moments = millis.iter().map(|ms| start + Duration::from_millis(*ms));
            peak(moments.collect())
        };
        assert_eq!(at(&[]), 0);
        assert_eq!(at(&[0, 1_500, 900, 1_700, 3_000]), 3);
        assert_eq!(at(&[0, 1_000, 2_000, 3_000]), 2);
    }
}
