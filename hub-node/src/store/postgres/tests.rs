//! The conformance suite on Postgres, and what only a server can do: be written to by two nodes, be slow, be gone.

mod lost;
mod moves;
mod races;
mod tls;

use std::sync::Arc;

use hub_servers::Postgres;

use super::*;
use crate::database::Database;
use crate::store::DeliveryStore as _;
use crate::store::bounded::Bounded;
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
