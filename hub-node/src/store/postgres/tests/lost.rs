//! Connections that die in ways that only a network knows, and servers that are not what they were.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use hub_servers::wait::{PATIENCE, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A path between a store and its server that a test can break.
struct Wire {
    address: SocketAddr,
    state: Arc<AtomicU8>,
}

/// Passes bytes on.
const WHOLE: u8 = 0;
/// Connections of now fall silent for ever without being closed; new ones are fine.
const SILENT: u8 = 1;
/// A commit reaches the server, and then the connection is cut before its answer comes back.
const CUT_AT_COMMIT: u8 = 2;

impl Wire {
    async fn to(server: &Postgres) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(AtomicU8::new(WHOLE));
        let (port, shared) = (server.port(), Arc::clone(&state));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                // who comes while others are silent is not silent
                let fresh = shared.load(Ordering::SeqCst) == SILENT;
                tokio::spawn(carry(client, server, (!fresh).then(|| Arc::clone(&shared))));
            }
        });
        Self { address, state }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://hub@{}/{database}?sslmode=disable", self.address)
    }

    fn becomes(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, state: Option<Arc<AtomicU8>>) {
    let is = |wanted: u8| {
        let state = state.as_ref();
        state.is_some_and(|state| state.load(Ordering::SeqCst) == wanted)
    };
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            many = client.read(&mut asked) => {
                let Ok(many @ 1..) = many else { return };
                if is(SILENT) {
                    std::future::pending::<()>().await;
                }
                if server.write_all(&asked[..many]).await.is_err() {
                    return;
                }
                if is(CUT_AT_COMMIT) && asked[..many].windows(6).any(|text| text == b"COMMIT") {
                    // the answer shows that the server has done it; nobody gets it
                    let _ = server.read(&mut answered).await;
                    return;
                }
            }
            many = server.read(&mut answered) => {
                let Ok(many @ 1..) = many else { return };
                if is(SILENT) {
                    std::future::pending::<()>().await;
                }
                if client.write_all(&answered[..many]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_without_an_answer_is_no_success_and_can_be_asked_again() {
    let server = server().await;
    fresh(&server, "unknown").await.close().await;
    let wire = Wire::to(&server).await;
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&wire.url("unknown")).await.unwrap());
    let world = World::new(&store, "a").await;
    world.device("d").await;
    let new = command();
    wire.becomes(CUT_AT_COMMIT);
    let error = store
        .command_device(world.at("d"), new.clone())
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    wire.becomes(WHOLE);
    let seq = "SELECT seq FROM command";
    assert_eq!(server.sql("unknown", seq).unwrap(), "1");
    let again = store.command_device(world.at("d"), new).await.unwrap();
    assert_eq!(again.value.seq, hub_proto::id::Seq(1));
    assert_eq!(server.sql("unknown", seq).unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_fell_silent_are_given_up() {
    let server = server().await;
    fresh(&server, "silent").await.close().await;
    let wire = Wire::to(&server).await;
    let database = Database::default();
    let postgres = PostgresStore::open(&wire.url("silent")).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(Bounded::new(
        Arc::new(postgres),
        database.clone(),
        Arc::default(),
        "postgresql",
    ));
    // as many connections as there may be, all idle
    let calls = (0..4 * STORE_CONNECTIONS_MAX).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.orgs(all()).await.map(|page| page.items.len()) })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().unwrap(), 0);
    }
    let probe = tokio::spawn(database.clone().probe(store.clone()));
    wire.becomes(SILENT);
    assert!(matches!(
        store.mark().await,
        Err(StoreError::Unavailable(_))
    ));
    let mut away = database.watch();
    let back = away.wait_for(Option::is_none);
    tokio::time::timeout(Duration::from_secs(15), back)
        .await
        .expect("the server is there, behind new connections")
        .unwrap();
    until("every call is answered", PATIENCE, async || {
        store
            .org("none")
            .await
            .is_err_and(|error| matches!(error, StoreError::NotFound { .. }))
            .then_some(())
    })
    .await
    .unwrap();
    probe.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_frozen_server_is_away_and_comes_back() {
    let server = server().await;
    let database = Database::default();
    let inner: Arc<dyn Store> = Arc::new(fresh(&server, "frozen").await);
    let store: Arc<dyn Store> = Arc::new(Bounded::new(
        inner,
        database.clone(),
        Arc::default(),
        "postgresql",
    ));
    let world = World::new(&store, "a").await;
    let probe = tokio::spawn(database.clone().probe(store.clone()));
    server.freeze().unwrap();
    assert!(matches!(
        store.mark().await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(database.is_away());
    // nobody waits any more
    let asked = std::time::Instant::now();
    assert!(matches!(
        store.org("a").await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(asked.elapsed() < std::time::Duration::from_millis(500));
    server.thaw().unwrap();
    let mut away = database.watch();
    let back = away.wait_for(Option::is_none);
    tokio::time::timeout(std::time::Duration::from_secs(20), back)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(store.org("a").await.unwrap().id, world.org);
    probe.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restored_dump_is_noticed_and_becomes_a_new_history() {
    let server = server().await;
    let store: Arc<dyn Store> = Arc::new(fresh(&server, "restored").await);
    let world = World::new(&store, "a").await;
    world.device("d").await;
    world.to_device("d").await;
    let url = server.url("restored");
    // as if these changes were made by transactions of a server that lived longer
    let longer = "UPDATE channel_head SET rev = rev + 1000000000 WHERE rev > 0";
    server.sql("restored", longer).unwrap();
    let error = PostgresStore::open(&url).await.unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.contains("renew-epoch"), "{text}");
    let renewed = PostgresStore::renew_epoch(&url).await.unwrap();
    assert_ne!(renewed, store.epoch());
    let restored: Arc<dyn Store> = Arc::new(PostgresStore::open(&url).await.unwrap());
    assert_eq!(restored.epoch(), renewed);
    let mark = restored.mark().await.unwrap();
    let there = world.on(&restored);
    there.to_device("d").await;
    let (mark, changes) = restored.changes_since(mark, 10).await.unwrap();
    assert_eq!(changes.len(), 1);
    assert!(restored.changes_since(mark, 10).await.unwrap().1.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_of_the_next_version_are_no_obstacle() {
    let server = server().await;
    fresh(&server, "next").await.close().await;
    let next = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of the next version', true, '', 0)";
    server.sql("next", next).unwrap();
    let url = server.url("next");
    PostgresStore::open(&url).await.unwrap();
    assert!(PostgresStore::migrate(&url).await.unwrap().is_empty());
}
