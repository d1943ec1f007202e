//! Checks: a batch does what its writes do one by one.

use std::sync::Arc;

use hub_core::command::ExecutionState::{Delivered, Succeeded};
use hub_proto::id::{CommandId, ConnGen, DeviceId};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::store::Store;
use crate::store::delivery::{DeviceOutcome, DeviceWrite, ExecutionReport, UpdateReport};
use crate::store::suite::world::{NOW, World, later};

/// Devices of a world, all but the last in its group.
const DEVICES: usize = 5;
/// Writes of one batch.
const WRITES: usize = 40;
/// Batches that are tried.
const SEEDS: u64 = 12;

struct Stage {
    world: World,
    devices: Vec<DeviceId>,
    commands: Vec<CommandId>,
}

async fn stage(store: &Arc<dyn Store>, name: &str) -> Stage {
    let world = World::new(store, name).await;
    let names: Vec<String> = (0..DEVICES).map(|number| format!("d{number}")).collect();
    let mut devices = Vec::new();
    for name in &names {
        devices.push(world.device(name).await);
    }
    let members: Vec<&str> = names.iter().map(String::as_str).take(DEVICES - 1).collect();
    world.members("g", 1, &members).await;
    let commands = vec![
        world.to_group("g").await.id,
        world.to_device("d0").await.id,
        world.to_group("g").await.id,
    ];
    Stage {
        world,
        devices,
        commands,
    }
}

impl Stage {
    /// Some write of some device, with a generation that may be its own.
    fn any(&self, dice: &mut SmallRng) -> DeviceWrite {
        let device = self.devices[dice.random_range(0..DEVICES)];
        let generation = ConnGen(dice.random_range(0..4));
        let at = later(dice.random_range(0..60));
        let command = *self.commands.choose(dice).unwrap();
        match dice.random_range(0..8) {
            0..3 => self.world.join(device),
            3..6 => DeviceWrite::Execution {
                device,
                generation,
                report: ExecutionReport {
                    command,
                    state: *[Delivered, Succeeded].choose(dice).unwrap(),
                    output: dice.random::<bool>().then(|| "out\0put \"1\"".into()),
                },
                at,
            },
            6 => DeviceWrite::Detach {
                device,
                generation,
                at,
            },
            _ => DeviceWrite::Update {
                device,
                generation,
                report: UpdateReport {
                    status: "updating".into(),
                    progress: Some(dice.random_range(0..100)),
                    error: None,
                },
                at,
            },
        }
    }

    /// What was answered and what it led to, without the ids that only this world has.
    async fn seen(&self, outcomes: Vec<DeviceOutcome>) -> Vec<String> {
        let mut seen: Vec<String> = outcomes
            .into_iter()
            .map(|outcome| self.shown(outcome))
            .collect();
        for (number, id) in self.devices.iter().enumerate() {
            let device = self
                .world
                .store
                .device(self.world.at(&format!("d{number}")))
                .await
                .unwrap();
            let lacks = self.world.lacks(*id).await;
            let due: Vec<_> = lacks
                .pending
                .iter()
                .map(|due| (due.seq, due.state))
                .collect();
            seen.push(format!(
                "{:?} {:?} {due:?}",
                device.connection.is_some(),
                device.update
            ));
        }
        for command in &self.commands {
            seen.push(format!("{:?}", self.world.counts(*command, NOW).await));
        }
        seen
    }

    fn shown(&self, outcome: DeviceOutcome) -> String {
        match outcome {
            DeviceOutcome::Attached {
                attached,
                taken_from,
            } => {
                let lacks = &attached.reconciled;
                let due: Vec<_> = lacks
                    .pending
                    .iter()
                    .map(|due| (due.seq, due.state))
                    .collect();
                let groups: Vec<_> = lacks
                    .level
                    .groups
                    .iter()
                    .map(|group| (&group.name, group.head))
                    .collect();
                format!(
                    "{:?} {taken_from:?} {groups:?} {due:?}",
                    attached.generation
                )
            }
            DeviceOutcome::Contested(contest) => format!("contested {:?}", contest.generation),
            other @ (DeviceOutcome::Duplicate
            | DeviceOutcome::Done
            | DeviceOutcome::Claimed(_)
            | DeviceOutcome::Fenced
            | DeviceOutcome::NotFound
            | DeviceOutcome::Failed) => format!("{other:?}"),
        }
    }
}

pub(in crate::store) async fn a_batch_is_its_writes_one_by_one(store: Arc<dyn Store>) {
    for seed in 0..SEEDS {
        let together = stage(&store, &format!("together{seed}")).await;
        let apart = stage(&store, &format!("apart{seed}")).await;
        let writes = |stage: &Stage| -> Vec<DeviceWrite> {
            let mut dice = SmallRng::seed_from_u64(seed);
            (0..WRITES).map(|_| stage.any(&mut dice)).collect()
        };
        let at_once = store.device_writes(writes(&together)).await.unwrap();
        let mut in_turn = Vec::new();
        for write in writes(&apart) {
            in_turn.push(apart.world.write(write).await);
        }
        let (at_once, in_turn) = (together.seen(at_once).await, apart.seen(in_turn).await);
        assert_eq!(at_once, in_turn, "seed {seed}");
    }
}
