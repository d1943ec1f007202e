//! Checks: what is known about a device's update, and the words in which it says so.

use std::sync::Arc;

use hub_core::command::ExecutionState;
use hub_proto::id::{ConnGen, DeviceId};

use crate::store::Store;
use crate::store::delivery::{DeviceOutcome, DeviceWrite, ExecutionReport, UpdateReport};
use crate::store::suite::world::{NOW, World, all, later, missing};

pub(in crate::store) async fn joins_end_updates(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    let mut generation = join(&world, id, "f0").await;
    for (last, progress, comes_back_with, then) in [
        // A plain reboot is over when the device is back.
        ("rebooting", None, "f0", None),
        ("rebooting", None, "f1", Some("completed")),
        // The last words got lost, but other firmware runs.
        ("updating", Some(80), "f2", Some("completed")),
        ("updating", Some(80), "f2", Some("updating")),
        ("failed", None, "f2", Some("failed")),
    ] {
        says(&world, id, generation, last, progress).await;
        generation = join(&world, id, comes_back_with).await;
        let update = store.device(world.at("d")).await.unwrap().update;
        let status = update.as_ref().map(|update| &*update.status);
        assert_eq!(status, then, "{last}, then {comes_back_with}");
        let begun = update.and_then(|update| update.progress).is_some();
        assert!(!begun || then != Some("completed"), "{comes_back_with}");
    }
}

async fn says(
    world: &World,
    id: DeviceId,
    generation: ConnGen,
    status: &str,
    progress: Option<u8>,
) {
    let report = UpdateReport {
        status: status.into(),
        progress,
        error: None,
    };
    let write = DeviceWrite::Update {
        device: id,
        generation,
        report,
        at: later(1),
    };
    assert!(matches!(world.write(write).await, DeviceOutcome::Done));
}

async fn join(world: &World, id: DeviceId, uuid: &str) -> ConnGen {
    let DeviceWrite::Attach(mut join) = world.join(id) else {
        panic!("a join is an attach")
    };
    join.firmware.uuid = Some(uuid.into());
    let outcome = world.write(DeviceWrite::Attach(join)).await;
    let DeviceOutcome::Attached { attached, .. } = outcome else {
        panic!("no join: {outcome:?}")
    };
    attached.generation
}

/// Text that devices and operators send may hold anything, and no database may choke on it.
pub(in crate::store) async fn no_text_is_too_strange(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    let generation = join(&world, id, "uu\0id").await;
    // and again: what is stored is read by the next join
    assert!(join(&world, id, "f1").await > generation);
    let generation = join(&world, id, "uu\0id").await;
    let running = store.device(world.at("d")).await.unwrap().firmware["uuid"].clone();
    assert_eq!(running, "uu\u{fffd}id");
    let given = world.to_device("d").await;
    let report = ExecutionReport {
        command: given.id,
        state: ExecutionState::Failed,
        output: Some("a\0b".into()),
    };
    let execution = DeviceWrite::Execution {
        device: id,
        generation,
        report,
        at: NOW,
    };
    assert!(matches!(world.write(execution).await, DeviceOutcome::Done));
    let rows = store.executions(world.org, given.id, all(), NOW).await;
    assert_eq!(rows.unwrap().items[0].output.as_deref(), Some("a\u{fffd}b"));
    let update = DeviceWrite::Update {
        device: id,
        generation,
        report: UpdateReport {
            status: "fai\0led".into(),
            progress: None,
            error: Some("\0".into()),
        },
        at: NOW,
    };
    assert!(matches!(world.write(update).await, DeviceOutcome::Done));
    assert!(missing(store.org("a\0").await));
    assert!(missing(store.device(world.at("d\0")).await));
    world.members("g", 0, &[]).await;
    assert!(missing(store.add_members(world.group("g"), &["d\0"]).await));
}
