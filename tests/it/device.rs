//! The reference device against a whole node: everything a device promises, seen from both ends.
//!
//! What the device did is read from the device and its disk; what the hub believes is read through its API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hub_cli::PageOf;
use hub_device::{CommandStatus, DeviceState, Phase, Window};
use hub_proto::api::{Command, CommandCreate, Device, Execution, ExecutionState, TargetSet};
use hub_tests::ports;
use hub_tests::reference::{Reference, Setup};
use hub_tests::sandbox::{ORG, PRODUCT, Sandbox};
use hub_tests::wait::{self, PATIENCE};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

/// Bytes of a firmware that takes no time.
const SMALL: usize = 16 * 1024;
/// Bytes of a firmware whose download is seen under way.
const LARGE: usize = 6 * 1024 * 1024;

/// A registered device `s1` that runs 1.0.0 and has joined.
async fn joined(sandbox: &Sandbox) -> anyhow::Result<(Reference, String)> {
    let (file, uuid) = sandbox.firmware("1.0.0", SMALL).await?;
    let setup = sandbox.reference(&sandbox.device("s1").await?, "s1");
    let mut device = started(&setup, &file).await?;
    device.runs(&uuid).await?;
    Ok((device, uuid))
}

async fn started(setup: &Setup, file: &Path) -> anyhow::Result<Reference> {
    setup.install(file).await?;
    setup.start()
}

fn target(uuid: &str) -> anyhow::Result<TargetSet> {
    Ok(TargetSet {
        allow_downgrade: true,
        firmware: Some(uuid.parse()?),
    })
}

async fn shown(sandbox: &Sandbox) -> anyhow::Result<Device> {
    Ok(sandbox.api.device(ORG, PRODUCT, "s1").await?)
}

async fn command(sandbox: &Sandbox, name: &str, args: Value) -> anyhow::Result<Command> {
    let body = CommandCreate {
        name: name.parse()?,
        args: Some(to_raw_value(&args)?),
        ttl_s: None,
    };
    Ok(sandbox
        .api
        .command_device(ORG, PRODUCT, "s1", &body)
        .await?)
}

/// The execution of a command that has one, once it is over.
async fn ended(sandbox: &Sandbox, command: &Command) -> anyhow::Result<Execution> {
    wait::until("the end of a command", PATIENCE, async || {
        let all = PageOf::default();
        let page = sandbox.api.executions(ORG, command.id, &all).await.ok()?;
        let execution = page.items.into_iter().next()?;
        is_over(execution.state).then_some(execution)
    })
    .await
}

fn is_over(state: ExecutionState) -> bool {
    match state {
        ExecutionState::Queued | ExecutionState::Sent | ExecutionState::Delivered => false,
        ExecutionState::Succeeded
        | ExecutionState::Failed
        | ExecutionState::Rejected
        | ExecutionState::Expired
        | ExecutionState::Cancelled => true,
    }
}

/// A round trip through the hub and the device: what was said before has been heard by then.
async fn round_trip(sandbox: &Sandbox) -> anyhow::Result<()> {
    let execution = ended(sandbox, &command(sandbox, "identify", json!({})).await?).await?;
    assert_eq!(execution.state, ExecutionState::Succeeded);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_target_is_downloaded_verified_applied_and_run() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (mut device, old) = joined(&sandbox).await?;
    sandbox.group("canary", 0, &["s1"]).await?;
    let before = shown(&sandbox).await?;
    assert_eq!(before.firmware.get("uuid"), Some(&old));
    let (file, new) = sandbox.firmware("2.0.0", LARGE).await?;

    let mut seen = Vec::new();
    let watching = wait::until("a finished update", PATIENCE, async || {
        let status = shown(&sandbox).await.ok()?.update?.status;
        if seen.last() != Some(&status) {
            seen.push(status.clone());
        }
        // Either is the last one: the restart may be announced between two looks.
        (status == "completed" || status == "rebooting").then_some(())
    });
    let updating = async {
        sandbox
            .api
            .target_group(ORG, PRODUCT, "canary", &target(&new)?)
            .await?;
        device.runs(&new).await
    };
    let (watched, state) = tokio::join!(watching, updating);
    watched?;
    let state = state?;
    assert_eq!(
        (state.reboots, state.joins, state.update_error),
        (1, 2, None)
    );
    let order = [
        "received",
        "started",
        "downloading",
        "updating",
        "completed",
        "rebooting",
    ];
    let places: Vec<_> = seen
        .iter()
        .map(|status| order.iter().position(|known| known == status))
        .collect();
    assert!(places.iter().all(Option::is_some), "{seen:?}");
    assert!(places.is_sorted() && seen.len() > 1, "{seen:?}");

    let after = wait::until("the hub knowing what runs", PATIENCE, async || {
        let device = shown(&sandbox).await.ok()?;
        (device.firmware.get("uuid") == Some(&new)).then_some(device)
    })
    .await?;
    assert_eq!(
        after.firmware.get("version").map(String::as_str),
        Some("2.0.0")
    );
    let generation = |device: &Device| device.connection.as_ref().map(|c| c.generation);
    assert!(generation(&after) > generation(&before));
    let slot = hub_device::updater::ab::AbUpdater::new(device.setup.dir.join("slots"))
        .active_slot()
        .await?
        .unwrap();
    let installed = std::fs::read(slot.join("0000-rootfs"))?;
    assert_eq!(installed.len(), LARGE);
    assert!(std::fs::metadata(file)?.len() >= 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_already_is_not_installed_again() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (device, uuid) = joined(&sandbox).await?;
    sandbox
        .api
        .target_device(ORG, PRODUCT, "s1", &target(&uuid)?)
        .await?;
    round_trip(&sandbox).await?;
    let state = device.state.borrow().clone();
    assert_eq!((state.reboots, state.joins), (0, 1));
    assert_eq!(shown(&sandbox).await?.update, None);
    Ok(())
}

fn files_below(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_went_bad_on_the_hubs_disk_is_refused_and_reported() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (mut device, old) = joined(&sandbox).await?;
    let (file, new) = sandbox.firmware("2.0.0", SMALL).await?;
    let good = std::fs::read(file)?;
    let stored = files_below(&sandbox.config.state_dir.join("firmware"))?;
    let path = stored
        .iter()
        .find(|path| std::fs::read(path).is_ok_and(|bytes| bytes == good))
        .unwrap();
    let mut bad = good;
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    std::fs::write(path, bad)?;

    sandbox
        .api
        .target_device(ORG, PRODUCT, "s1", &target(&new)?)
        .await?;
    let failed = |state: &DeviceState| state.update_error.is_some();
    device.until("a refused update", PATIENCE, failed).await?;
    let update = wait::until("the report of the failure", PATIENCE, async || {
        let update = shown(&sandbox).await.ok()?.update?;
        (update.error.is_some()).then_some(update)
    })
    .await?;
    assert_eq!(update.status, "failed", "{update:?}");
    let state = device.state.borrow().clone();
    assert_eq!(state.reboots, 0);
    assert_eq!(state.firmware.map(|firmware| firmware.uuid), Some(old));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_run_in_order_and_answered() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (mut device, uuid) = joined(&sandbox).await?;
    let blink = command(&sandbox, "blink", json!({ "times": 3 })).await?;
    let identify = command(&sandbox, "identify", json!({})).await?;
    let logs = command(&sandbox, "logs", json!({})).await?;
    let unknown = command(&sandbox, "sing", json!({})).await?;
    let reboot = command(&sandbox, "reboot", json!({})).await?;

    let execution = ended(&sandbox, &blink).await?;
    assert_eq!(execution.state, ExecutionState::Succeeded);
    assert_eq!(execution.output.as_deref(), Some("blinked 3 times"));
    assert_eq!(
        ended(&sandbox, &identify).await?.state,
        ExecutionState::Succeeded
    );
    let execution = ended(&sandbox, &logs).await?;
    assert_eq!(execution.state, ExecutionState::Succeeded);
    let text = execution.output.unwrap();
    assert!(text.contains(&identify.id.to_string()), "{text}");
    assert_eq!(
        ended(&sandbox, &unknown).await?.state,
        ExecutionState::Rejected
    );
    assert_eq!(
        ended(&sandbox, &reboot).await?.state,
        ExecutionState::Succeeded
    );
    let back = |state: &DeviceState| state.reboots == 1 && state.phase == Phase::Online;
    let state = device.until("the reboot", PATIENCE, back).await?;
    assert_eq!(state.firmware.map(|firmware| firmware.uuid), Some(uuid));
    let ran: Vec<_> = state
        .executed
        .iter()
        .map(|e| (e.name.as_str(), e.status))
        .collect();
    let ok = CommandStatus::Succeeded;
    let rejected = ("sing", CommandStatus::Rejected);
    assert_eq!(
        ran,
        [
            ("blink", ok),
            ("identify", ok),
            ("logs", ok),
            rejected,
            ("reboot", ok)
        ]
    );
    let ids = [blink.id, identify.id, logs.id, unknown.id, reboot.id];
    assert_eq!(device.setup.effects()?, ids);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_follows_its_groups_while_connected() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (mut device, _) = joined(&sandbox).await?;
    let topic = |name: &str| format!("group:{ORG}:{PRODUCT}:{name}");
    for name in ["canary", "lab"] {
        sandbox.group(name, 0, &["s1"]).await?;
    }
    let both = [topic("canary"), topic("lab")];
    device
        .until("both groups", PATIENCE, |state| state.groups == both)
        .await?;
    let to_group = CommandCreate {
        name: "identify".parse()?,
        args: None,
        ttl_s: None,
    };
    let sent = sandbox
        .api
        .command_group(ORG, PRODUCT, "lab", &to_group)
        .await?;
    assert_eq!(
        ended(&sandbox, &sent).await?.state,
        ExecutionState::Succeeded
    );

    sandbox
        .api
        .remove_member(ORG, PRODUCT, "canary", "s1")
        .await?;
    let lab = [topic("lab")];
    device
        .until("one group", PATIENCE, |state| state.groups == lab)
        .await?;
    sandbox.api.delete_group(ORG, PRODUCT, "lab").await?;
    device
        .until("no group", PATIENCE, |state| state.groups.is_empty())
        .await?;
    sandbox.api.add_member(ORG, PRODUCT, "canary", "s1").await?;
    let canary = [topic("canary")];
    device
        .until("the group again", PATIENCE, |state| state.groups == canary)
        .await?;
    assert_eq!(device.state.borrow().joins, 1, "all on one connection");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_device_with_the_same_identity_takes_over() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let (file, uuid) = sandbox.firmware("1.0.0", SMALL).await?;
    let leaf = sandbox.device("s1").await?;
    let mut patient = sandbox.reference(&leaf, "one");
    // Else it would soon take over in its turn: the hub cannot tell a clone from a device that came back.
    patient.reconnect = Window {
        base: Duration::from_secs(3600),
        cap: Duration::from_secs(3600),
    };
    let mut first = started(&patient, &file).await?;
    first.runs(&uuid).await?;
    let mut second = started(&sandbox.reference(&leaf, "two"), &file).await?;
    second.runs(&uuid).await?;
    let away = |state: &DeviceState| state.phase == Phase::Offline;
    first.until("the first one's end", PATIENCE, away).await?;
    round_trip(&sandbox).await?;
    assert_eq!(second.setup.effects()?.len(), 1);
    assert_eq!(first.setup.effects()?.len(), 0);
    assert!(shown(&sandbox).await?.connection.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_hub_finds_everything_as_it_was() -> anyhow::Result<()> {
    let [device_port, api_port] = ports::free()?;
    let sandbox = Sandbox::with(|config| {
        config.device_listen.set_port(device_port);
        config.api_listen.set_port(api_port);
    })
    .await?;
    let (mut device, _) = joined(&sandbox).await?;
    sandbox.group("canary", 0, &["s1"]).await?;
    let (_, new) = sandbox.firmware("2.0.0", SMALL).await?;
    let before = command(&sandbox, "blink", json!({ "times": 1 })).await?;
    ended(&sandbox, &before).await?;
    let setup = device.setup.clone();
    device.stop().await?;

    let missed = command(&sandbox, "blink", json!({ "times": 2 })).await?;
    sandbox
        .api
        .target_group(ORG, PRODUCT, "canary", &target(&new)?)
        .await?;
    let sandbox = sandbox.restart().await?;
    device = setup.start()?;
    device.runs(&new).await?;
    let execution = ended(&sandbox, &missed).await?;
    assert_eq!(execution.output.as_deref(), Some("blinked 2 times"));

    let sandbox = sandbox.restart().await?;
    device
        .until("coming back", PATIENCE + Duration::from_secs(5), |state| {
            state.joins == 3
        })
        .await?;
    device.runs(&new).await?;
    round_trip(&sandbox).await?;
    let effects = setup.effects()?;
    assert_eq!(effects[..2], [before.id, missed.id]);
    assert_eq!(effects.len(), 3, "each once");
    Ok(())
}

/// Twice what a device lets wait: it sends some back, and the hub must bring those first.
#[tokio::test(flavor = "multi_thread")]
async fn more_commands_than_the_device_can_take_at_once_keep_their_order() -> anyhow::Result<()> {
    const FLOOD: usize = 2 * hub_device::limits::COMMANDS_WAITING_MAX + 6;
    let sandbox = Sandbox::start().await?;
    let (mut device, _) = joined(&sandbox).await?;
    let mut sent = vec![command(&sandbox, "nap", json!({ "ms": 2_000 })).await?];
    while sent.len() < FLOOD {
        sent.push(command(&sandbox, "nap", json!({ "ms": 10 })).await?);
    }
    let patience = PATIENCE + 3 * hub_core::limits::ACK_MAX;
    let done = |state: &DeviceState| state.executed_total == FLOOD as u64;
    device.until("the last command", patience, done).await?;
    let ids: Vec<_> = sent.iter().map(|command| command.id).collect();
    assert_eq!(device.setup.effects()?, ids);
    for command in &sent {
        assert_eq!(
            ended(&sandbox, command).await?.state,
            ExecutionState::Succeeded
        );
    }
    Ok(())
}
