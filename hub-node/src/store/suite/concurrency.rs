//! Checks: what stays true while many write at once. Each takes the stores of one or more nodes on one database, in turns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hub_core::limits::TAKEOVERS_MAX;
use hub_proto::id::{ChannelId, Seq};

use crate::store::Store;
use crate::store::delivery::{Change, DeviceOutcome};
use crate::store::records::{Command, ProductPath};
use crate::store::suite::world::{NOW, World, all, command, slug};

/// The same world as each node's store shows it.
async fn seen_from(stores: &[Arc<dyn Store>]) -> Vec<Arc<World>> {
    let world = World::new(&stores[0], "a").await;
    stores
        .iter()
        .map(|store| Arc::new(world.on(store)))
        .collect()
}

/// A device enters and leaves the group some times, and stays; where it left.
async fn come_and_go(world: Arc<World>, number: usize) -> Vec<Seq> {
    let name = format!("d{number}");
    let (store, group) = (&world.store, world.group("g"));
    let mut left = Vec::new();
    for _ in 0..3 {
        store.add_members(group, &[&name]).await.unwrap();
        let removed = store.remove_member(group, &name).await.unwrap();
        left.push(removed.changes[0].seq);
    }
    store.add_members(group, &[&name]).await.unwrap();
    left
}

/// Gives the group some commands.
async fn give(world: Arc<World>, many: usize) -> Vec<Command> {
    let mut given = Vec::new();
    for _ in 0..many {
        given.push(world.to_group("g").await);
    }
    given
}

/// Eight tasks add a device each and at once, while two give commands to the group: what each device is owed is what was
/// accepted after it came, and commands and leaves take the group's positions without a gap.
pub(in crate::store) async fn audience_is_exact_while_members_come(store: Arc<dyn Store>) {
    audience_is_exact_among(&[store]).await;
}

/// The same, from several nodes.
pub(in crate::store) async fn audience_is_exact_among(stores: &[Arc<dyn Store>]) {
    let worlds = seen_from(stores).await;
    let (world, store) = (&worlds[0], &stores[0]);
    let mut ids = Vec::new();
    for number in 0..8 {
        ids.push(world.device(&format!("d{number}")).await);
    }
    world.members("g", 0, &[]).await;
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            tokio::spawn(come_and_go(
                Arc::clone(&worlds[number % worlds.len()]),
                number,
            ))
        })
        .collect();
    let givers =
        [0, 1].map(|number| tokio::spawn(give(Arc::clone(&worlds[number % worlds.len()]), 10)));
    let mut taken = Vec::new();
    for task in tasks {
        taken.extend(task.await.unwrap());
    }
    let mut given = BTreeMap::new();
    for giver in givers {
        let commands = giver.await.unwrap();
        given.extend(commands.into_iter().map(|command| (command.seq, command)));
    }
    taken.extend(given.keys());
    taken.sort_unstable();
    let positions: Vec<Seq> = (1..=44).map(Seq).collect();
    assert_eq!(taken, positions);
    for (number, id) in ids.iter().enumerate() {
        let owed = world.lacks(*id).await;
        let owed: Vec<Seq> = owed.pending.iter().map(|due| due.seq).collect();
        let mut told = Vec::new();
        for (seq, command) in &given {
            let audience = store
                .executions(world.org, command.id, all(), NOW)
                .await
                .unwrap()
                .items;
            assert_eq!(
                audience.len() as u64,
                command.counts.iter().map(|(_, many)| many).sum::<u64>()
            );
            if audience.iter().any(|row| row.device == *id) {
                told.push(*seq);
            }
        }
        assert_eq!(owed, told, "device {number}");
    }
}

/// A poller that starts anywhere ends up knowing every channel's last position.
pub(in crate::store) async fn no_change_is_missed(store: Arc<dyn Store>) {
    no_change_is_missed_among(&[store]).await;
}

/// The same, from several nodes.
pub(in crate::store) async fn no_change_is_missed_among(stores: &[Arc<dyn Store>]) {
    let worlds = seen_from(stores).await;
    let (world, store) = (&worlds[0], &stores[0]);
    for number in 0..4 {
        world.device(&format!("d{number}")).await;
    }
    let start = store.mark().await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let poller = {
        let (store, stop) = (Arc::clone(store), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut mark = start;
            let mut known: BTreeMap<ChannelId, Seq> = BTreeMap::new();
            loop {
                let last_round = stop.load(Ordering::SeqCst);
                let (next, changes) = store.changes_since(mark, 3).await.unwrap();
                if changes.is_empty() && last_round {
                    return known;
                }
                mark = next;
                for Change { channel, seq, .. } in changes {
                    let before = known.insert(channel, seq);
                    assert!(
                        before.is_none_or(|before| before <= seq),
                        "a position went back"
                    );
                }
                tokio::task::yield_now().await;
            }
        })
    };
    let mut tasks = Vec::new();
    for number in 0..4 {
        let world = Arc::clone(&worlds[number % worlds.len()]);
        tasks.push(tokio::spawn(async move {
            let name = format!("d{number}");
            let mut heads = BTreeMap::new();
            for _ in 0..10 {
                let changed = world
                    .store
                    .command_device(world.at(&name), command())
                    .await
                    .unwrap();
                heads.extend(
                    changed
                        .changes
                        .into_iter()
                        .map(|change| (change.channel, change.seq)),
                );
            }
            heads
        }));
    }
    let mut heads = BTreeMap::new();
    for task in tasks {
        heads.extend(task.await.unwrap());
    }
    stop.store(true, Ordering::SeqCst);
    assert_eq!(poller.await.unwrap(), heads);
}

/// Of many joins of one device each gets its own generation, and the highest one owns it.
pub(in crate::store) async fn one_owner_at_a_time(store: Arc<dyn Store>) {
    one_owner_among(&[store]).await;
}

/// The same, from several nodes.
pub(in crate::store) async fn one_owner_among(stores: &[Arc<dyn Store>]) {
    let worlds = seen_from(stores).await;
    let (world, store) = (&worlds[0], &stores[0]);
    let id = world.device("d").await;
    let mut tasks = Vec::new();
    // the first one, and as many as may take it over before its holder is asked
    let joins = 1 + TAKEOVERS_MAX;
    for (_, world) in (0..joins).zip(worlds.iter().cycle()) {
        let world = Arc::clone(world);
        tasks.push(tokio::spawn(
            async move { world.attach(id).await.generation },
        ));
    }
    let mut generations = Vec::new();
    for task in tasks {
        generations.push(task.await.unwrap());
    }
    generations.sort_unstable();
    let numbers: Vec<i64> = generations.iter().map(|generation| generation.0).collect();
    assert_eq!(numbers, (1..=joins).collect::<Vec<_>>());
    let path = ProductPath {
        org: world.org,
        product: "p",
    };
    store.create_device(path, &slug("other")).await.unwrap();
    for generation in &generations {
        let detach = crate::store::delivery::DeviceWrite::Detach {
            device: id,
            generation: *generation,
            at: NOW,
        };
        let owner = Some(generation) == generations.last();
        assert_eq!(
            matches!(world.write(detach).await, DeviceOutcome::Done),
            owner
        );
    }
}
