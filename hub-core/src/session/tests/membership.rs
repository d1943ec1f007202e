//! Leaving a group, as its channel tells it, and what becomes of commands on a join that is over.

use super::*;
use crate::fanout::{Entry, Left, News};
use hub_proto::tail::Tail;

const GROUP_TOPIC: &str = "group:acme:sensor:field";

/// A member of group 1, which is at position 5.
fn member_of_one() -> Bench {
    let groups = vec![member(1, "field", 0, None)];
    Bench::joined(ACK, Level { groups, ..level() })
}

fn entry(after: i64, seq: i64, news: News) -> Event {
    Event::Entry(Arc::new(Entry {
        group: GroupId(1),
        after: Seq(after),
        seq: Seq(seq),
        news,
    }))
}

fn given(seq: i64) -> Event {
    let number = seq.unsigned_abs().into();
    let command = command(
        number,
        ChannelId::Group(GroupId(1)),
        seq,
        ExecutionState::Queued,
    );
    let tail = Tail::new(GROUP_TOPIC, "reboot", "{}");
    entry(seq - 1, seq, News::Command { command, tail })
}

fn left(device: DeviceId, seq: i64) -> Event {
    let left = Left {
        devices: vec![(device, Seq(seq))],
        more: false,
    };
    entry(5, 5, News::Left(left))
}

/// The topics on which a command was sent, in order.
fn sent(out: &[Effect]) -> Vec<&str> {
    out.iter()
        .filter_map(|effect| match effect {
            Effect::Push {
                on,
                push: Push::Command(_),
            } => Some(&*on.topic),
            Effect::Tail { .. } => Some(GROUP_TOPIC),
            _ => None,
        })
        .collect()
}

#[test]
fn who_left_takes_nothing_that_came_after_even_while_the_store_is_away() {
    let mut bench = member_of_one();
    assert_eq!(bench.step(left(DEVICE, 6)), [Effect::Reconcile]);
    assert_eq!(sent(&bench.step(given(7))), [""; 0]);
    let away = Unavailable {
        retry_after: Duration::from_secs(1),
    };
    bench.step(Event::Reconciled(Err(away)));
    assert_eq!(sent(&bench.step(given(8))), [""; 0]);
    let out = bench.reconciled(level(), vec![]);
    assert!(has(&out, &Effect::Unfollow(GroupId(1))), "{out:?}");
    assert_eq!(sent(&bench.step(given(9))), [""; 0]);
}

#[test]
fn who_came_back_unnoticed_goes_on_from_what_the_store_says() {
    let mut bench = member_of_one();
    bench.step(left(DEVICE, 6));
    let mut back = member(1, "field", 0, None);
    back.head = Seq(8);
    let groups = vec![back];
    let out = bench.reconciled(Level { groups, ..level() }, vec![]);
    let known = Seq(8);
    let group = GroupId(1);
    assert_eq!(
        out,
        [Effect::Follow { group, known }],
        "and is told of nothing"
    );
    assert_eq!(sent(&bench.step(given(9))), [TOPIC]);
}

#[test]
fn the_leave_of_another_or_of_an_earlier_time_changes_nothing() {
    let mut bench = member_of_one();
    assert_eq!(bench.step(left(DeviceId(8), 6)), []);
    assert_eq!(bench.step(left(DEVICE, 5)), []);
    assert_eq!(sent(&bench.step(given(6))), [TOPIC]);
}

#[test]
fn what_was_sent_on_a_join_that_is_over_goes_again_before_what_comes_next() {
    let mut bench = member_of_one();
    let join_group = |reference| {
        let params = DeviceEvent::Join(Box::default());
        frame(GROUP_TOPIC, Some(reference), Some(reference), params)
    };
    bench.step(join_group("2"));
    assert_eq!(sent(&bench.step(given(6))), [GROUP_TOPIC]);
    let out = bench.step(join_group("3"));
    assert_eq!(sent(&out), [GROUP_TOPIC], "the join was replaced");
    assert!(has(&out[..1], &ok(GROUP_TOPIC, Some("3"), Some("3"))));
    let leave = frame(GROUP_TOPIC, Some("3"), Some("4"), DeviceEvent::Leave);
    assert_eq!(sent(&bench.step(leave)), [TOPIC], "the device left");
    bench.push("5", ack(6));
    bench.step(join_group("6"));
    assert_eq!(
        sent(&bench.step(join_group("7"))),
        [""; 0],
        "it is acknowledged"
    );
}
