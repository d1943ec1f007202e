//! Checks: what the device side of a node writes and reads.

use std::sync::Arc;

use hub_core::command::ExecutionState::{Queued, Sent, Succeeded};
use hub_core::level::{Refusal, Standing};
use hub_proto::id::{ChannelId, CommandId, ConnGen, DeviceId, Seq};
use uuid::Uuid;

use crate::store::Store;
use crate::store::delivery::{Attach, DeviceOutcome, DeviceWrite, ExecutionReport, UpdateReport};
use crate::store::suite::world::{NOW, World, all, digest, later, run};

pub(in crate::store) async fn join_gives_all_that_is_missing(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    world.firmware("f1").await;
    world.members("g", 7, &["d"]).await;
    store
        .set_group_target(world.group("g"), Some("f1"))
        .await
        .unwrap();
    let own = world.to_device("d").await;
    let groups = world.to_group("g").await;
    let before = world.lacks(id).await;
    let joined = world.attach(id).await;
    assert_eq!(joined.generation, ConnGen(1));
    let level = &joined.reconciled.level;
    assert_eq!(
        *level, before.level,
        "join and reconciliation read the same"
    );
    assert_eq!(level.standing, Standing::Active);
    let group = &level.groups[0];
    assert_eq!(
        (&*group.name, group.priority, group.from_seq, group.head),
        ("g", 7, Seq(0), Seq(2))
    );
    assert_eq!(group.target.as_ref().unwrap().revision, Seq(1));
    let pending: Vec<_> = joined
        .reconciled
        .pending
        .iter()
        .map(|due| (due.id, due.seq, due.state))
        .collect();
    assert_eq!(
        pending,
        [(own.id, own.seq, Sent), (groups.id, Seq(2), Queued)]
    );
    let unclaimed: Vec<_> = before.pending.iter().map(|due| due.state).collect();
    assert_eq!(unclaimed, [Queued, Queued]);
    assert_eq!(joined.reconciled.pending[0].channel, ChannelId::Device(id));
}

pub(in crate::store) async fn joins_and_leaves_are_seen(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    world.attach(id).await;
    let device = store.device(world.at("d")).await.unwrap();
    assert_eq!(device.firmware["uuid"], "f0");
    let connection = device.connection.unwrap();
    assert_eq!(
        (connection.node.as_str(), connection.generation),
        ("n", ConnGen(1))
    );
    assert_eq!(world.connected().await, 1);
    // a join that tells nothing forgets nothing
    let DeviceWrite::Attach(join) = world.join(id) else {
        panic!("a join is a join")
    };
    world
        .write(DeviceWrite::Attach(Box::new(Attach {
            firmware: Default::default(),
            ..*join
        })))
        .await;
    assert_eq!(
        store.device(world.at("d")).await.unwrap().firmware["uuid"],
        "f0"
    );
    let detach = DeviceWrite::Detach {
        device: id,
        generation: ConnGen(2),
        at: later(5),
    };
    assert!(matches!(world.write(detach).await, DeviceOutcome::Done));
    let device = store.device(world.at("d")).await.unwrap();
    assert!(device.connection.is_none() && device.disconnected_at == Some(later(5)));
}

fn writes_of(device: DeviceId, generation: ConnGen, command: CommandId) -> Vec<DeviceWrite> {
    let report = ExecutionReport {
        command,
        state: Succeeded,
        output: None,
    };
    let update = UpdateReport {
        status: "updating".into(),
        progress: Some(5),
        error: None,
    };
    vec![
        DeviceWrite::Update {
            device,
            generation,
            report: update,
            at: NOW,
        },
        DeviceWrite::Claim {
            device,
            generation,
            commands: vec![command],
            at: NOW,
        },
        DeviceWrite::Execution {
            device,
            generation,
            report,
            at: NOW,
        },
        DeviceWrite::Detach {
            device,
            generation,
            at: NOW,
        },
    ]
}

pub(in crate::store) async fn older_generations_are_fenced(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    let old = world.attach(id).await.generation;
    let new = world.attach(id).await.generation;
    assert!(new > old);
    let given = world.to_device("d").await;
    for write in writes_of(id, old, given.id) {
        assert!(matches!(world.write(write).await, DeviceOutcome::Fenced));
    }
    assert_eq!(world.counts(given.id, NOW).await, [(Queued, 1)]);
    let device = store.device(world.at("d")).await.unwrap();
    assert!(device.update.is_none() && device.connection.is_some());
    for write in writes_of(id, new, given.id) {
        assert!(!matches!(
            world.write(write).await,
            DeviceOutcome::Fenced | DeviceOutcome::NotFound
        ));
    }
    assert_eq!(world.counts(given.id, NOW).await, [(Succeeded, 1)]);
    for write in writes_of(DeviceId(999), new, given.id) {
        assert!(matches!(world.write(write).await, DeviceOutcome::NotFound));
    }
}

pub(in crate::store) async fn one_bad_write_spoils_no_other(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let mut writes = Vec::new();
    let mut ids = Vec::new();
    for number in 0..8 {
        let id = world.device(&format!("d{number}")).await;
        let generation = world.attach(id).await.generation;
        ids.push(id);
        let generation = if number % 2 == 0 {
            generation
        } else {
            ConnGen(0)
        };
        writes.push(DeviceWrite::Detach {
            device: id,
            generation,
            at: NOW,
        });
    }
    let report = ExecutionReport {
        command: CommandId(Uuid::now_v7()),
        state: Succeeded,
        output: None,
    };
    writes.insert(
        3,
        DeviceWrite::Execution {
            device: ids[6],
            generation: ConnGen(1),
            report,
            at: NOW,
        },
    );
    let outcomes = store.device_writes(writes).await.unwrap();
    let done = |outcome: &DeviceOutcome| matches!(outcome, DeviceOutcome::Done);
    let kinds: Vec<bool> = outcomes.iter().map(done).collect();
    assert_eq!(
        kinds,
        [true, false, true, false, false, true, false, true, false]
    );
    assert!(matches!(outcomes[3], DeviceOutcome::NotFound));
    assert!(matches!(outcomes[1], DeviceOutcome::Fenced));
    assert_eq!(
        store
            .connections(world.org, all())
            .await
            .unwrap()
            .items
            .len(),
        4
    );
    assert!(store.device_writes(Vec::new()).await.unwrap().is_empty());
    let detach = |_| DeviceWrite::Detach {
        device: ids[0],
        generation: ConnGen(1),
        at: NOW,
    };
    assert!(
        store
            .device_writes((0..257).map(detach).collect())
            .await
            .is_err()
    );
}

pub(in crate::store) async fn refused_joins_write_nothing(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    let other = world.device("e").await;
    world.to_device("d").await;
    let DeviceWrite::Attach(join) = world.join(id) else {
        panic!("a join is a join")
    };
    // the certificate of another device
    let stranger = Attach {
        certificate: digest(&other.to_string()),
        ..*join
    };
    let DeviceOutcome::Attached {
        attached: refused, ..
    } = world.write(DeviceWrite::Attach(Box::new(stranger))).await
    else {
        panic!("no join")
    };
    assert_eq!(
        refused.reconciled.level.standing,
        Standing::Refused(Refusal::Unknown)
    );
    store
        .set_device_revoked(world.at("d"), true, NOW)
        .await
        .unwrap();
    let refused = world.attach(id).await;
    assert_eq!(
        refused.reconciled.level.standing,
        Standing::Refused(Refusal::DeviceRevoked)
    );
    assert!(refused.reconciled.pending.is_empty());
    let device = store.device(world.at("d")).await.unwrap();
    assert!(device.connection.is_none() && device.firmware.is_empty());
    store.delete_device(world.at("d")).await.unwrap();
    let gone = store
        .reconcile(id, digest(&id.to_string()), NOW)
        .await
        .unwrap();
    assert_eq!(
        gone.level.standing,
        Standing::Refused(Refusal::DeviceRevoked)
    );
    assert_eq!(
        world.attach(id).await.reconciled.level.standing,
        Standing::Refused(Refusal::DeviceRevoked)
    );
}

pub(in crate::store) async fn dead_nodes_are_forgotten(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    let generation = world.attach(id).await.generation;
    store.start_node(&run("another", 1)).await.unwrap();
    assert_eq!(
        store
            .connections(world.org, all())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    store.start_node(&run("n", 1)).await.unwrap();
    assert!(
        store
            .connections(world.org, all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let detach = DeviceWrite::Detach {
        device: id,
        generation,
        at: NOW,
    };
    assert!(matches!(world.write(detach).await, DeviceOutcome::Fenced));
    assert!(world.attach(id).await.generation > generation);
}

pub(in crate::store) async fn updates_keep_the_latest(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    let generation = world.attach(id).await.generation;
    let says = async |status: &str, progress, at| {
        let report = UpdateReport {
            status: status.into(),
            progress,
            error: None,
        };
        world
            .write(DeviceWrite::Update {
                device: id,
                generation,
                report,
                at: later(at),
            })
            .await;
        let update = store.device(world.at("d")).await.unwrap().update.unwrap();
        (update.status, update.progress)
    };
    assert_eq!(
        says("updating", Some(40), 1).await,
        ("updating".to_owned(), Some(40))
    );
    assert_eq!(
        says("updating", Some(30), 0).await,
        ("updating".to_owned(), Some(40))
    );
    assert_eq!(
        says("completed", None, 2).await,
        ("completed".to_owned(), Some(40))
    );
    assert_eq!(
        says("updating", Some(41), 3).await,
        ("completed".to_owned(), Some(40))
    );
    assert_eq!(
        says("received", None, 4).await,
        ("received".to_owned(), None)
    );
}

pub(in crate::store) async fn offers_are_counted_per_decision(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    let joined = world.attach(id).await;
    assert!(joined.reconciled.level.offers.is_none());
    let channel = ChannelId::Device(id);
    let offer = async |generation, revision, at| {
        let write = DeviceWrite::Offered {
            device: id,
            generation,
            channel,
            revision,
            at: later(at),
        };
        world.write(write).await
    };
    for (revision, at) in [(1, 0), (1, 5), (2, 6), (2, 7), (2, 8)] {
        let outcome = offer(joined.generation, Seq(revision), at).await;
        assert!(matches!(outcome, DeviceOutcome::Done));
    }
    assert!(matches!(
        offer(ConnGen(0), Seq(2), 9).await,
        DeviceOutcome::Fenced
    ));
    let read = store
        .reconcile(id, digest(&id.to_string()), later(10))
        .await
        .unwrap();
    let offers = read.level.offers.unwrap();
    assert_eq!(
        (offers.channel, offers.revision, offers.count),
        (channel, Seq(2), 3)
    );
    assert_eq!(offers.ago, std::time::Duration::from_secs(2));
}
