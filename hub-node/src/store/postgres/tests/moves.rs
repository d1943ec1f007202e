//! A hub moves from SQLite, with something in every table.

use hub_core::command::ExecutionState;
use hub_proto::id::{CommandId, ConnGen, DeviceId};

use super::*;
use crate::store::copy::{self, CopiedTable, Progress};
use crate::store::records::{IdempotentAnswer, NewToken, Registration, Role};
use crate::store::sqlite::SqliteStore;
use crate::store::suite::world::{code, digest, far, slug};

/// Says nothing.
struct Silent;

impl Progress for Silent {
    fn table(&mut self, _name: &'static str, _rows: u64) {}
    fn rows(&mut self, _many: u64) {}
}

/// Puts something into every table; the device.
async fn fill(world: &World) -> DeviceId {
    let store = &world.store;
    let id = world.device("d").await;
    world.members("g", 3, &["d"]).await;
    world.firmware("f1").await;
    store
        .set_device_target(world.at("d"), Some("f1"))
        .await
        .unwrap();
    let generation = world.attach(id).await.generation;
    let done = world.to_group("g").await;
    world
        .report(id, generation, done.id, ExecutionState::Succeeded, NOW)
        .await;
    world.to_group("g").await;
    world.to_device("d").await;
    world.provisioning("ca", 3).await;
    let registration = Registration {
        org: world.org,
        code: "unused".to_owned(),
        expires_at: far(),
    };
    store.create_registration(registration).await.unwrap();
    let token = NewToken {
        org: Some(world.org),
        role: Role::Admin,
        name: slug("token"),
        sha256: digest("token"),
        expires_at: None,
        now: NOW,
    };
    store.create_token(token).await.unwrap();
    store
        .remember_answer(Some(world.org), "key", answer(), NOW)
        .await
        .unwrap();
    id
}

/// Bytes of every kind.
fn answer() -> IdempotentAnswer {
    IdempotentAnswer {
        request_sha256: digest("request"),
        status: 201,
        body: (0..=255).collect(),
    }
}

/// Ids of what a device is owed.
async fn owed(world: &World, id: DeviceId) -> Vec<CommandId> {
    let pending = world.lacks(id).await.pending;
    pending.iter().map(|due| due.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hub_moves_from_sqlite() {
    let server = server().await;
    let dir = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(&dir.path().join("hub.db")).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(sqlite.clone());
    let world = World::new(&store, "a").await;
    let id = fill(&world).await;
    let postgres = fresh(&server, "moved").await;
    // a node runs on it
    store.start_node(&run("other", 1)).await.unwrap();
    let refused = copy::copy(&sqlite, &postgres, &mut Silent).await;
    assert_eq!(code(refused), "node_running");
    store.release_lease(&run("other", 1)).await.unwrap();
    let copied = copy::copy(&sqlite, &postgres, &mut Silent).await.unwrap();
    let empty: Vec<&CopiedTable> = copied.iter().filter(|table| table.rows == 0).collect();
    assert!(empty.is_empty(), "the test fills every table: {empty:?}");
    let again = copy::copy(&sqlite, &postgres, &mut Silent).await;
    assert_eq!(code(again), "not_empty");
    // the same history goes on
    let moved: Arc<dyn Store> = Arc::new(PostgresStore::open(&server.url("moved")).await.unwrap());
    assert_eq!(moved.epoch(), store.epoch());
    let there = world.on(&moved);
    let due = owed(&world, id).await;
    assert_eq!(due.len(), 2);
    assert_eq!(owed(&there, id).await, due);
    assert_eq!(there.effective("d").await.as_deref(), Some("f1"));
    assert!(
        moved
            .token_by_hash(digest("token"), NOW)
            .await
            .unwrap()
            .is_some()
    );
    let kept = moved
        .idempotent_answer(Some(world.org), "key", NOW)
        .await
        .unwrap();
    assert_eq!(kept.unwrap().body, answer().body);
    assert!(there.device("new").await > id);
    assert_eq!(there.attach(id).await.generation, ConnGen(2));
    // the change log starts anew, and misses nothing
    let mark = moved.mark().await.unwrap();
    there.to_group("g").await;
    let (_, changes) = moved.changes_since(mark, 10).await.unwrap();
    assert_eq!(changes.len(), 1);
}

#[tokio::test]
async fn every_table_is_copied_or_speaks_of_the_present() {
    let server = server().await;
    let tables = server
        .sql(
            "fresh",
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
        )
        .unwrap();
    let left = ["_sqlx_migrations", "node", "notice", "rebalance"];
    let mut known: Vec<&str> = copy::TABLES.iter().copied().chain(left).collect();
    known.sort_unstable();
    assert_eq!(tables.lines().collect::<Vec<_>>(), known);
}
