//! A worker: a process of its own that plays many devices on one thread and does what it is ordered to.
//!
//! It ends when its orders end, which they also do when the measuring process dies.

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use hub_node::pki::Authority;
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, LocalSet};

use crate::device::{Device, Kind};
use crate::limits::{CONNECTS_AT_ONCE, NOTES_MAX, PROGRESS_STEP};
use crate::listener::Listener;
use crate::member::Joined;
use crate::orders::{Note, Order, Speech};
use crate::stalled::Stalled;
use crate::tally::{Tally, tell};

/// What a worker is started with.
#[derive(Debug, Args)]
pub(crate) struct SwarmFlags {
    /// Folder with ca.pem, ca-key.pem and server-ca.pem.
    #[arg(long)]
    pki: PathBuf,
    /// Number of its first device.
    #[arg(long)]
    first: u32,
    /// How many devices it plays.
    #[arg(long)]
    devices: u32,
}

/// Plays devices until the orders end.
///
/// # Errors
/// What stopped it; the measuring process has been told.
pub(crate) fn run(flags: &SwarmFlags) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = LocalSet::new().block_on(&runtime, obey(flags));
    if let Err(error) = &outcome {
        tell(&Note::Failed(format!("{error:#}")));
    }
    outcome
}

async fn obey(flags: &SwarmFlags) -> anyhow::Result<()> {
    // Ctrl-C reaches the whole group of processes; the measuring one ends us.
    let _deaf = signal(SignalKind::interrupt())?;
    let (kind, devices) = make(flags)?;
    let mut orders = listen();
    tell(&Note::Done);
    let mut staying = Staying::new();
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            Some(lost) = staying.join_next() => {
                lost?.context("a device was lost")?;
                bail!("a device ended its connection");
            }
        };
        match order {
            Some(Order::Visit { hub }) => visit(hub, &kind, &devices).await?,
            Some(Order::Arrive { hubs, resume }) => {
                let goal = Goal::Hubs { hubs, resume };
                staying = arrive(goal, &kind, &devices).await?;
            }
            Some(Order::Listen { server, speech }) => {
                staying = arrive(Goal::Other { server, speech }, &kind, &devices).await?;
            }
            Some(Order::Stall { hub }) => {
                staying = arrive(Goal::Stall { hub }, &kind, &devices).await?;
            }
            Some(Order::Depart) => depart(&mut staying, &kind).await?,
            Some(Order::Acks { hold }) => drop(kind.hold.send_replace(hold)),
            None => return Ok(()),
        }
        tell(&Note::Done);
    }
}

type Staying = JoinSet<anyhow::Result<()>>;

fn make(flags: &SwarmFlags) -> anyhow::Result<(Rc<Kind>, Rc<[Device]>)> {
    let read = |file: &str| {
        let path = flags.pki.join(file);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let authority = Authority::from_pem(&read("ca.pem")?, &read("ca-key.pem")?)?;
    let now = OffsetDateTime::now_utc();
    let mut devices = Vec::new();
    for number in flags.first..flags.first + flags.devices {
        devices.push(Device::make(number, &authority, now)?);
        progress(devices.len(), flags.devices);
    }
    let kind = Kind::new(read("server-ca.pem")?.as_bytes(), Tally::new(flags.devices))?;
    Ok((Rc::new(kind), devices.into()))
}

/// Orders from the measuring process. Its end of the pipe is read by a thread, as pipes are.
fn listen() -> mpsc::Receiver<Order> {
    let (sender, orders) = mpsc::channel(NOTES_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let order = line.ok().and_then(|line| serde_json::from_str(&line).ok());
            let Some(order) = order else { return };
            if sender.blocking_send(order).is_err() {
                return;
            }
        }
    });
    orders
}

async fn visit(hub: SocketAddr, kind: &Rc<Kind>, devices: &Rc<[Device]>) -> anyhow::Result<()> {
    let mut visits = JoinSet::new();
    let doors = Arc::new(Semaphore::new(CONNECTS_AT_ONCE));
    for at in 0..devices.len() {
        let (kind, devices, doors) = (kind.clone(), devices.clone(), doors.clone());
        visits.spawn_local(async move {
            let _door = doors.acquire_owned().await?;
            let device = devices.get(at).context("no such device")?;
            let joined = Joined::join(device, hub, &kind, false).await?;
            joined.leave().await
        });
    }
    let (mut done, total) = (0, u32::try_from(devices.len())?);
    while let Some(visited) = visits.join_next().await {
        visited??;
        done += 1;
        progress(done, total);
    }
    Ok(())
}

/// Where devices go.
#[derive(Clone, Debug)]
enum Goal {
    /// To hubs, each to another one in turn.
    Hubs { hubs: Vec<SocketAddr>, resume: bool },
    /// To a hub, to read nothing there.
    Stall { hub: SocketAddr },
    /// To a server that is no hub.
    Other { server: SocketAddr, speech: Speech },
}

/// A device that is where it was to go.
enum Arrived {
    Member(Joined),
    Listener(Listener),
    Stalled(Stalled),
}

impl Goal {
    async fn reach(&self, at: usize, device: &Device, kind: &Kind) -> anyhow::Result<Arrived> {
        match self {
            Self::Hubs { hubs, resume } => {
                let hub = hubs
                    .get(at % hubs.len().max(1))
                    .context("no hub to go to")?;
                let mut joined = Joined::join(device, *hub, kind, *resume).await?;
                joined.join_group().await?;
                Ok(Arrived::Member(joined))
            }
            Self::Stall { hub } => {
                let stalled = Stalled::join(device, *hub, kind).await?;
                Ok(Arrived::Stalled(stalled))
            }
            Self::Other { server, speech } => {
                let listener = Listener::subscribe(device, *server, *speech, kind).await?;
                Ok(Arrived::Listener(listener))
            }
        }
    }
}

async fn arrive(goal: Goal, kind: &Rc<Kind>, devices: &Rc<[Device]>) -> anyhow::Result<Staying> {
    let mut arrivals = JoinSet::new();
    let doors = Arc::new(Semaphore::new(CONNECTS_AT_ONCE));
    let goal = Rc::new(goal);
    for at in 0..devices.len() {
        let (kind, devices, doors) = (kind.clone(), devices.clone(), doors.clone());
        let goal = goal.clone();
        arrivals.spawn_local(async move {
            let _door = doors.acquire_owned().await?;
            let device = devices.get(at).context("no such device")?;
            goal.reach(at, device, &kind).await
        });
    }
    let mut staying = Staying::new();
    let (mut resumed, total) = (0, u32::try_from(devices.len())?);
    while let Some(arrived) = arrivals.join_next().await {
        match arrived?? {
            Arrived::Member(joined) => {
                resumed += u32::from(joined.resumed);
                staying.spawn_local(joined.stay(kind.clone()));
            }
            Arrived::Listener(listener) => {
                staying.spawn_local(listener.stay(kind.clone()));
            }
            Arrived::Stalled(stalled) => {
                staying.spawn_local(stalled.stay(kind.clone()));
            }
        }
        progress(staying.len(), total);
    }
    tell(&Note::Resumed(resumed));
    Ok(staying)
}

async fn depart(staying: &mut Staying, kind: &Kind) -> anyhow::Result<()> {
    kind.depart.send_replace(true);
    let (mut done, total) = (0, u32::try_from(staying.len())?);
    while let Some(left) = staying.join_next().await {
        left??;
        done += 1;
        progress(done, total);
    }
    kind.depart.send_replace(false);
    Ok(())
}

/// Tells every [`PROGRESS_STEP`] devices, and what remains at the end.
fn progress(done: usize, total: u32) {
    let Ok(done) = u32::try_from(done) else {
        return;
    };
    let rest = done % PROGRESS_STEP;
    if rest == 0 {
        tell(&Note::Progress(PROGRESS_STEP));
    } else if done == total {
        tell(&Note::Progress(rest));
    }
}
