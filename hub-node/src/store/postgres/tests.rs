//! The conformance suite on Postgres, and what only a server can do: be written to by two nodes, be slow, be gone.

mod lost;
mod races;

use std::sync::Arc;

use hub_servers::Postgres;

use super::*;
use crate::database::Database;
use crate::store::DeliveryStore as _;
use crate::store::bounded::Bounded;
use crate::store::copy::{self, CopiedTable, Progress};
use crate::store::sqlite::SqliteStore;
use crate::store::suite::world::{NOW, World, all, command, run};
use crate::store::suite::{Check, whole_store_suite};

/// A server for tests that do not kill it.
async fn server() -> Postgres {
    let server = Postgres::start_with(false).await.unwrap();
    server.create_database("fresh").unwrap();
    let needed = PostgresStore::migrate(&server.url("fresh")).await.unwrap();
    assert!(!needed.is_empty());
    server
}

/// A store on a database of its own, with tables and nothing in them.
async fn fresh(server: &Postgres, name: &str) -> PostgresStore {
    let sql = format!("CREATE DATABASE {name} TEMPLATE fresh");
    server.sql("postgres", &sql).unwrap();
    let store = PostgresStore::open(&server.url(name)).await.unwrap();
    let epoch: u64 = rand::random();
    sqlx::query("UPDATE meta SET epoch = $1")
        .bind(epoch.cast_signed())
        .execute(&store.pool())
        .await
        .unwrap();
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_whole_suite() {
    let server = server().await;
    let mut failed = Vec::new();
    for (at, (name, check)) in checks().into_iter().enumerate() {
        let store = fresh(&server, &format!("check_{at}")).await;
        let run = tokio::spawn(check(Arc::new(store.clone())));
        if let Err(error) = run.await {
            eprintln!("{name}: {error}");
            failed.push(name);
        }
        store.close().await;
    }
    assert!(failed.is_empty(), "{failed:?}");
}

fn checks() -> Vec<(&'static str, Check)> {
    whole_store_suite!(list_of_checks, Vec::from)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_writer_is_not_missed() {
    let server = server().await;
    let store = fresh(&server, "slow").await;
    let world = World::new(&(Arc::new(store.clone()) as Arc<dyn Store>), "a").await;
    let (early, late) = (world.device("early").await, world.device("late").await);
    let mut mark = store.mark().await.unwrap();
    // a transaction takes its place first, and commits last
    let mut slow = store.write().await.unwrap();
    let place = engine::take_places(&mut slow, 1).await.unwrap();
    sqlx::query("UPDATE channel_head SET seq = seq + 1, rev = $2 WHERE ch = $1")
        .bind(format!("d:{early}"))
        .bind(place)
        .execute(&mut *slow)
        .await
        .unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        world.to_device("late").await;
        // one by one, so that a round has pages
        for _ in 0..3 {
            let (next, changes) = store.changes_since(mark, 1).await.unwrap();
            mark = next;
            seen.extend(changes.into_iter().map(|change| change.channel));
        }
    }
    let late = hub_proto::id::ChannelId::Device(late);
    assert!(seen.contains(&late) && seen.iter().all(|channel| *channel == late));
    slow.commit().await.unwrap();
    let mut found = false;
    for _ in 0..4 {
        let (next, changes) = store.changes_since(mark, 1).await.unwrap();
        mark = next;
        found |= changes
            .iter()
            .any(|change| change.channel == hub_proto::id::ChannelId::Device(early));
    }
    assert!(found, "the slow writer's change was missed");
    let (_, rest) = store.changes_since(mark, 10).await.unwrap();
    assert!(
        rest.is_empty(),
        "known changes come back for ever: {rest:?}"
    );
}

#[tokio::test]
async fn tables_must_be_made_first_and_passwords_stay_secret() {
    let server = Postgres::start_with(false).await.unwrap();
    server.create_database("empty").unwrap();
    let error = PostgresStore::open(&server.url("empty")).await.unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.contains("hub-node migrate"), "{text}");
    let error = PostgresStore::open("postgres://u:secret@h:port/db")
        .await
        .unwrap_err();
    let text = format!("{error:?}");
    assert!(!text.contains("secret"), "{text}");
    // twice at once, and once more, is once
    let url = server.url("empty");
    let (one, two) = tokio::join!(PostgresStore::migrate(&url), PostgresStore::migrate(&url));
    assert!(one.is_ok() && two.is_ok());
    assert!(PostgresStore::migrate(&url).await.unwrap().is_empty());
    let epoch = PostgresStore::open(&url).await.unwrap().epoch();
    assert_ne!(PostgresStore::renew_epoch(&url).await.unwrap(), epoch);
}

/// Says nothing.
struct Silent;

impl Progress for Silent {
    fn table(&mut self, _name: &'static str, _rows: u64) {}
    fn rows(&mut self, _many: u64) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hub_moves_from_sqlite() {
    let server = server().await;
    let dir = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(&dir.path().join("hub.db")).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(sqlite.clone());
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    world.members("g", 3, &["d"]).await;
    world.firmware("f1").await;
    let given = world.to_group("g").await;
    world.to_device("d").await;
    world.attach(id).await;
    let postgres = fresh(&server, "moved").await;
    // a node runs on it
    store.start_node(&run("other", 1)).await.unwrap();
    let refused = copy::copy(&sqlite, &postgres, &mut Silent)
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            StoreError::Conflict {
                code: "node_running",
                ..
            }
        ),
        "{refused}"
    );
    store.release_lease(&run("other", 1)).await.unwrap();
    let copied = copy::copy(&sqlite, &postgres, &mut Silent).await.unwrap();
    let rows = |name: &str| {
        let table = |copied: &&CopiedTable| copied.table == name;
        copied.iter().find(table).unwrap().rows
    };
    assert_eq!((rows("org"), rows("device"), rows("command")), (1, 1, 2));
    let again = copy::copy(&sqlite, &postgres, &mut Silent)
        .await
        .unwrap_err();
    assert!(
        matches!(
            again,
            StoreError::Conflict {
                code: "not_empty",
                ..
            }
        ),
        "{again}"
    );
    // the same history goes on
    let moved: Arc<dyn Store> = Arc::new(PostgresStore::open(&server.url("moved")).await.unwrap());
    assert_eq!(moved.epoch(), store.epoch());
    let there = World {
        store: moved.clone(),
        org: world.org,
        key: world.key,
    };
    let ids = |lacks: hub_core::session::Reconciled| {
        let mut ids: Vec<_> = lacks.pending.iter().map(|due| due.id).collect();
        ids.sort_unstable();
        ids
    };
    let (owed, before) = (ids(there.lacks(id).await), ids(world.lacks(id).await));
    assert_eq!(owed, before);
    assert!(owed.contains(&given.id));
    assert!(there.device("new").await > id);
    assert_eq!(there.attach(id).await.generation, hub_proto::id::ConnGen(2));
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
    let left = ["_sqlx_migrations", "node", "notice"];
    let mut known: Vec<&str> = copy::TABLES.iter().copied().chain(left).collect();
    known.sort_unstable();
    assert_eq!(tables.lines().collect::<Vec<_>>(), known);
}
