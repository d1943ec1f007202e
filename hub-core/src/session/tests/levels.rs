//! Targets and groups: what the store says, and what the device hears of it.

use super::*;
use crate::fanout::News;
use crate::level::Offers;
use crate::limits::OFFER_PENALTY_MIN;
use hub_proto::event::{StatusUpdate, UpdateStatus};
use hub_proto::push::FirmwareUpdate;

fn offers(out: &[Effect]) -> Vec<&str> {
    out.iter()
        .filter_map(|effect| match effect {
            Effect::Push {
                push: Push::Offer { target, .. },
                ..
            } => Some(&*target.uuid),
            _ => None,
        })
        .collect()
}

fn state(after: i64, seq: i64, target: Option<Arc<Target>>) -> Event {
    let news = News::State {
        priority: 0,
        target,
    };
    Event::Entry(Arc::new(Entry {
        group: GroupId(1),
        after: Seq(after),
        seq: Seq(seq),
        news,
    }))
}

#[test]
fn nothing_is_offered_to_a_device_that_runs_its_target() {
    let bench = Bench::joined(
        ACK,
        Level {
            target: Some(target("AAAA", 1)),
            ..level()
        },
    );
    assert!(bench.session.offered.is_none());
}

#[test]
fn a_groups_new_target_is_offered_once() {
    let mut bench = Bench::joined(
        ACK,
        Level {
            groups: vec![member(1, "field", 0, None)],
            ..level()
        },
    );
    assert_eq!(
        offers(&bench.step(state(5, 6, Some(target("bbbb", 6))))),
        ["bbbb"]
    );
    assert_eq!(
        offers(&bench.step(state(6, 6, Some(target("bbbb", 6))))),
        [""; 0]
    );
    assert_eq!(
        offers(&bench.step(state(6, 7, Some(target("cccc", 7))))),
        ["cccc"]
    );
}

#[test]
fn an_offer_goes_to_the_groups_channel_if_the_device_joined_it() {
    let mut bench = Bench::joined(
        ACK,
        Level {
            groups: vec![member(1, "field", 0, None)],
            ..level()
        },
    );
    bench.step(join(
        "group:acme:sensor:field",
        Some("2"),
        Some("2"),
        LEGACY,
    ));
    let out = bench.step(state(5, 6, Some(target("bbbb", 6))));
    assert!(out.iter().any(|e| matches!(e, Effect::Push { on, .. } if *on == subscription("group:acme:sensor:field", "2"))));
}

#[test]
fn the_devices_own_target_hides_its_groups() {
    let mut bench = Bench::joined(
        ACK,
        Level {
            target: Some(target("bbbb", 1)),
            groups: vec![member(1, "field", 9, None)],
            ..level()
        },
    );
    assert_eq!(
        offers(&bench.step(state(5, 6, Some(target("cccc", 6))))),
        [""; 0]
    );
}

#[test]
fn nothing_is_offered_to_a_device_that_is_downloading_its_target_until_that_fails() {
    let mut bench = Bench::new();
    let params = JoinParams {
        currently_downloading: Some("BBBB".into()),
        ..params(ACK)
    };
    let join = frame(
        TOPIC,
        Some("1"),
        Some("1"),
        DeviceEvent::Join(Box::new(params)),
    );
    let attempt = attempt_of(&bench.step(join));
    let wanted = Level {
        target: Some(target("bbbb", 1)),
        ..level()
    };
    assert_eq!(
        offers(&bench.attach(attempt, wanted.clone(), vec![])),
        [""; 0]
    );
    let failed = StatusUpdate::new(UpdateStatus::Failed, None);
    assert!(
        bench
            .push("2", DeviceEvent::StatusUpdate(failed))
            .contains(&Effect::Reconcile)
    );
    assert_eq!(offers(&bench.reconciled(wanted, vec![])), ["bbbb"]);
}

#[test]
fn case_73_a_device_that_took_three_offers_in_vain_waits_longer_and_longer() {
    let mut bench = Bench::new();
    let attempt = attempt_of(&bench.step(join(TOPIC, Some("1"), Some("1"), ACK)));
    let given = Offers {
        channel: ChannelId::Device(DEVICE),
        revision: Seq(1),
        count: 3,
        ago: Duration::ZERO,
    };
    let wanted = Level {
        target: Some(target("bbbb", 1)),
        offers: Some(given),
        ..level()
    };
    assert_eq!(
        offers(&bench.attach(attempt, wanted.clone(), vec![])),
        [""; 0]
    );
    bench.step(Event::Pinged);
    let mut out = Vec::new();
    while !out.contains(&Effect::Reconcile) {
        bench.step(Event::Pinged);
        out = bench.after(OFFER_PENALTY_MIN / 4);
    }
    let later = Level {
        offers: Some(Offers {
            ago: OFFER_PENALTY_MIN,
            ..given
        }),
        ..wanted
    };
    assert_eq!(offers(&bench.reconciled(later, vec![])), ["bbbb"]);
}

#[test]
fn joining_and_leaving_a_group_while_connected_is_told_on_the_device_channel() {
    let mut bench = Bench::joined(ACK, level());
    assert_eq!(
        bench.step(Event::Hint {
            seq: Seq(11),
            body: None
        }),
        [Effect::Reconcile]
    );
    let with = Level {
        head: Seq(11),
        groups: vec![member(1, "field", 0, None)],
        ..level()
    };
    let out = bench.reconciled(with, vec![]);
    let channel = "group:acme:sensor:field".to_owned();
    assert_eq!(
        out,
        [
            Effect::Follow {
                group: GroupId(1),
                known: Seq(5)
            },
            Effect::Push {
                on: subscription(TOPIC, "1"),
                push: Push::Join {
                    channel: channel.clone()
                }
            },
        ]
    );
    bench.step(Event::Hint {
        seq: Seq(12),
        body: None,
    });
    let out = bench.reconciled(
        Level {
            head: Seq(12),
            ..level()
        },
        vec![],
    );
    assert_eq!(
        out,
        [
            Effect::Unfollow(GroupId(1)),
            Effect::Push {
                on: subscription(TOPIC, "1"),
                push: Push::Leave { channel }
            },
        ]
    );
}

#[test]
fn a_deleted_group_sends_leave_to_its_members() {
    let mut bench = Bench::joined(
        ACK,
        Level {
            groups: vec![member(1, "field", 0, None)],
            ..level()
        },
    );
    let gone = Entry {
        group: GroupId(1),
        after: Seq(5),
        seq: Seq(6),
        news: News::Gone,
    };
    let out = bench.step(Event::Entry(Arc::new(gone)));
    assert!(out.iter().any(|e| matches!(
        e,
        Effect::Push {
            push: Push::Leave { .. },
            ..
        }
    )));
}

#[test]
fn a_hint_that_came_during_the_join_causes_another_look() {
    let mut bench = Bench::new();
    let attempt = attempt_of(&bench.step(join(TOPIC, Some("1"), Some("1"), ACK)));
    bench.step(Event::Hint {
        seq: Seq(11),
        body: None,
    });
    assert_eq!(
        bench.attach(attempt, level(), vec![]).last(),
        Some(&Effect::Reconcile)
    );
}

#[test]
fn an_old_hint_is_ignored_and_a_group_that_is_ahead_is_caught_up() {
    let mut bench = Bench::joined(
        ACK,
        Level {
            groups: vec![member(1, "field", 0, None)],
            ..level()
        },
    );
    assert_eq!(
        bench.step(Event::Hint {
            seq: Seq(10),
            body: None
        }),
        []
    );
    assert_eq!(
        bench.step(Event::Followed {
            group: GroupId(1),
            head: Seq(5)
        }),
        []
    );
    assert_eq!(
        bench
            .step(Event::Followed {
                group: GroupId(1),
                head: Seq(6)
            })
            .last(),
        Some(&Effect::Reconcile)
    );
}

fn gone(after: i64) -> Event {
    Event::Entry(Arc::new(Entry {
        group: GroupId(1),
        after: Seq(after),
        seq: Seq(after + 1),
        news: News::Gone,
    }))
}

#[test]
fn a_read_that_is_older_than_a_groups_news_does_not_bring_the_old_target_back() {
    let was = Level {
        groups: vec![member(1, "field", 0, Some(target("bbbb", 4)))],
        ..level()
    };
    let mut bench = Bench::joined(ACK, was.clone());
    bench.step(Event::Recheck);
    let mut told = bench.step(state(5, 6, Some(target("cccc", 6))));
    let out = bench.reconciled(was, vec![]);
    assert!(out.contains(&Effect::Reconcile), "{out:?}");
    told.extend(out);
    let mut now = member(1, "field", 0, Some(target("cccc", 6)));
    now.head = Seq(6);
    told.extend(bench.reconciled(
        Level {
            groups: vec![now],
            ..level()
        },
        vec![],
    ));
    assert_eq!(offers(&told), ["cccc"]);
}

#[test]
fn a_read_that_is_older_than_a_groups_end_does_not_bring_the_group_back() {
    let was = Level {
        groups: vec![member(1, "field", 0, None)],
        ..level()
    };
    let mut bench = Bench::joined(ACK, was.clone());
    bench.step(Event::Recheck);
    bench.step(gone(5));
    let out = bench.reconciled(was, vec![]);
    assert!(out.contains(&Effect::Reconcile), "{out:?}");
    bench.reconciled(level(), vec![]);
    assert_eq!(bench.session.group_topic(GroupId(1)), None);
}

#[test]
fn what_a_deleted_group_still_owes_is_read() {
    let groups = vec![member(1, "field", 0, None)];
    let mut bench = Bench::joined(ACK, Level { groups, ..level() });
    assert!(bench.step(gone(5)).contains(&Effect::Reconcile));
}

#[test]
fn the_answer_to_a_read_of_an_earlier_join_says_nothing_to_a_later_one() {
    let mut bench = Bench::joined(ACK, level());
    assert_eq!(bench.step(Event::Recheck), [Effect::Reconcile]);
    let attempt = attempt_of(&bench.step(join(TOPIC, Some("1"), Some("8"), ACK)));
    let groups = vec![member(1, "field", 0, None)];
    let with = Level {
        head: Seq(11),
        groups,
        ..level()
    };
    bench.attach(attempt, with.clone(), vec![]);
    let mut asked = bench.step(Event::Hint {
        seq: Seq(12),
        body: None,
    });
    let stale = bench.reconciled(level(), vec![]);
    assert!(
        !stale
            .iter()
            .any(|e| matches!(e, Effect::Push { .. } | Effect::Unfollow(_))),
        "{stale:?}"
    );
    asked.extend(stale);
    assert!(asked.contains(&Effect::Reconcile));
    bench.reconciled(
        Level {
            head: Seq(12),
            ..with
        },
        vec![],
    );
    assert_eq!(bench.session.device_known, Seq(12));
    assert!(!bench.session.reconciling);
}

#[test]
fn case_72_a_report_about_another_update_is_acknowledged_and_changes_nothing() {
    let wanted = Level {
        target: Some(target("bbbb", 7)),
        ..level()
    };
    let mut bench = Bench::joined(ACK, wanted);
    let offer = |revision| FirmwareUpdate::id_of(DEVICE, ChannelId::Device(DEVICE), Seq(revision));
    let report = |status, offer| DeviceEvent::StatusUpdate(StatusUpdate::new(status, offer));
    let ignored = Effect::Note(Note::Ignored("another_update"));
    let ok = |reference| Effect::Reply {
        to: address(TOPIC, Some("1"), Some(reference)),
        answer: Answer::Ok,
    };
    let old = bench.push("2", report(UpdateStatus::Completed, Some(offer(6))));
    assert_eq!(old, [ignored.clone(), ok("2")]);
    // One that failed makes room for the wanted one.
    let old = bench.push("3", report(UpdateStatus::Failed, Some(offer(6))));
    assert_eq!(old, [ignored, ok("3"), Effect::Reconcile]);
    // The wanted one, and reports that do not say, are recorded.
    for (reference, said) in [("4", Some(offer(7))), ("5", None)] {
        let out = bench.push(reference, report(UpdateStatus::Started, said));
        assert!(
            matches!(out[..], [Effect::Record { .. }]),
            "{reference}: {out:?}"
        );
    }
}
