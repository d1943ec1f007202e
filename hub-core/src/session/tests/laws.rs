//! The three laws of every machine, over arbitrary histories: total, deterministic, bounded.

use super::*;
use crate::fanout::News;
use crate::limits::{CHANNELS_MAX, REPORTS_IN_FLIGHT_MAX, UNACKED_COMMANDS_MAX};
use hub_proto::event::Progress;
use proptest::prelude::*;

fn topics() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "phoenix",
        TOPIC,
        "device",
        "group:acme:sensor:g1",
        "group:acme:sensor:g2",
        "group:x:y:z",
        "junk",
    ])
}

fn refs() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![None, Some("1"), Some("2"), Some("3")])
}

fn device_events() -> impl Strategy<Value = DeviceEvent> {
    prop_oneof![
        any::<bool>().prop_map(|ack| DeviceEvent::Join(Box::new(params(Capabilities {
            ack,
            groups: true
        })))),
        Just(DeviceEvent::Leave),
        Just(DeviceEvent::Heartbeat),
        Just(DeviceEvent::Rebooting),
        Just(DeviceEvent::Unknown),
        (0..=100_u8).prop_map(|value| DeviceEvent::Progress(Progress {
            value,
            stage: None,
            offer: None
        })),
        (0..6_u128).prop_map(ack),
    ]
}

fn levels() -> impl Strategy<Value = Level> {
    (
        0..30_i64,
        prop::option::of(0..3_i64),
        prop::collection::vec(0..4_i64, 0..3),
    )
        .prop_map(|(head, wanted, groups)| Level {
            head: Seq(head),
            target: wanted.map(|n| target(&format!("t{n}"), n)),
            groups: {
                let mut groups = groups;
                groups.sort_unstable();
                groups.dedup();
                groups
                    .into_iter()
                    .map(|n| member(n, &format!("g{n}"), 0, None))
                    .collect()
            },
            ..level()
        })
}

fn pending() -> impl Strategy<Value = Vec<PendingCommand>> {
    prop::collection::vec((0..40_u128, 0..30_i64), 0..40)
        .prop_map(|ids| ids.into_iter().map(|(n, seq)| own(n, seq)).collect())
}

/// An event together with a pause before it; numbers of answers are guesses, some of which are right.
fn events() -> impl Strategy<Value = (Duration, Step)> {
    let event = prop_oneof![
        4 => (topics(), refs(), refs(), device_events()).prop_map(|(t, j, r, e)| Step::Frame(t, j, r, e)),
        2 => (1..8_u32, levels(), pending()).prop_map(|(a, l, p)| Step::Attached(a, l, p)),
        2 => (levels(), pending(), any::<bool>()).prop_map(|(l, p, more)| Step::Reconciled(l, p, more)),
        1 => prop::collection::vec(0..40_u128, 0..4).prop_map(Step::Claimed),
        1 => (1..30_u32, 0..4_u8).prop_map(|(r, o)| Step::Recorded(r, o)),
        1 => (0..40_i64).prop_map(Step::Hint),
        1 => (0..4_i64, 0..20_i64, 0..3_i64).prop_map(|(g, seq, n)| Step::State(g, seq, n)),
        1 => (0..11_u8).prop_map(Step::Plain),
    ];
    (
        prop::sample::select(vec![0, 0, 0, 1, 50, 600, 11_000, 45_000])
            .prop_map(Duration::from_millis),
        event,
    )
}

#[derive(Clone, Debug)]
enum Step {
    Frame(
        &'static str,
        Option<&'static str>,
        Option<&'static str>,
        DeviceEvent,
    ),
    Attached(u32, Level, Vec<PendingCommand>),
    Reconciled(Level, Vec<PendingCommand>, bool),
    Claimed(Vec<u128>),
    Recorded(u32, u8),
    Hint(i64),
    State(i64, i64, i64),
    Plain(u8),
}

fn event(step: Step) -> Event {
    let gone = Unavailable {
        retry_after: Duration::from_secs(1),
    };
    match step {
        Step::Frame(topic, join_ref, reference, event) => frame(topic, join_ref, reference, event),
        Step::Attached(attempt, level, pending) => Event::Attached {
            attempt,
            outcome: Ok(Attached {
                generation: ConnGen(i64::from(attempt)),
                reconciled: Reconciled {
                    level,
                    pending,
                    more: attempt % 2 == 0,
                },
            }),
        },
        Step::Reconciled(level, pending, more) => Event::Reconciled(Ok(Reconciled {
            level,
            pending,
            more,
        })),
        Step::Claimed(ids) => Event::Claimed(Ok(ids
            .into_iter()
            .map(|n| CommandId(uuid::Uuid::from_u128(n)))
            .collect())),
        Step::Recorded(receipt, outcome) => Event::Recorded {
            receipt,
            outcome: [
                Recorded::Done,
                Recorded::NotFound,
                Recorded::Fenced,
                Recorded::Unavailable(gone),
            ][outcome as usize % 4],
        },
        Step::Hint(seq) => Event::Hint {
            seq: Seq(seq),
            body: None,
        },
        Step::State(group, seq, n) => {
            let news = News::State {
                priority: 0,
                target: Some(target(&format!("t{n}"), n)),
            };
            Event::Entry(Arc::new(Entry {
                group: GroupId(group),
                after: Seq(seq - 1),
                seq: Seq(seq),
                news,
            }))
        }
        Step::Plain(n) => match n {
            0 => Event::Pinged,
            1 => Event::Ponged(Some(3)),
            2 => Event::Lagged,
            3 => Event::Recheck,
            4 => Event::Refollow(GroupId(1)),
            5 => Event::Malformed {
                to: None,
                code: "bad_request",
            },
            6 => Event::Claimed(Err(gone)),
            7 => Event::Reconciled(Err(gone)),
            8 => Event::Challenged(ConnGen(3)),
            9 => Event::Superseded,
            _ => Event::Deadline,
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn total_deterministic_and_bounded(history in prop::collection::vec(events(), 0..80)) {
        let mut one = Bench::new();
        let mut two = Bench { session: one.session.clone(), now: one.now };
        for (pause, step) in history {
            one.now += pause;
            two.now += pause;
            let (first, second) = (one.step(event(step.clone())), two.step(event(step)));
            prop_assert_eq!(&first, &second, "deterministic");
            // A reply, a restart or a push for each channel, a send for each command, and a little around them.
            prop_assert!(first.len() <= 3 * CHANNELS_MAX + 2 * UNACKED_COMMANDS_MAX + 16, "bounded: {}", first.len());
            prop_assert!(one.session.in_flight.len() <= REPORTS_IN_FLIGHT_MAX);
            prop_assert!(one.session.channels.len() + one.session.joining.len() <= CHANNELS_MAX);
            if let Some(at) = first.iter().position(|e| matches!(e, Effect::Close(_))) {
                prop_assert_eq!(at, first.len() - 1, "nothing follows a close");
                prop_assert!(one.session.is_closed());
            }
        }
    }
}
