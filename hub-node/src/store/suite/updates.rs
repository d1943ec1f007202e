//! Checks: what is known about a device's update.

use std::sync::Arc;

use hub_proto::id::{ConnGen, DeviceId};

use crate::store::Store;
use crate::store::delivery::{DeviceOutcome, DeviceWrite, UpdateReport};
use crate::store::suite::world::{World, later};

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
