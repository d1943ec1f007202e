//! What is heard, and what follows.

use proptest::prelude::*;

use super::*;

struct Bench {
    health: BusHealth,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            health: BusHealth::new("me".into(), now),
            now,
        }
    }

    /// Connected, with these peers, and everything heard.
    fn up(peers: &[&str]) -> Self {
        let mut bench = Self::new();
        bench.step(Event::Peers(
            peers.iter().map(|name| (*name).into()).collect(),
        ));
        bench.step(Event::Connected);
        bench.hear(&[&["me"], peers].concat());
        assert!(bench.health.state().is_up(), "{:?}", bench.health);
        bench
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        self.health.step(event, self.now, &mut out);
        out
    }

    fn hear(&mut self, names: &[&str]) -> Vec<Effect> {
        let heard = names
            .iter()
            .flat_map(|name| self.step(Event::Heard((*name).into())));
        heard.collect()
    }

    /// Lets time pass in steps of a second, hearing these names each second.
    fn pass(&mut self, seconds: u64, names: &[&str]) -> Vec<Effect> {
        let mut out = Vec::new();
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            out.extend(self.hear(names));
            out.extend(self.step(Event::Deadline));
        }
        out
    }

    fn reason(&self) -> Reason {
        match self.health.state().clone() {
            BusState::Up => panic!("the bus is up"),
            BusState::Degraded { reason } | BusState::Deaf { reason } => reason,
        }
    }
}

#[test]
fn it_is_up_once_itself_and_all_peers_are_heard() {
    let mut bench = Bench::new();
    bench.step(Event::Peers(vec!["a".into(), "b".into()]));
    assert_eq!(bench.step(Event::Connected), [Effect::Beacon]);
    assert_eq!(bench.reason(), Reason::OwnBeacon);
    assert_eq!(bench.hear(&["me"]), []);
    assert_eq!(bench.health.state().name(), "degraded");
    bench.hear(&["a"]);
    assert_eq!(bench.reason(), Reason::Peer("b".into()));
    assert_eq!(bench.hear(&["b"]), [Effect::Reconcile]);
    assert!(bench.health.state().is_up());
}

#[test]
fn alone_it_needs_only_itself() {
    Bench::up(&[]);
}

#[test]
fn silence_is_noticed_in_three_seconds_and_answered_by_a_new_connection() {
    let mut bench = Bench::up(&["a"]);
    let out = bench.pass(2, &[]);
    assert!(bench.health.state().is_up() && !out.contains(&Effect::Connect));
    bench.pass(1, &[]);
    assert_eq!(bench.health.state().name(), "deaf");
    assert_eq!(bench.reason(), Reason::OwnBeacon);
    assert!(bench.pass(1, &[]).contains(&Effect::Connect));
}

#[test]
fn one_silent_peer_among_others_costs_no_connection() {
    let mut bench = Bench::up(&["a", "b"]);
    let out = bench.pass(4, &["me", "a"]);
    assert_eq!(bench.health.state().name(), "degraded");
    assert_eq!(bench.reason(), Reason::Peer("b".into()));
    assert!(!out.contains(&Effect::Connect));
    // its lease is over
    bench.step(Event::Peers(vec!["a".into()]));
    assert!(bench.health.state().is_up());
}

#[test]
fn no_peer_heard_at_all_is_another_server() {
    let mut bench = Bench::up(&["a", "b"]);
    let out = bench.pass(4, &["me"]);
    assert!(out.contains(&Effect::Connect), "{out:?}");
}

#[test]
fn a_new_peer_has_time_to_speak() {
    let mut bench = Bench::up(&["a"]);
    bench.step(Event::Peers(vec!["a".into(), "b".into()]));
    bench.pass(2, &["me", "a"]);
    assert!(bench.health.state().is_up());
    bench.pass(2, &["me", "a"]);
    assert_eq!(bench.reason(), Reason::Peer("b".into()));
}

#[test]
fn a_refusal_is_told_and_tried_again_with_pauses() {
    let mut bench = Bench::new();
    let mut tries = 0;
    for _ in 0..60 {
        for effect in bench.pass(1, &[]) {
            assert_eq!(effect, Effect::Connect);
            tries += 1;
            bench.step(Event::Failed("denied".into()));
        }
    }
    assert_eq!(bench.health.state().reason().unwrap(), "denied");
    assert!((8..=20).contains(&tries), "{tries}");
}

fn events() -> impl Strategy<Value = (u64, Event)> {
    let name = prop_oneof![Just("me"), Just("a"), Just("b"), Just("c")];
    let event = prop_oneof![
        2 => Just(Event::Connected),
        1 => Just(Event::Failed("x".into())),
        6 => name.prop_map(|name| Event::Heard(name.into())),
        1 => prop::sample::subsequence(vec!["me", "a", "b"], 0..=3)
            .prop_map(|names| Event::Peers(names.into_iter().map(Into::into).collect())),
        4 => Just(Event::Deadline),
    ];
    (0..1500_u64, event)
}

proptest! {
    /// Up means: connected, and itself and every peer heard within the last three seconds or about to be.
    #[test]
    fn up_is_never_said_in_silence(history in prop::collection::vec(events(), 0..100)) {
        let mut bench = Bench::new();
        let mut own = None;
        for (pause, event) in history {
            bench.now += Duration::from_millis(pause);
            match &event {
                Event::Heard(name) if &**name == "me" => own = Some(bench.now),
                Event::Connected | Event::Failed(_) => own = None,
                Event::Heard(_) | Event::Peers(_) | Event::Deadline => {}
            }
            let out = bench.step(event);
            prop_assert!(out.len() <= 3);
            if bench.health.state().is_up() {
                let heard = own.map(|at| bench.now.saturating_duration_since(at));
                prop_assert!(heard.is_some_and(|ago| ago < BEACON_MISSING_MAX), "{heard:?}");
            }
        }
    }
}
