//! The conformance suite on SQLite, and what only a file can do: survive a crash, be somebody else's.

use std::path::Path;
use std::sync::Arc;

use hub_core::command::ExecutionState;
use tempfile::TempDir;

use super::SqliteStore;
use crate::store::suite::whole_store_suite;
use crate::store::suite::world::{NOW, World, digest};
use crate::store::{DeliveryStore, IdentityStore, Store, StoreError, TenantStore};

async fn fresh() -> (TempDir, Arc<dyn Store>) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    (dir, Arc::new(store))
}

async fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(&dir.join("hub.db")).await.unwrap()
}

whole_store_suite!(store_suite, super::fresh());

#[tokio::test]
async fn what_was_answered_survives_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let crashed = open(dir.path()).await;
    let epoch = crashed.epoch();
    let store: Arc<dyn Store> = Arc::new(crashed.clone());
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    let given = world.to_device("d").await;
    let generation = world.attach(id).await.generation;
    world
        .report(id, generation, given.id, ExecutionState::Delivered, NOW)
        .await;
    let mark = store.mark().await.unwrap();
    // no close: the pools are left as a crash leaves them, and the log is not checkpointed
    let reopened = open(dir.path()).await;
    assert_eq!(reopened.epoch(), epoch);
    assert_eq!(reopened.mark().await.unwrap(), mark);
    assert_eq!(
        reopened
            .identities(vec![digest(&id.to_string())])
            .await
            .unwrap()[0]
            .device,
        id
    );
    let store: Arc<dyn Store> = Arc::new(reopened);
    let world = World { store, ..world };
    assert_eq!(
        world.counts(given.id, NOW).await,
        [(ExecutionState::Delivered, 1)]
    );
    assert!(world.attach(id).await.generation > generation);
    drop(crashed);
}

#[tokio::test]
async fn an_unfinished_write_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut tx = store.write().await.unwrap();
    sqlx::query("INSERT INTO org (name, created_at) VALUES ('half', 0)")
        .execute(&mut *tx)
        .await
        .unwrap();
    drop(tx);
    assert!(matches!(
        store.org("half").await,
        Err(StoreError::NotFound { .. })
    ));
    store.create_org(&"half".parse().unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_restored_file_is_another_history() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let before = store.epoch();
    store.close().await;
    let renewed = SqliteStore::renew_epoch(&dir.path().join("hub.db"))
        .await
        .unwrap();
    assert_ne!(renewed, before);
    assert_eq!(open(dir.path()).await.epoch(), renewed);
}

#[tokio::test]
async fn strange_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = SqliteStore::open(&dir.path().join("no/hub.db")).await;
    assert!(matches!(nowhere, Err(StoreError::Unavailable(_))));
    let store = open(dir.path()).await;
    sqlx::query("UPDATE meta SET format = 99")
        .execute(&store.writer)
        .await
        .unwrap();
    store.close().await;
    let newer = SqliteStore::open(&dir.path().join("hub.db")).await;
    assert!(matches!(newer, Err(StoreError::Damaged { .. })));
    std::fs::write(
        dir.path().join("text.db"),
        "not a database, but long enough to be looked at".repeat(9),
    )
    .unwrap();
    let text = SqliteStore::open(&dir.path().join("text.db")).await;
    assert!(matches!(text, Err(StoreError::Damaged { .. })), "{text:?}");
}

#[tokio::test]
async fn a_damaged_row_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = open(dir.path()).await;
    let store: Arc<dyn Store> = Arc::new(sqlite.clone());
    let world = World::new(&store, "a").await;
    let bad = world.device("bad").await;
    let good = world.device("good").await;
    world.members("g", 0, &["bad"]).await;
    sqlx::query("UPDATE device_group SET name = 'no name'")
        .execute(&sqlite.writer)
        .await
        .unwrap();
    let outcomes = store
        .device_writes(vec![world.join(bad), world.join(good)])
        .await
        .unwrap();
    assert!(matches!(
        outcomes[0],
        crate::store::delivery::DeviceOutcome::Failed
    ));
    assert!(matches!(
        outcomes[1],
        crate::store::delivery::DeviceOutcome::Attached { .. }
    ));
}

#[tokio::test]
async fn rows_that_cross_orgs_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = open(dir.path()).await;
    let store: Arc<dyn Store> = Arc::new(sqlite.clone());
    let a = World::new(&store, "a").await;
    let b = World::new(&store, "b").await;
    let device = a.device("d").await;
    b.members("g", 0, &[]).await;
    let firmware = b.firmware("f1").await.id;
    for sql in [
        "INSERT INTO member (org_id, product_id, group_id, device_id, from_seq) SELECT g.org_id, g.product_id, g.id, $1, 0 \
         FROM device_group g",
        "INSERT INTO member (org_id, product_id, group_id, device_id, from_seq) SELECT d.org_id, d.product_id, g.id, $1, 0 \
         FROM device_group g JOIN device d ON d.id = $1",
    ] {
        let error = sqlx::query(sql)
            .bind(device.0)
            .execute(&sqlite.writer)
            .await
            .unwrap_err();
        assert!(
            error
                .as_database_error()
                .unwrap()
                .is_foreign_key_violation()
        );
    }
    let error = sqlx::query("UPDATE device SET target_id = $1")
        .bind(firmware.0)
        .execute(&sqlite.writer)
        .await;
    assert!(
        error
            .unwrap_err()
            .as_database_error()
            .unwrap()
            .is_foreign_key_violation()
    );
}
