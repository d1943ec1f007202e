//! Two nodes' buses on a real server, and what happens to them.

use std::time::{Duration, Instant};

use hub_core::bus_health::Reason;
use hub_proto::id::{ChannelId, ConnGen, DeviceId, GroupId, Seq};
use hub_servers::Redis;

use super::*;
use crate::bus::Inbound;

/// How long anything here may take; a failure costs this once.
const PATIENCE: Duration = Duration::from_secs(20);

struct Node {
    bus: RedisBus,
    inbound: mpsc::Receiver<Arrival>,
    peers: watch::Sender<Arc<[NodeRun]>>,
}

fn run(name: &str) -> NodeRun {
    NodeRun {
        name: name.into(),
        run: rand::random(),
        peer_address: None,
    }
}

fn settings(url: String, name: &str) -> RedisSettings {
    RedisSettings {
        url,
        ca: None,
        run: run(name),
        epoch: Epoch(7),
    }
}

fn node(settings: RedisSettings, peers: &[&str]) -> Node {
    let peers = watch::Sender::new(peers.iter().map(|name| run(name)).collect());
    let bus = RedisBus::start(settings, peers.subscribe(), Arc::default()).unwrap();
    let inbound = bus.subscribe().unwrap();
    assert!(bus.subscribe().is_none());
    Node {
        bus,
        inbound,
        peers,
    }
}

impl Node {
    async fn is(&self, what: impl Fn(&BusState) -> bool) -> BusState {
        let mut state = self.bus.state();
        let shown = tokio::time::timeout(PATIENCE, state.wait_for(|state| what(state))).await;
        match shown {
            Ok(state) => state.unwrap().clone(),
            Err(_) => panic!("the bus is {:?}", self.bus.state().borrow()),
        }
    }

    async fn is_up(&self) {
        self.is(BusState::is_up).await;
    }

    async fn hears(&mut self) -> Inbound {
        let next = tokio::time::timeout(PATIENCE, self.inbound.recv()).await;
        next.unwrap().unwrap().said
    }
}

fn hint(channel: ChannelId, seq: i64) -> Hint {
    Hint {
        epoch: Epoch(7),
        channel,
        seq: Seq(seq),
        trace: None,
        body: None,
    }
}

async fn pair(redis: &Redis) -> (Node, Node) {
    let one = node(settings(redis.url(), "one"), &["two"]);
    let two = node(settings(redis.url(), "two"), &["one"]);
    one.is_up().await;
    two.is_up().await;
    (one, two)
}

#[tokio::test]
async fn hints_reach_every_node_in_order_and_notices_one() {
    let redis = Redis::start().await.unwrap();
    let (mut one, mut two) = pair(&redis).await;
    let group = ChannelId::Group(GroupId(9));
    for seq in 1..=100 {
        one.bus.publish(hint(group, seq)).await.unwrap();
    }
    for seq in 1..=100 {
        let expected = Inbound::Hint(hint(group, seq));
        assert_eq!(one.hears().await, expected);
        assert_eq!(two.hears().await, expected);
    }
    let notice = Notice {
        device: DeviceId(3),
        generation: ConnGen(5),
    };
    one.bus.notify("two", notice).unwrap();
    one.bus.publish(hint(group, 101)).await.unwrap();
    assert_eq!(two.hears().await, Inbound::Notice(notice));
    assert_eq!(one.hears().await, Inbound::Hint(hint(group, 101)));
}

#[tokio::test]
async fn a_killed_server_is_noticed_and_everything_is_heard_again() {
    let mut redis = Redis::start().await.unwrap();
    let (mut one, two) = pair(&redis).await;
    redis.kill().unwrap();
    one.is(|state| !state.is_up()).await;
    // said while nobody hears: dropped, not kept
    one.bus
        .publish(hint(ChannelId::Device(DeviceId(1)), 1))
        .await
        .unwrap();
    redis.start_again().await.unwrap();
    one.is_up().await;
    two.is_up().await;
    for device in 0..40 {
        // all shards
        two.bus
            .publish(hint(ChannelId::Device(DeviceId(device)), 7))
            .await
            .unwrap();
    }
    let mut heard = 0;
    while heard < 40 {
        if matches!(one.hears().await, Inbound::Hint(hint) if hint.seq == Seq(7)) {
            heard += 1;
        }
    }
}

#[tokio::test]
async fn a_frozen_server_is_noticed_by_silence() {
    let mut redis = Redis::start().await.unwrap();
    let (one, two) = pair(&redis).await;
    redis.freeze().unwrap();
    let frozen = Instant::now();
    one.is(|state| state.name() == "deaf").await;
    // 3.5 s is the promise; a busy machine may be late itself
    assert!(
        frozen.elapsed() < Duration::from_secs(6),
        "{:?}",
        frozen.elapsed()
    );
    redis.thaw().unwrap();
    one.is_up().await;
    two.is_up().await;
}

#[tokio::test]
async fn a_user_that_may_not_listen_is_deaf_and_told_why() {
    let redis = Redis::start().await.unwrap();
    let rules = [
        "ACL",
        "SETUSER",
        "hub",
        "on",
        ">secret",
        "resetchannels",
        "&hub:*",
        "-@all",
        "+subscribe",
        "+unsubscribe",
        "+publish",
    ];
    redis.command(&rules).unwrap();
    let one = node(settings(redis.url_as("hub:secret@"), "one"), &[]);
    one.is_up().await;
    redis
        .command(&["ACL", "SETUSER", "hub", "-subscribe"])
        .unwrap();
    redis
        .command(&["CLIENT", "KILL", "TYPE", "pubsub"])
        .unwrap();
    let denied = one
        .is(|state| {
            matches!(
                state,
                BusState::Deaf {
                    reason: Reason::Failed(_)
                }
            )
        })
        .await;
    let refused = |state: &BusState| {
        state
            .reason()
            .unwrap_or_default()
            .contains("cannot subscribe")
    };
    if !refused(&denied) {
        one.is(refused).await;
    }
    redis
        .command(&["ACL", "SETUSER", "hub", "+subscribe"])
        .unwrap();
    one.is_up().await;
    redis
        .command(&["ACL", "SETUSER", "hub", "-publish"])
        .unwrap();
    one.is(|state| {
        matches!(
            state,
            BusState::Deaf {
                reason: Reason::OwnBeacon
            }
        )
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_says_nothing_degrades_until_its_lease_is_over() {
    let redis = Redis::start().await.unwrap();
    let (one, two) = pair(&redis).await;
    drop(two);
    one.is(|state| state.name() != "up").await;
    one.peers.send_replace(Arc::from([]));
    one.is_up().await;
}

#[tokio::test]
async fn rubbish_and_other_hubs_are_not_heard() {
    let redis = Redis::start().await.unwrap();
    let (mut one, _two) = pair(&redis).await;
    let mut other = settings(redis.url(), "one");
    other.epoch = Epoch(8);
    let stranger = node(other, &[]);
    stranger.is_up().await;
    stranger
        .bus
        .publish(hint(ChannelId::Device(DeviceId(1)), 1))
        .await
        .unwrap();
    let shard = one.bus.channels.shard(ChannelId::Device(DeviceId(1)));
    redis.command(&["PUBLISH", &shard, "rubbish"]).unwrap();
    redis.command(&["PUBLISH", &shard, ""]).unwrap();
    redis.command(&["FLUSHALL"]).unwrap();
    let real = hint(ChannelId::Device(DeviceId(1)), 2);
    one.bus.publish(real.clone()).await.unwrap();
    assert_eq!(one.hears().await, Inbound::Hint(real));
    assert!(one.bus.state().borrow().is_up());
}

#[test]
fn a_password_is_not_in_an_error() {
    for url in [
        "redis://hub:secret@",
        "http://hub:secret@host",
        "rediss://hub:secret@:x",
    ] {
        let error = client(&settings(url.to_owned(), "one")).unwrap_err();
        assert!(
            !format!("{error:#} {error:?}").contains("secret"),
            "{error:#}"
        );
    }
}
