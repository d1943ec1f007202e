//! Hints, reads and who gets what, with the three laws over arbitrary histories.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for one kind of effect among all"
)]

use super::*;
use hub_proto::cluster::CommandBody;
use hub_proto::id::CommandId;
use hub_proto::time::Timestamp;
use proptest::prelude::*;

const GROUP: GroupId = GroupId(1);

fn fanout() -> Fanout<u32> {
    Fanout::new(GROUP, "group:a:b:c".into())
}

fn step(fanout: &mut Fanout<u32>, event: Event<u32>) -> Vec<Effect<u32>> {
    let mut out = Vec::new();
    fanout.step(event, Instant::now(), &mut out);
    out
}

fn body() -> Option<HintBody> {
    Some(HintBody::Command(CommandBody {
        id: CommandId(uuid::Uuid::from_u128(1)),
        name: "reboot".into(),
        args_json: "{}".into(),
        expires_at: Timestamp::from_unix_micros(0),
    }))
}

fn command(seq: i64) -> PendingCommand {
    PendingCommand {
        id: CommandId(uuid::Uuid::from_u128(seq.unsigned_abs().into())),
        channel: ChannelId::Group(GROUP),
        seq: Seq(seq),
        name: "reboot".into(),
        args: "{}".into(),
        expires_at: Timestamp::from_unix_micros(0),
        state: ExecutionState::Queued,
    }
}

/// A channel at this position with the member 7, after the read it starts with.
fn started(known: i64) -> Fanout<u32> {
    let mut fanout = fanout();
    let known = Seq(known);
    step(&mut fanout, Event::Follow { member: 7, known });
    step(&mut fanout, loaded(known.0, &[]));
    fanout
}

fn loaded(head: i64, commands: &[i64]) -> Event<u32> {
    let commands = commands.iter().map(|seq| command(*seq)).collect();
    Event::Loaded(Loaded {
        head: Some(Seq(head)),
        priority: 0,
        target: None,
        commands,
        more: false,
        left: Left::default(),
    })
}

fn delivered(out: &[Effect<u32>]) -> Vec<(i64, i64)> {
    out.iter()
        .filter_map(|effect| match effect {
            Effect::Deliver(entry) => Some((entry.after.0, entry.seq.0)),
            _ => None,
        })
        .collect()
}

#[test]
fn the_hint_that_continues_what_is_known_costs_no_read() {
    let mut fanout = started(4);
    assert_eq!(
        step(
            &mut fanout,
            Event::Follow {
                member: 8,
                known: Seq(4)
            }
        ),
        [Effect::Followed {
            member: 8,
            head: Seq(4)
        }]
    );
    let out = step(
        &mut fanout,
        Event::Hint {
            seq: Seq(5),
            body: body(),
        },
    );
    assert_eq!(delivered(&out), [(4, 5)]);
    assert_eq!(out.len(), 1);
    assert_eq!(
        step(
            &mut fanout,
            Event::Hint {
                seq: Seq(5),
                body: body()
            }
        ),
        [],
        "a repeat"
    );
}

#[test]
fn a_gap_or_a_bare_hint_causes_one_read_at_a_time() {
    let mut fanout = started(4);
    assert_eq!(
        step(
            &mut fanout,
            Event::Hint {
                seq: Seq(7),
                body: body()
            }
        ),
        [Effect::Load { after: Seq(4) }]
    );
    assert_eq!(
        step(
            &mut fanout,
            Event::Hint {
                seq: Seq(8),
                body: None
            }
        ),
        []
    );
    let out = step(&mut fanout, loaded(7, &[5, 7]));
    assert_eq!(delivered(&out), [(4, 5), (5, 7), (7, 7)]);
    assert_eq!(
        out.last(),
        Some(&Effect::Load { after: Seq(7) }),
        "seq 8 was announced meanwhile"
    );
}

#[test]
fn who_left_is_said_before_what_must_not_reach_them() {
    let mut fanout = started(4);
    let leave = Event::Hint {
        seq: Seq(5),
        body: None,
    };
    step(&mut fanout, leave);
    let Event::Loaded(mut read) = loaded(6, &[6]) else {
        unreachable!("it is one")
    };
    read.left.devices.push((DeviceId(9), Seq(5)));
    let out = step(&mut fanout, Event::Loaded(read));
    assert_eq!(delivered(&out), [(4, 4), (4, 6), (6, 6)]);
    assert!(
        matches!(&out[0], Effect::Deliver(entry) if matches!(&entry.news, News::Left(left)
            if left.may_concern(DeviceId(9), Seq(4)) && !left.may_concern(DeviceId(9), Seq(5))
                && !left.may_concern(DeviceId(8), Seq(4))))
    );
}

#[test]
fn leaves_that_are_too_many_to_name_concern_everybody() {
    let many = Left {
        devices: vec![],
        more: true,
    };
    assert!(many.may_concern(DeviceId(1), Seq(9)));
}

#[test]
fn a_failed_read_is_tried_again_later() {
    let mut fanout = started(4);
    let now = Instant::now();
    step(
        &mut fanout,
        Event::Hint {
            seq: Seq(5),
            body: None,
        },
    );
    let mut out = Vec::new();
    fanout.step(Event::LoadFailed, now, &mut out);
    assert_eq!((out.len(), fanout.deadline()), (0, Some(now + RETRY_MIN)));
    fanout.step(Event::Deadline, now + RETRY_MIN, &mut out);
    assert_eq!(out, [Effect::Load { after: Seq(4) }]);
}

#[test]
fn a_deleted_group_is_news_for_everybody() {
    let mut fanout = started(4);
    step(
        &mut fanout,
        Event::Hint {
            seq: Seq(5),
            body: None,
        },
    );
    let gone = Loaded {
        head: None,
        priority: 0,
        target: None,
        commands: vec![],
        more: false,
        left: Left::default(),
    };
    let out = step(&mut fanout, Event::Loaded(gone));
    assert!(matches!(&out[0], Effect::Deliver(entry) if matches!(entry.news, News::Gone)));
}

#[test]
fn the_last_member_leaves_an_empty_channel() {
    let mut fanout = started(4);
    assert_eq!(step(&mut fanout, Event::Unfollow(8)), []);
    assert_eq!(step(&mut fanout, Event::Unfollow(7)), [Effect::Empty]);
    assert_eq!(
        step(
            &mut fanout,
            Event::Hint {
                seq: Seq(9),
                body: None
            }
        ),
        [],
        "nobody to read for"
    );
}

#[test]
fn a_channel_that_starts_reads_what_was_announced_before_it_was_there() {
    let mut fanout = fanout();
    let out = step(
        &mut fanout,
        Event::Follow {
            member: 7,
            known: Seq(4),
        },
    );
    assert!(out.contains(&Effect::Load { after: Seq(4) }), "{out:?}");
}

#[test]
fn what_was_announced_while_nobody_was_there_is_read_for_the_next_member() {
    let mut fanout = started(4);
    let follow = |known| Event::Follow {
        member: 7,
        known: Seq(known),
    };
    step(&mut fanout, Event::Unfollow(7));
    let hint = Event::Hint {
        seq: Seq(5),
        body: None,
    };
    assert_eq!(step(&mut fanout, hint), []);
    let out = step(&mut fanout, follow(4));
    assert!(out.contains(&Effect::Load { after: Seq(4) }), "{out:?}");
}

#[test]
fn case_96_a_hint_far_beyond_the_head_causes_one_read() {
    let mut fanout = started(4);
    let hint = Event::Hint {
        seq: Seq(i64::MAX),
        body: None,
    };
    assert_eq!(step(&mut fanout, hint), [Effect::Load { after: Seq(4) }]);
    let out = step(&mut fanout, loaded(4, &[]));
    assert!(
        !out.iter().any(|e| matches!(e, Effect::Load { .. })),
        "{out:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Total, deterministic, bounded; and entries always continue each other.
    #[test]
    fn laws(history in prop::collection::vec((0..6_u8, 0..40_i64, any::<bool>()), 0..60)) {
        let (mut one, mut two) = (fanout(), fanout());
        let mut head: Option<i64> = None;
        for (kind, n, flag) in history {
            let make = || match kind {
                0 => Event::Follow { member: 1, known: Seq(n) },
                1 => Event::Unfollow(1),
                2 => Event::Hint { seq: Seq(n), body: if flag { body() } else { None } },
                3 => loaded(n, &[n - 1, n]),
                4 => Event::LoadFailed,
                _ => Event::Deadline,
            };
            let now = Instant::now();
            let (mut first, mut second) = (Vec::new(), Vec::new());
            one.step(make(), now, &mut first);
            two.step(make(), now, &mut second);
            prop_assert_eq!(&first, &second);
            prop_assert!(first.len() <= 5);
            for (after, seq) in delivered(&first) {
                prop_assert!(after <= seq);
                prop_assert!(head.is_none_or(|head| head == after), "a hole between {:?} and {}", head, after);
                head = Some(seq);
            }
        }
    }
}
