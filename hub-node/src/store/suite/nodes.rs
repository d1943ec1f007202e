//! Leases of nodes, and who holds a device.
//!
//! A lease cannot be made to run out without waiting for it, so what follows from that is checked with a node that never had
//! one: `LEASE_TTL` is long, and the database's clock is its own.

use std::sync::Arc;
use std::time::Duration;

use hub_core::command::ExecutionState;
use hub_core::limits::TAKEOVERS_MAX;
use hub_core::rebalance::Rules;
use hub_proto::id::{ConnGen, DeviceId};

use crate::store::Store;
use crate::store::cluster::{NodeLoad, NodeRun, Notice, Renewal};
use crate::store::delivery::{Attach, Contest, DeviceOutcome, DeviceWrite, ExecutionReport};
use crate::store::suite::world::{NOW, World, run};

/// A join from this node; what it took and from whom.
async fn join_from(world: &World, node: &str, device: DeviceId) -> (ConnGen, Option<String>) {
    let outcome = join(world, node, device, None).await;
    let DeviceOutcome::Attached {
        attached,
        taken_from,
    } = outcome
    else {
        panic!("no join: {outcome:?}")
    };
    (attached.generation, taken_from.map(String::from))
}

async fn join(
    world: &World,
    node: &str,
    device: DeviceId,
    contest: Option<Contest>,
) -> DeviceOutcome {
    let DeviceWrite::Attach(join) = world.join(device) else {
        panic!("a join is an attach")
    };
    let attach = Attach {
        node: node.into(),
        contest,
        ..*join
    };
    world.write(DeviceWrite::Attach(Box::new(attach))).await
}

async fn contested(world: &World, node: &str, device: DeviceId) -> Contest {
    let outcome = join(world, node, device, None).await;
    let DeviceOutcome::Contested(contest) = outcome else {
        panic!("no contest: {outcome:?}")
    };
    contest
}

/// Where the database says a device is.
async fn node_of(world: &World, device: &str) -> Option<String> {
    let device = world.store.device(world.at(device)).await.unwrap();
    device.connection.map(|connection| connection.node)
}

/// What a node holds that holds nothing.
const IDLE: NodeLoad = NodeLoad {
    sockets: 0,
    ready: true,
};

fn names(nodes: &[(NodeRun, NodeLoad)]) -> Vec<&str> {
    nodes.iter().map(|(node, _)| &*node.name).collect()
}

pub(in crate::store) async fn leases_are_held_by_one_run(store: Arc<dyn Store>) {
    let (first, second, other) = (run("a", 1), run("a", 2), run("b", 7));
    assert_eq!(
        store.renew_lease(&first, IDLE).await.unwrap(),
        Renewal::Gone
    );
    assert!(store.enter_node(&first).await.unwrap());
    store.start_node(&other).await.unwrap();
    let Renewal::Held { lapsed, others, .. } = store.renew_lease(&first, IDLE).await.unwrap()
    else {
        panic!("the lease is held")
    };
    assert!(!lapsed);
    assert_eq!(names(&others), ["b"]);
    assert!(!store.enter_node(&second).await.unwrap());
    store.start_node(&second).await.unwrap();
    assert_eq!(
        store.renew_lease(&first, IDLE).await.unwrap(),
        Renewal::Replaced
    );
    store.release_lease(&first).await.unwrap();
    store.release_lease(&second).await.unwrap();
    assert_eq!(
        store.renew_lease(&second, IDLE).await.unwrap(),
        Renewal::Gone
    );
    let Renewal::Held { others, .. } = store.renew_lease(&other, IDLE).await.unwrap() else {
        panic!("the lease is held")
    };
    assert_eq!(names(&others), [""; 0]);
}

pub(in crate::store) async fn living_nodes_are_not_reaped(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    let (one, two) = (run("one", 1), run("two", 2));
    store.start_node(&one).await.unwrap();
    store.start_node(&two).await.unwrap();
    join_from(&world, "one", id).await;
    assert_eq!(store.reap(&two).await.unwrap().devices, 0);
    assert_eq!(node_of(&world, "d").await.as_deref(), Some("one"));
    store.release_lease(&one).await.unwrap();
    assert_eq!(node_of(&world, "d").await, None);
}

pub(in crate::store) async fn sockets_are_claimed_again(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let (here, moved, gone) = (
        world.device("here").await,
        world.device("moved").await,
        world.device("gone").await,
    );
    let node = run("one", 1);
    store.start_node(&node).await.unwrap();
    let mut held = Vec::new();
    for device in [here, moved, gone] {
        held.push((device, join_from(&world, "one", device).await.0));
    }
    assert_eq!(store.held(&node, DeviceId(0)).await.unwrap(), held);
    // another node said that this one is gone; one device joined elsewhere, one is no longer registered
    store.release_lease(&node).await.unwrap();
    join_from(&world, "two", moved).await;
    store.delete_device(world.at("gone")).await.unwrap();
    assert!(store.held(&node, DeviceId(0)).await.unwrap().is_empty());
    let lost = store.reclaim(&node, &held).await.unwrap();
    assert_eq!(lost, [moved, gone]);
    assert_eq!(store.held(&node, DeviceId(0)).await.unwrap(), held[..1]);
    assert!(store.held(&node, here).await.unwrap().is_empty());
    assert_eq!(node_of(&world, "moved").await.as_deref(), Some("two"));
}

pub(in crate::store) async fn no_stale_write_is_accepted(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    let given = world.to_device("d").await;
    let (old, _) = join_from(&world, "one", id).await;
    join_from(&world, "two", id).await;
    let stale = |number: usize| match number % 4 {
        0 => DeviceWrite::Claim {
            device: id,
            generation: old,
            commands: vec![given.id],
            at: NOW,
        },
        1 => DeviceWrite::Execution {
            device: id,
            generation: old,
            report: ExecutionReport {
                command: given.id,
                state: ExecutionState::Succeeded,
                output: None,
            },
            at: NOW,
        },
        2 => DeviceWrite::Detach {
            device: id,
            generation: old,
            at: NOW,
        },
        _ => DeviceWrite::Alive {
            device: id,
            generation: old,
        },
    };
    for batch in 0..8 {
        let writes = (0..128).map(|number| stale(batch + number)).collect();
        let outcomes = store.device_writes(writes).await.unwrap();
        assert!(
            outcomes
                .iter()
                .all(|outcome| matches!(outcome, DeviceOutcome::Fenced))
        );
    }
    let lost = store.reclaim(&run("one", 1), &[(id, old)]).await.unwrap();
    assert_eq!(lost, [id]);
    assert_eq!(node_of(&world, "d").await.as_deref(), Some("two"));
    assert_eq!(
        world.counts(given.id, NOW).await,
        [(ExecutionState::Sent, 1)]
    );
}

pub(in crate::store) async fn takeovers_leave_word(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    let (one, two) = (run("one", 1), run("two", 2));
    assert_eq!(join_from(&world, "one", id).await, (ConnGen(1), None));
    assert_eq!(
        join_from(&world, "one", id).await,
        (ConnGen(2), Some("one".into()))
    );
    assert!(store.notices(&one).await.unwrap().is_empty());
    assert_eq!(
        join_from(&world, "two", id).await,
        (ConnGen(3), Some("one".into()))
    );
    let notices = store.notices(&one).await.unwrap();
    let word = Notice {
        device: id,
        generation: ConnGen(3),
    };
    assert_eq!(notices, [word]);
    assert!(store.notices(&two).await.unwrap().is_empty());
    // word that came meanwhile stays
    join_from(&world, "one", id).await;
    join_from(&world, "two", id).await;
    store.clear_notices(&one, &notices).await.unwrap();
    let newer = store.notices(&one).await.unwrap();
    assert_eq!(newer[0].generation, ConnGen(5));
    store.clear_notices(&one, &newer).await.unwrap();
    assert!(store.notices(&one).await.unwrap().is_empty());
}

pub(in crate::store) async fn a_silent_holder_loses_and_a_living_one_stays(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    join_from(&world, "one", id).await;
    for n in 0..TAKEOVERS_MAX {
        let node = if n % 2 == 0 { "two" } else { "one" };
        join_from(&world, node, id).await;
    }
    // now the holder is asked first, on paper too
    let question = contested(&world, "one", id).await;
    assert_eq!((&*question.node, question.generation), ("two", ConnGen(6)));
    let asked = store.notices(&run("two", 2)).await.unwrap();
    assert!(asked.iter().any(|notice| notice.generation == ConnGen(6)));
    // it says nothing: the newcomer wins
    let won = join(&world, "one", id, Some(question)).await;
    assert!(matches!(won, DeviceOutcome::Attached { .. }), "{won:?}");
    // the next one is asked, and answers
    let question = contested(&world, "two", id).await;
    let alive = DeviceWrite::Alive {
        device: id,
        generation: question.generation,
    };
    assert!(matches!(world.write(alive).await, DeviceOutcome::Done));
    let refused = join(&world, "two", id, Some(question.clone())).await;
    assert!(matches!(refused, DeviceOutcome::Duplicate), "{refused:?}");
    // a proof of before the question is none
    let again = contested(&world, "two", id).await;
    assert!(again.since > question.since);
    let won = join(&world, "two", id, Some(again)).await;
    assert!(matches!(won, DeviceOutcome::Attached { .. }), "{won:?}");
    // an answer of an older join is fenced
    let late = DeviceWrite::Alive {
        device: id,
        generation: question.generation,
    };
    assert!(matches!(world.write(late).await, DeviceOutcome::Fenced));
}

pub(in crate::store) async fn leaving_first_is_no_takeover(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    for _ in 0..3 * TAKEOVERS_MAX {
        let (generation, from) = join_from(&world, "one", id).await;
        assert_eq!(from, None);
        let leave = DeviceWrite::Detach {
            device: id,
            generation,
            at: NOW,
        };
        assert!(matches!(world.write(leave).await, DeviceOutcome::Done));
    }
}

pub(in crate::store) async fn loads_and_orders_are_seen_by_all(store: Arc<dyn Store>) {
    let (one, two) = (run("one", 1), run("two", 2));
    store.start_node(&one).await.unwrap();
    store.start_node(&two).await.unwrap();
    let busy = NodeLoad {
        sockets: 7,
        ready: false,
    };
    store.renew_lease(&one, busy).await.unwrap();
    let rules = Rules {
        absolute: 5,
        relative_percent: 120,
        per_second: 2,
    };
    let until = store
        .order_rebalance(rules, Duration::from_secs(60))
        .await
        .unwrap();
    let Renewal::Held {
        others, ordered, ..
    } = store.renew_lease(&two, IDLE).await.unwrap()
    else {
        panic!("the lease is held")
    };
    assert_eq!(others, [(one.clone(), busy)]);
    assert_eq!(ordered, Some(rules));
    let nodes = store.nodes().await.unwrap();
    let seen: Vec<_> = nodes.iter().map(|node| (&*node.name, node.load)).collect();
    assert_eq!(seen, [("one", busy), ("two", IDLE)]);
    assert!(nodes.iter().all(|node| node.started_at < node.lease_until));
    // an order takes the place of the last one, and one that is over is none
    let again = store.order_rebalance(rules, Duration::ZERO).await.unwrap();
    assert!(again < until);
    let renewal = store.renew_lease(&two, IDLE).await.unwrap();
    let Renewal::Held { ordered, .. } = renewal else {
        panic!("the lease is held")
    };
    assert_eq!(ordered, None);
}
