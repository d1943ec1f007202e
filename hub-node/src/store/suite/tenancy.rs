//! Checks: what belongs to another org is missing, for every verb that names a row.

use std::sync::Arc;

use hub_core::command::ExecutionState;
use hub_proto::id::ProductId;

use crate::store::delivery::DeviceOutcome;
use crate::store::records::{
    CommandQuery, DevicePath, GroupPath, NewGroup, ProductPath, Registration,
};
use crate::store::suite::world::{
    NOW, World, all, authority, certificate, code, command, digest, far, missing, slug,
};
use crate::store::{Store, StoreError};

/// Org `a` has everything under names that org `b` does not have.
pub(in crate::store) async fn foreign_rows_are_missing_rows(store: Arc<dyn Store>) {
    let a = World::new(&store, "a").await;
    let b = World::new(&store, "b").await;
    a.device("d").await;
    a.members("g", 0, &["d"]).await;
    a.firmware("f1").await;
    let at = |world: &World| DevicePath {
        product: ProductPath {
            org: world.org,
            product: "p",
        },
        device: "d",
    };
    let group = |world: &World| GroupPath {
        product: ProductPath {
            org: world.org,
            product: "p",
        },
        group: "g",
    };

    assert!(missing(store.device(at(&b)).await));
    assert!(missing(store.delete_device(at(&b)).await));
    assert!(missing(store.set_device_revoked(at(&b), true, NOW).await));
    assert!(missing(store.set_device_target(at(&b), None).await));
    assert!(missing(
        store.pin_certificate(at(&b), certificate("new")).await
    ));
    assert!(missing(store.certificates(at(&b)).await));
    assert!(missing(
        store.revoke_certificate(at(&b), digest("1"), NOW).await
    ));
    assert!(missing(store.command_device(at(&b), command()).await));
    assert!(missing(
        store
            .commands(b.org, CommandQuery::Device(at(&b)), all(), NOW)
            .await
    ));
    assert!(missing(store.group(group(&b)).await));
    assert!(missing(store.set_group_priority(group(&b), 1).await));
    assert!(missing(store.set_group_target(group(&b), None).await));
    assert!(missing(store.delete_group(group(&b)).await));
    assert!(missing(store.members(group(&b), all()).await));
    assert!(missing(store.add_members(group(&b), &["d"]).await));
    assert!(missing(store.remove_member(group(&b), "d").await));
    assert!(missing(store.command_group(group(&b), command()).await));
    assert!(missing(store.firmware(b.product(), "f1").await));
    assert!(missing(store.delete_firmware(b.product(), "f1").await));
    assert!(missing(store.download(b.org, "f1").await));
    // and nothing of it changed a
    let device = store.device(at(&a)).await.unwrap();
    assert!(device.revoked_at.is_none() && device.groups.len() == 1);
    assert_eq!(b.connected().await, 0);
}

/// A group of one org cannot take a device of another, and a device or group cannot run firmware of another.
pub(in crate::store) async fn orgs_do_not_mix(store: Arc<dyn Store>) {
    let a = World::new(&store, "a").await;
    let b = World::new(&store, "b").await;
    a.device("d").await;
    a.firmware("f1").await;
    store
        .create_group(
            b.product(),
            NewGroup {
                name: slug("mine"),
                priority: 0,
            },
        )
        .await
        .unwrap();
    b.device("own").await;
    assert!(missing(
        store.add_members(b.group("mine"), &["own", "d"]).await
    ));
    assert_eq!(store.group(b.group("mine")).await.unwrap().members, 0);
    assert!(missing(
        store.set_device_target(b.at("own"), Some("f1")).await
    ));
    assert!(missing(
        store.set_group_target(b.group("mine"), Some("f1")).await
    ));
}

pub(in crate::store) async fn foreign_ids_are_missing_ids(store: Arc<dyn Store>) {
    let a = World::new(&store, "a").await;
    let b = World::new(&store, "b").await;
    a.device("d").await;
    let theirs = b.device("e").await;
    let command = a.to_device("d").await;
    assert!(missing(store.command(b.org, command.id, NOW).await));
    assert!(missing(
        store.executions(b.org, command.id, all(), NOW).await
    ));
    assert!(missing(store.cancel_command(b.org, command.id, NOW).await));
    // a device's report about another org's command, and a command id that another org has
    let generation = b.attach(theirs).await.generation;
    let outcome = b
        .report(
            theirs,
            generation,
            command.id,
            ExecutionState::Succeeded,
            NOW,
        )
        .await;
    assert!(matches!(outcome, DeviceOutcome::NotFound));
    let again = crate::store::records::NewCommand {
        id: command.id,
        ..super::world::command()
    };
    assert_eq!(
        code(store.command_device(b.at("e"), again).await),
        "command_exists"
    );
    // keys, authorities, products by id
    assert!(missing(store.delete_signing_key(b.org, a.key).await));
    let firmware = crate::store::records::NewFirmware {
        key: a.key,
        ..b.new_firmware("f1")
    };
    assert!(missing(store.create_firmware(b.product(), firmware).await));
    let ca = a.provisioning("ca", 1).await;
    assert!(missing(store.authority(b.org, ca).await));
    assert!(missing(store.set_provisioning(b.org, ca, None).await));
    assert!(missing(store.revoke_authority(b.org, ca, NOW).await));
    let product: ProductId = store.product(a.product()).await.unwrap().id;
    let mine = b.provisioning("mine", 1).await;
    assert!(missing(
        store
            .set_provisioning(b.org, mine, Some((product, 1)))
            .await
    ));
    // a registration code is good for its own org only
    let registration = Registration {
        org: a.org,
        code: "c".to_owned(),
        expires_at: far(),
    };
    store.create_registration(registration).await.unwrap();
    let stolen = store
        .create_authority(authority(b.org, "c", "stolen"), NOW)
        .await;
    assert!(matches!(
        stolen,
        Err(StoreError::Conflict {
            code: "code_unknown",
            ..
        })
    ));
    store
        .create_authority(authority(a.org, "c", "rightful"), NOW)
        .await
        .unwrap();
}
