//! Checks: what is owed to a device, and what a group's channel has.

use std::sync::Arc;

use hub_core::command::ExecutionState::{Delivered, Queued};
use hub_core::limits::UNACKED_COMMANDS_MAX;
use hub_proto::id::Seq;

use crate::store::Store;
use crate::store::records::NewCommand;
use crate::store::suite::world::{NOW, World, command, digest, later};

pub(in crate::store) async fn pending_is_bounded(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    let mut given = Vec::new();
    for _ in 0..UNACKED_COMMANDS_MAX + 2 {
        given.push(world.to_device("d").await);
    }
    let joined = world.attach(id).await;
    let seqs: Vec<_> = joined
        .reconciled
        .pending
        .iter()
        .map(|due| due.seq)
        .collect();
    let first: Vec<_> = given
        .iter()
        .take(UNACKED_COMMANDS_MAX)
        .map(|command| command.seq)
        .collect();
    assert_eq!((seqs, joined.reconciled.more), (first, true));
    // those that did not fit were not claimed
    assert_eq!(
        world.counts(given[UNACKED_COMMANDS_MAX].id, NOW).await,
        [(Queued, 1)]
    );
    for command in given.iter().take(3) {
        world
            .report(id, joined.generation, command.id, Delivered, NOW)
            .await;
    }
    let rest = store
        .reconcile(id, digest(&id.to_string()), NOW)
        .await
        .unwrap();
    assert_eq!(
        (rest.pending.len(), rest.more, rest.pending[0].id),
        (UNACKED_COMMANDS_MAX - 1, false, given[3].id)
    );
}

pub(in crate::store) async fn the_oldest_come_first_over_all_channels(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    world.members("g", 0, &["d"]).await;
    let newer = |seconds| NewCommand {
        now: later(seconds),
        ..command()
    };
    let to_device = async |seconds| {
        let given = store.command_device(world.at("d"), newer(seconds)).await;
        given.unwrap().value.id
    };
    let mut wanted = vec![to_device(-9).await];
    for _ in 0..3 {
        wanted.push(world.to_group("g").await.id);
    }
    for seconds in 1..=40 {
        wanted.push(to_device(seconds).await);
    }
    wanted.truncate(UNACKED_COMMANDS_MAX);
    let pending = world.lacks(id).await.pending;
    let ids: Vec<_> = pending.iter().map(|due| due.id).collect();
    assert_eq!(ids, wanted);
}

pub(in crate::store) async fn acked_commands_never_return(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    world.members("g", 0, &["d"]).await;
    let mut given = Vec::new();
    for _ in 0..5 {
        given.push(world.to_group("g").await);
    }
    let generation = world.attach(id).await.generation;
    let due = async || {
        let pending = store
            .reconcile(id, digest(&id.to_string()), NOW)
            .await
            .unwrap()
            .pending;
        pending.into_iter().map(|due| due.seq.0).collect::<Vec<_>>()
    };
    // out of order: the gap stays due, whatever comes after it
    for (number, left) in [
        (1, vec![1, 3, 4, 5]),
        (3, vec![1, 3, 5]),
        (0, vec![3, 5]),
        (2, vec![5]),
        (4, vec![]),
    ] {
        world
            .report(id, generation, given[number].id, Delivered, NOW)
            .await;
        assert_eq!(due().await, left);
    }
    let next = world.to_group("g").await;
    assert_eq!(due().await, [next.seq.0]);
}

pub(in crate::store) async fn group_changes_tell_what_is_live(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    world.device("d").await;
    world.firmware("f1").await;
    world.members("g", 3, &["d"]).await;
    let group = store.group(world.group("g")).await.unwrap().id;
    let mut given = Vec::new();
    for _ in 0..4 {
        given.push(world.to_group("g").await);
    }
    store
        .cancel_command(world.org, given[1].id, NOW)
        .await
        .unwrap();
    store
        .set_group_target(world.group("g"), Some("f1"))
        .await
        .unwrap();
    let changes = store.group_changes(group, Seq(0), 2, NOW).await.unwrap();
    let seqs: Vec<_> = changes.commands.iter().map(|command| command.seq).collect();
    assert_eq!((seqs, changes.more), (vec![Seq(1), Seq(3)], true));
    assert_eq!((changes.head, changes.priority), (Some(Seq(6)), 3));
    assert_eq!(&*changes.target.unwrap().uuid, "f1");
    let changes = store.group_changes(group, Seq(3), 2, NOW).await.unwrap();
    assert_eq!(
        (changes.commands[0].id, changes.commands.len(), changes.more),
        (given[3].id, 1, false)
    );
    assert!(
        store
            .group_changes(group, Seq(0), 2, later(60))
            .await
            .unwrap()
            .commands
            .is_empty()
    );
}
