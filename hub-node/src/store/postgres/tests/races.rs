//! What two nodes do at the same time. Where the order of two transactions decides, the test holds one of them open until the
//! other waits for it.

use hub_core::command::ExecutionState;
use hub_proto::id::{ChannelId, ConnGen};
use hub_servers::wait::{PATIENCE, until};

use super::*;
use crate::store::delivery::{DeviceOutcome, DeviceWrite, UpdateReport};
use crate::store::records::CommandQuery;
use crate::store::suite::concurrency;
use crate::store::suite::world::certificate;

/// Two nodes' stores on one database, and a world on each.
async fn pair(server: &Postgres) -> (World, World) {
    let one: Arc<dyn Store> = Arc::new(fresh(server, "pair").await);
    let two: Arc<dyn Store> = Arc::new(PostgresStore::open(&server.url("pair")).await.unwrap());
    let world = World::new(&one, "a").await;
    let other = world.on(&two);
    (world, other)
}

/// Waits until a transaction of the pair's database waits for another one.
async fn somebody_waits(server: &Postgres) {
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = 'pair' AND wait_event_type = 'Lock'";
    until("a transaction waits for a lock", PATIENCE, async || {
        (server.sql("pair", waiting).unwrap() != "0").then_some(())
    })
    .await
    .unwrap();
}

/// A transaction that has carried out one statement and is still open.
async fn held(server: &Postgres, sql: &'static str) -> (PostgresStore, Tx) {
    let store = PostgresStore::open(&server.url("pair")).await.unwrap();
    let mut tx = store.write().await.unwrap();
    sqlx::query(sql).execute(&mut *tx).await.unwrap();
    (store, tx)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_concurrency_checks_hold_among_nodes() {
    let server = server().await;
    for name in ["audience", "changes", "owner"] {
        let one: Arc<dyn Store> = Arc::new(fresh(&server, name).await);
        let two: Arc<dyn Store> = Arc::new(PostgresStore::open(&server.url(name)).await.unwrap());
        let stores = [one, two];
        match name {
            "audience" => concurrency::audience_is_exact_among(&stores).await,
            "changes" => concurrency::no_change_is_missed_among(&stores).await,
            _ => concurrency::one_owner_among(&stores).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_changes_of_one_call_are_found() {
    let server = server().await;
    let (one, two) = pair(&server).await;
    let names: Vec<String> = (0..10).map(|number| format!("d{number}")).collect();
    let mut devices = Vec::new();
    for name in &names {
        devices.push(ChannelId::Device(one.device(name).await));
    }
    one.members("g", 0, &[]).await;
    let mark = two.store.mark().await.unwrap();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    one.store.add_members(one.group("g"), &names).await.unwrap();
    let (_, changes) = two.store.changes_since(mark, 100).await.unwrap();
    let mut found: Vec<ChannelId> = changes.iter().map(|change| change.channel).collect();
    found.sort_unstable();
    devices.sort_unstable();
    assert_eq!(found, devices);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn news_of_a_device_that_was_just_taken_is_fenced() {
    let server = server().await;
    let (one, _) = pair(&server).await;
    let id = one.device("d").await;
    let generation = one.attach(id).await.generation;
    let (_store, taking) = held(&server, "UPDATE device SET conn_gen = conn_gen + 1").await;
    let one = Arc::new(one);
    let news = tokio::spawn({
        let one = Arc::clone(&one);
        async move {
            let report = UpdateReport {
                status: "updating".into(),
                progress: Some(3),
                error: None,
            };
            one.write(DeviceWrite::Update {
                device: id,
                generation,
                report,
                at: NOW,
            })
            .await
        }
    });
    somebody_waits(&server).await;
    taking.commit().await.unwrap();
    let outcome = news.await.unwrap();
    assert!(matches!(outcome, DeviceOutcome::Fenced), "{outcome:?}");
    let status = "SELECT update_status IS NULL FROM device";
    assert_eq!(server.sql("pair", status).unwrap(), "t");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stopping_node_leaves_alone_what_another_has_just_taken() {
    let server = server().await;
    let (one, two) = pair(&server).await;
    one.store.start_node(&run("n", 1)).await.unwrap();
    let id = one.device("d").await;
    one.attach(id).await;
    let taken = "UPDATE device SET conn_gen = conn_gen + 1, node = 'm'";
    let (_store, taking) = held(&server, taken).await;
    let stop = tokio::spawn(async move { two.store.release_lease(&run("n", 1)).await });
    somebody_waits(&server).await;
    taking.commit().await.unwrap();
    stop.await.unwrap().unwrap();
    assert_eq!(server.sql("pair", "SELECT node FROM device").unwrap(), "m");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_is_of_one_org_whoever_comes_first() {
    let server = server().await;
    let (one, two) = pair(&server).await;
    let two = World::new(&two.store, "b").await;
    one.device("d").await;
    two.device("d").await;
    for number in 0..20 {
        let (mine, theirs) = (format!("key{number}/mine"), format!("key{number}/theirs"));
        let (first, second) = tokio::join!(
            one.store.pin_certificate(one.at("d"), certificate(&mine)),
            two.store.pin_certificate(two.at("d"), certificate(&theirs)),
        );
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_report_that_comes_twice_is_done_twice_and_counts_once() {
    let server = server().await;
    let (one, two) = pair(&server).await;
    let id = one.device("d").await;
    one.members("g", 0, &["d"]).await;
    let generation = one.attach(id).await.generation;
    for _ in 0..10 {
        let given = one.to_group("g").await;
        let done = ExecutionState::Succeeded;
        let (first, second) = tokio::join!(
            one.report(id, generation, given.id, done, NOW),
            two.report(id, generation, given.id, done, NOW),
        );
        assert!(matches!(first, DeviceOutcome::Done), "{first:?}");
        assert!(matches!(second, DeviceOutcome::Done), "{second:?}");
        assert_eq!(one.counts(given.id, NOW).await, [(done, 1)]);
    }
    let stale = two
        .report(
            id,
            ConnGen(generation.0 - 1),
            one.to_group("g").await.id,
            ExecutionState::Succeeded,
            NOW,
        )
        .await;
    assert!(matches!(stale, DeviceOutcome::Fenced), "{stale:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_make_one_command_of_one_id() {
    let server = server().await;
    let (one, two) = pair(&server).await;
    one.device("d").await;
    one.members("g", 0, &["d"]).await;
    for _ in 0..20 {
        let new = command();
        let (first, second) = tokio::join!(
            one.store.command_group(one.group("g"), new.clone()),
            two.store.command_group(two.group("g"), new.clone()),
        );
        assert_eq!(first.unwrap().value.seq, second.unwrap().value.seq);
    }
    let page = one
        .store
        .commands(one.org, CommandQuery::Group(one.group("g")), all(), NOW)
        .await
        .unwrap();
    assert_eq!(page.items.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_of_two_nodes_do_not_lock_each_other_out() {
    let server = server().await;
    let (one, two) = pair(&server).await;
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(one.device(&format!("d{number}")).await);
    }
    let reversed: Vec<_> = ids.iter().rev().copied().collect();
    for _ in 0..3 {
        let (forth, back) = tokio::join!(
            one.store
                .device_writes(ids.iter().map(|id| one.join(*id)).collect()),
            two.store
                .device_writes(reversed.iter().map(|id| two.join(*id)).collect()),
        );
        assert_eq!(forth.unwrap().len() + back.unwrap().len(), 24);
        // leave, so that nobody is asked to prove itself
        two.store.release_lease(&run("n", 1)).await.unwrap();
        sqlx_leave(&server).await;
    }
}

async fn sqlx_leave(server: &Postgres) {
    server.sql("pair", "UPDATE device SET node = NULL").unwrap();
}
