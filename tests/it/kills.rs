//! A node killed with SIGKILL at random points, again and again, under a group update and a stream of commands.
//!
//! Owns the claim that it costs nothing but time: every device ends on the target, every command that the API accepted has
//! taken effect on its exact audience, none twice, and those of one channel in the order of their acceptance. The faults follow from
//! a seed, which is printed; `HUB_SEED` repeats it. How processes interleave is the machine's to say.

use std::time::{Duration, Instant};

use hub_device::DeviceState;
use hub_proto::api::TargetSet;
use hub_tests::hub_process::HubProcess;
use hub_tests::reference::{Reference, is_on};
use hub_tests::tenant::{self, ORG, PRODUCT};
use hub_tests::trials::checker;
use hub_tests::trials::writer::{Caller, Channel, GROUP, Pace, Writer};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Devices, all members of the one group.
const DEVICES: usize = 6;
/// Kills of one run.
const KILLS: u32 = 55;
/// From listening to the kill.
const LIFE: std::ops::RangeInclusive<u64> = 20..=400;
/// From the start of the process to a kill that does not wait until it listens.
const STILLBORN: std::ops::RangeInclusive<u64> = 0..=150;
/// One kill in this many does not wait.
const STILLBORN_ONE_IN: u32 = 8;
/// The target changes before one kill in this many.
const FLIP_ONE_IN: u32 = 3;
/// Bytes of the firmware's one resource.
const FIRMWARE_BYTES: usize = 64 * 1024;
/// Everything must be settled this long after the last start.
const HEALED_WITHIN: Duration = Duration::from_secs(60);
/// Every other command follows at once.
const PACE: Pace = Pace {
    pause_ms_max: 60,
    at_once_one_in: 2,
    reboots: true,
};

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_node_at_random_points_loses_doubles_and_reorders_nothing() -> anyhow::Result<()>
{
    let seed = seed()?;
    let began = Instant::now();
    let mut random = StdRng::seed_from_u64(seed);
    let mut hub = HubProcess::start().await?;
    let (mut fleet, firmwares) = fleet(&hub).await?;

    let caller = Caller::new(&[hub.api_url()], &hub.token)?;
    let enough = CancellationToken::new();
    let names: Vec<String> = (0..DEVICES).map(name).collect();
    let to_devices = (0..DEVICES).map(Channel::Device).collect();
    let writers = [
        Writer::new(&caller, &names, to_devices, PACE, random.random()),
        Writer::new(&caller, &names, vec![Channel::Group], PACE, random.random()),
    ]
    .map(|writer| tokio::spawn(writer.run(enough.clone())));
    let (flips, flipped) = mpsc::channel(8);
    let flipper = tokio::spawn(flip(caller.clone(), flipped));

    let (target, changes) = faults(&mut hub, &mut random, &flips, &firmwares).await?;
    let killed_for = began.elapsed();
    hub.launch()?;
    hub.listening().await?;
    let healing = Instant::now();
    enough.cancel();
    drop(flips);
    flipper.await??;
    let mut accepted = Vec::new();
    for writer in writers {
        accepted.push(writer.await??);
    }
    for device in &mut fleet {
        let uuid = &firmwares[target];
        device
            .until("the last target", HEALED_WITHIN, |state| is_on(state, uuid))
            .await?;
    }
    let setups: Vec<_> = fleet.iter().map(|device| device.setup.clone()).collect();
    let verdict = checker::check(&hub.api, &names, &setups, &accepted, HEALED_WITHIN).await?;
    let total = |count: fn(&DeviceState) -> u64| -> u64 {
        fleet
            .iter()
            .map(|device| count(&device.state.borrow()))
            .sum()
    };
    println!(
        "kills {KILLS} in {killed_for:.1?}, healed in {:.1?}, seed {seed}\n\
        target changes {changes}, joins {}, restarts of devices {}, calls repeated {}\n{verdict}",
        healing.elapsed(),
        total(|state| state.joins),
        total(|state| state.reboots),
        caller.repeated(),
    );
    for (name, uuid) in names.iter().map(|name| (name, &firmwares[target])) {
        let device = hub.api.device(ORG, PRODUCT, name).await?;
        assert_eq!(device.firmware.get("uuid"), Some(uuid), "{name}");
    }
    verdict.assert_clean();
    for device in fleet {
        device.stop().await?;
    }
    Ok(())
}

/// The faults to repeat, or new ones. Printed at once, so that a failure shows it, too.
#[expect(clippy::print_stdout, reason = "the test harness shows it on failure")]
fn seed() -> anyhow::Result<u64> {
    let seed = match std::env::var("HUB_SEED") {
        Ok(text) => text.parse()?,
        Err(_) => rand::random(),
    };
    println!("HUB_SEED={seed}");
    Ok(seed)
}

/// Kills the running node again and again, and changes the target before some of the kills. Gives the place of the last target and
/// how often it changed; the node is dead then.
async fn faults(
    hub: &mut HubProcess,
    random: &mut StdRng,
    flips: &mpsc::Sender<String>,
    firmwares: &[String; 2],
) -> anyhow::Result<(usize, u32)> {
    let (mut target, mut changes) = (0, 0);
    for kill in 1..=KILLS {
        // The target of the last rounds stays, so that the node is killed while devices are on their way to it, too.
        let fixed = kill + 2 > KILLS;
        if !fixed && random.random_ratio(1, FLIP_ONE_IN) {
            (target, changes) = (1 - target, changes + 1);
            flips.send(firmwares[target].clone()).await?;
        }
        if kill > 1 {
            hub.launch()?;
        }
        if random.random_ratio(1, STILLBORN_ONE_IN) {
            sleep(Duration::from_millis(random.random_range(STILLBORN))).await;
        } else {
            hub.listening().await?;
            sleep(Duration::from_millis(random.random_range(LIFE))).await;
        }
        hub.kill()?;
    }
    Ok((target, changes))
}

fn name(device: usize) -> String {
    format!("s{device}")
}

/// The devices, on the first of two firmwares and in a group whose target that is.
async fn fleet(hub: &HubProcess) -> anyhow::Result<(Vec<Reference>, [String; 2])> {
    let firmware = async |version| {
        tenant::firmware(
            &hub.api,
            &hub.signing,
            hub.dir.path(),
            version,
            FIRMWARE_BYTES,
        )
        .await
    };
    let (file, first) = firmware("1.0.0").await?;
    let (_, second) = firmware("2.0.0").await?;
    let mut fleet = Vec::new();
    for device in 0..DEVICES {
        let setup = hub.reference(&name(device)).await?;
        setup.install(&file).await?;
        fleet.push(setup.start()?);
    }
    let names: Vec<String> = (0..DEVICES).map(name).collect();
    let members: Vec<&str> = names.iter().map(String::as_str).collect();
    tenant::group(&hub.api, GROUP, 0, &members).await?;
    let target = TargetSet {
        allow_downgrade: true,
        firmware: Some(first.parse()?),
    };
    hub.api.target_group(ORG, PRODUCT, GROUP, &target).await?;
    for device in &mut fleet {
        device.runs(&first).await?;
    }
    Ok((fleet, [first, second]))
}

/// Sets the group's target to each of these in turn.
async fn flip(caller: Caller, mut targets: mpsc::Receiver<String>) -> anyhow::Result<()> {
    while let Some(uuid) = targets.recv().await {
        caller.target(&uuid).await?;
    }
    Ok(())
}
