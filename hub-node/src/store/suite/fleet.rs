//! Checks: firmware, targets, deletion of devices.

use std::sync::Arc;

use hub_proto::id::{ChannelId, Seq};

use crate::store::Store;
use crate::store::suite::world::{NOW, World, all, code, digest, missing, slug};

pub(in crate::store) async fn firmware_reads_back(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    world.firmware("f1").await;
    assert_eq!(
        code(
            store
                .create_firmware(world.product(), world.new_firmware("f1"))
                .await
        ),
        "firmware_exists"
    );
    let stored = store
        .firmware(world.product(), "f1")
        .await
        .unwrap()
        .firmware;
    assert_eq!(
        (stored.size, stored.sha256, stored.extra["author"].as_str()),
        (123, digest("f1"), "us")
    );
    assert_eq!(
        store.download(world.org, "f1").await.unwrap().revision,
        Seq(0)
    );
}

pub(in crate::store) async fn targets_have_a_precedence(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    for uuid in ["f1", "f2", "f3"] {
        world.firmware(uuid).await;
    }
    world.members("low", 1, &["d"]).await;
    world.members("high", 2, &["d"]).await;
    assert_eq!(world.effective("d").await, None);
    store
        .set_group_target(world.group("low"), Some("f1"))
        .await
        .unwrap();
    assert_eq!(world.effective("d").await.as_deref(), Some("f1"));
    let changed = store
        .set_group_target(world.group("high"), Some("f2"))
        .await
        .unwrap();
    assert_eq!(
        (changed.changes[0].seq, changed.value.head),
        (Seq(1), Seq(1))
    );
    assert_eq!(world.effective("d").await.as_deref(), Some("f2"));
    store
        .set_group_priority(world.group("low"), 3)
        .await
        .unwrap();
    assert_eq!(world.effective("d").await.as_deref(), Some("f1"));
    let changed = store
        .set_device_target(world.at("d"), Some("f3"))
        .await
        .unwrap();
    assert_eq!(changed.changes[0].channel, ChannelId::Device(id));
    assert_eq!(world.effective("d").await.as_deref(), Some("f3"));
    let level = world.lacks(id).await.level;
    let target = level.target.unwrap();
    assert_eq!(
        (&*target.uuid, &*target.version, target.revision),
        ("f3", "1.0.f3", changed.changes[0].seq)
    );
    assert_eq!(level.head, changed.changes[0].seq);
    assert!(missing(
        store.set_device_target(world.at("d"), Some("f9")).await
    ));
    let cleared = store.set_device_target(world.at("d"), None).await.unwrap();
    assert_eq!(
        cleared.changes[0].seq,
        changed.changes[0].seq.next(),
        "a refused change takes no place"
    );
    assert_eq!(world.effective("d").await.as_deref(), Some("f1"));
}

pub(in crate::store) async fn firmware_is_deleted_when_free(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let other = World::new(&store, "b").await;
    world.device("d").await;
    world.firmware("f1").await;
    other.firmware("f1").await;
    store
        .set_device_target(world.at("d"), Some("f1"))
        .await
        .unwrap();
    assert_eq!(
        code(store.delete_firmware(world.product(), "f1").await),
        "in_use"
    );
    store.set_device_target(world.at("d"), None).await.unwrap();
    world.members("g", 0, &["d"]).await;
    store
        .set_group_target(world.group("g"), Some("f1"))
        .await
        .unwrap();
    assert_eq!(
        code(store.delete_firmware(world.product(), "f1").await),
        "in_use"
    );
    store.delete_group(world.group("g")).await.unwrap();
    assert!(
        !store.delete_firmware(world.product(), "f1").await.unwrap(),
        "the other org's row needs the blob"
    );
    assert!(store.delete_firmware(other.product(), "f1").await.unwrap());
    assert!(
        store
            .firmwares(other.product(), all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

pub(in crate::store) async fn removed_keys_leave_their_firmware(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    world.firmware("f1").await;
    assert_eq!(
        code(
            store
                .create_signing_key(world.org, &slug("key"), digest("other"))
                .await
        ),
        "name_taken"
    );
    assert_eq!(
        code(
            store
                .create_signing_key(world.org, &slug("other"), digest("key"))
                .await
        ),
        "key_taken"
    );
    store
        .delete_signing_key(world.org, world.key)
        .await
        .unwrap();
    assert!(missing(
        store.delete_signing_key(world.org, world.key).await
    ));
    assert!(store.signing_keys(world.org).await.unwrap().is_empty());
    assert_eq!(
        store
            .firmware(world.product(), "f1")
            .await
            .unwrap()
            .firmware
            .key,
        world.key
    );
    assert!(missing(
        store
            .create_firmware(world.product(), world.new_firmware("f2"))
            .await
    ));
    let again = store
        .create_signing_key(world.org, &slug("key"), digest("key"))
        .await
        .unwrap();
    assert_ne!(again.id, world.key);
}

pub(in crate::store) async fn deleted_devices_leave_a_last_change(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    world.members("g", 0, &["d"]).await;
    let command = world.to_group("g").await;
    assert_eq!(world.counts(command.id, NOW).await.len(), 1);
    let own = world.to_device("d").await;
    let mark = store.mark().await.unwrap();
    let gone = store.delete_device(world.at("d")).await.unwrap();
    let (_, changes) = store.changes_since(mark, 10).await.unwrap();
    assert_eq!(changes, gone.changes);
    assert!(missing(store.command(world.org, own.id, NOW).await));
    assert_eq!(world.counts(command.id, NOW).await, []);
    assert_eq!(store.group(world.group("g")).await.unwrap().members, 0);
    // the name is free, the id is not used again
    assert_ne!(
        store
            .create_device(world.product(), &slug("d"))
            .await
            .unwrap()
            .id,
        id
    );
}
