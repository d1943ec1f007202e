//! Checks: membership over time.

use std::sync::Arc;

use hub_core::limits::GROUPS_PER_DEVICE_MAX;
use hub_proto::id::{ChannelId, DeviceId, Seq};

use crate::store::Store;
use crate::store::records::NewGroup;
use crate::store::suite::world::{NOW, World, all, code, digest, missing, slug};

async fn due(store: &Arc<dyn Store>, device: DeviceId) -> Vec<hub_proto::id::CommandId> {
    let reconciled = store
        .reconcile(device, digest(&device.to_string()), NOW)
        .await
        .unwrap();
    reconciled
        .pending
        .into_iter()
        .map(|command| command.id)
        .collect()
}

pub(in crate::store) async fn memberships_end_and_begin_again(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    world.members("g", 0, &[]).await;
    let before = world.to_group("g").await;
    let added = store
        .add_members(world.group("g"), &["d", "d"])
        .await
        .unwrap();
    assert_eq!((added.value, added.changes.len()), (1, 1));
    let again = store.add_members(world.group("g"), &["d"]).await.unwrap();
    assert_eq!((again.value, again.changes.len()), (0, 0));
    let during = world.to_group("g").await;
    store.remove_member(world.group("g"), "d").await.unwrap();
    assert!(missing(store.remove_member(world.group("g"), "d").await));
    let between = world.to_group("g").await;
    for _ in 0..3 {
        // in and out without a command between: nobody is owed anything by it
        store.add_members(world.group("g"), &["d"]).await.unwrap();
        store.remove_member(world.group("g"), "d").await.unwrap();
    }
    store.add_members(world.group("g"), &["d"]).await.unwrap();
    let after = world.to_group("g").await;
    assert_eq!(due(&store, id).await, [during.id, after.id]);
    for (command, members) in [(before, 0), (during, 1), (between, 0), (after, 1)] {
        let audience = store
            .executions(world.org, command.id, all(), NOW)
            .await
            .unwrap()
            .items;
        assert_eq!(audience.len(), members, "{}", command.seq);
    }
    assert_eq!(
        store
            .members(world.group("g"), all())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
}

pub(in crate::store) async fn a_leave_has_its_place_among_the_commands(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let (d, e) = (world.device("d").await, world.device("e").await);
    world.members("g", 0, &["d", "e"]).await;
    let group = store.group(world.group("g")).await.unwrap().id;
    let left = async |after: Seq, limit| {
        let changes = store.group_changes(group, after, limit, NOW).await.unwrap();
        (changes.left.devices, changes.left.more)
    };
    let before = world.to_group("g").await;
    let removed = store.remove_member(world.group("g"), "d").await.unwrap();
    let moved: Vec<_> = removed.changes.iter().map(|c| c.channel).collect();
    assert_eq!(moved, [ChannelId::Group(group), ChannelId::Device(d)]);
    let leave = removed.changes[0].seq;
    let after = world.to_group("g").await;
    assert_eq!([before.seq.next(), after.seq], [leave, leave.next()]);
    assert_eq!(left(before.seq, 10).await, (vec![(d, leave)], false));
    assert_eq!(left(leave, 10).await, (vec![], false), "known by then");
    // who comes and goes again and again is named once more, with the last leave, and the first is still what it was
    for _ in 0..3 {
        store.add_members(world.group("g"), &["d"]).await.unwrap();
        store.remove_member(world.group("g"), "d").await.unwrap();
    }
    let head = store
        .group_changes(group, after.seq, 10, NOW)
        .await
        .unwrap();
    let last = head.head.unwrap();
    assert_eq!(left(Seq(0), 10).await, (vec![(d, leave), (d, last)], false));
    store.remove_member(world.group("g"), "e").await.unwrap();
    assert_eq!(left(leave, 1).await, (vec![(d, last)], true));
    assert_eq!(left(last, 1).await, (vec![(e, last.next())], false));
    assert_eq!(due(&store, d).await, [before.id]);
    assert_eq!(due(&store, e).await, [before.id, after.id]);
}

pub(in crate::store) async fn groups_per_device_are_bounded(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    world.device("d").await;
    world.device("e").await;
    for n in 0..GROUPS_PER_DEVICE_MAX {
        world.members(&format!("g{n}"), 0, &["d"]).await;
    }
    world.members("last", 0, &[]).await;
    let refused = store.add_members(world.group("last"), &["e", "d"]).await;
    assert_eq!(code(refused), "too_many_groups");
    let members = store.members(world.group("last"), all()).await.unwrap();
    assert_eq!(members.items.len(), 0, "all or nobody");
}

pub(in crate::store) async fn deleted_groups_keep_what_is_due(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    world.members("g", 0, &["d"]).await;
    let command = world.to_group("g").await;
    let group = store.group(world.group("g")).await.unwrap().id;
    store.delete_group(world.group("g")).await.unwrap();
    assert!(missing(store.group(world.group("g")).await));
    assert!(
        store
            .groups(world.product(), all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(
        store
            .group_changes(group, command.seq, 10, NOW)
            .await
            .unwrap()
            .head
            .is_none()
    );
    assert!(store.device(world.at("d")).await.unwrap().groups.is_empty());
    assert_eq!(due(&store, id).await, [command.id]);
    // the name is free for another group, which has nothing to do with the first
    world.members("g", 0, &["d"]).await;
    assert_ne!(store.group(world.group("g")).await.unwrap().id, group);
    assert_eq!(due(&store, id).await, [command.id]);
    let new = NewGroup {
        name: slug("g"),
        priority: 0,
    };
    assert_eq!(
        code(store.create_group(world.product(), new).await),
        "name_taken"
    );
}

pub(in crate::store) async fn unknown_names_add_nobody(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    world.device("d").await;
    world.members("g", 0, &[]).await;
    let mark = store.mark().await.unwrap();
    assert!(missing(
        store.add_members(world.group("g"), &["d", "nobody"]).await
    ));
    assert_eq!(store.group(world.group("g")).await.unwrap().members, 0);
    assert_eq!(
        store.changes_since(mark, 10).await.unwrap(),
        (mark, Vec::new())
    );
    let names: Vec<String> = (0..10_001).map(|number| format!("d{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(
        code(store.add_members(world.group("g"), &names).await),
        "too_many"
    );
}
