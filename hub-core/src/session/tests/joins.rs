//! Joins, leaves, refs, and who is answered.

use super::*;
use crate::limits::CHANNELS_MAX;

#[test]
fn the_reply_lists_the_groups_and_precedes_the_offer_and_the_commands() {
    let mut bench = Bench::new();
    let attempt = attempt_of(&bench.step(join(TOPIC, Some("1"), Some("2"), ACK)));
    let wanted = target("bbbb", 4);
    let level = Level {
        groups: vec![member(1, "field", 0, Some(wanted.clone()))],
        ..level()
    };
    let out = bench.attach(attempt, level, vec![own(1, 9)]);
    assert_eq!(
        out,
        [
            Effect::Reply {
                to: address(TOPIC, Some("1"), Some("2")),
                answer: Answer::Groups(vec!["group:acme:sensor:field".into()])
            },
            Effect::Follow {
                group: GroupId(1),
                known: Seq(5)
            },
            Effect::Push {
                on: subscription(TOPIC, "1"),
                push: Push::Offer {
                    channel: ChannelId::Group(GroupId(1)),
                    target: wanted
                }
            },
            Effect::Record {
                report: Report::Offered {
                    channel: ChannelId::Group(GroupId(1)),
                    revision: Seq(4)
                },
                receipt: None
            },
            Effect::Push {
                on: subscription(TOPIC, "1"),
                push: Push::Command(own(1, 9))
            },
        ]
    );
}

#[test]
fn the_topic_says_what_runs_when_the_payload_does_not() {
    let running = "8a5c1cd0-0f7c-4a8e-9a0e-2f2f6d5f4f4c";
    let topic = format!("device:{running}");
    let mut bench = Bench::new();
    let attempt = attempt_of(&bench.step(frame(
        &topic,
        Some("1"),
        Some("1"),
        DeviceEvent::Join(Box::default()),
    )));
    let level = Level {
        target: Some(target(running, 1)),
        ..level()
    };
    let out = bench.attach(attempt, level, vec![]);
    assert!(
        !out.iter().any(|e| matches!(
            e,
            Effect::Push {
                push: Push::Offer { .. },
                ..
            }
        )),
        "{out:?}"
    );
}

#[test]
fn a_join_without_join_ref_is_remembered_under_its_ref() {
    let mut bench = Bench::new();
    let attempt = attempt_of(&bench.step(join(TOPIC, None, Some("5"), ACK)));
    let out = bench.attach(
        attempt,
        Level {
            target: Some(target("bbbb", 1)),
            ..level()
        },
        vec![],
    );
    assert!(
        out.iter()
            .any(|e| matches!(e, Effect::Push { on, .. } if *on == subscription(TOPIC, "5"))),
        "{out:?}"
    );
    let out = bench.step(frame(TOPIC, Some("5"), Some("6"), DeviceEvent::Rebooting));
    assert!(matches!(
        out[0],
        Effect::Record {
            report: Report::Rebooting,
            ..
        }
    ));
}

#[test]
fn a_stale_join_ref_is_ignored_and_a_missing_one_passes() {
    let mut bench = Bench::joined(ACK, level());
    let out = bench.step(frame(TOPIC, Some("99"), Some("6"), DeviceEvent::Rebooting));
    assert_eq!(out, [Effect::Note(Note::Ignored("stale_join_ref"))]);
    let out = bench.step(frame(TOPIC, None, Some("6"), DeviceEvent::Rebooting));
    assert!(matches!(out[0], Effect::Record { .. }));
}

#[test]
fn a_new_join_replaces_the_old_one_and_closes_nothing() {
    let mut bench = Bench::joined(
        ACK,
        Level {
            groups: vec![member(1, "field", 0, None)],
            ..level()
        },
    );
    let out = bench.step(join(TOPIC, Some("8"), Some("8"), ACK));
    assert_eq!(
        out[..2],
        [
            Effect::Unfollow(GroupId(1)),
            Effect::Record {
                report: Report::Detach(ConnGen(3)),
                receipt: None
            }
        ]
    );
    assert!(matches!(out[2], Effect::Attach { .. }));
    assert_eq!(
        out.len(),
        3,
        "no phx_close: some clients would never join again"
    );
}

#[test]
fn a_leave_is_acknowledged_then_the_channel_is_closed() {
    let mut bench = Bench::joined(ACK, level());
    let out = bench.step(frame(TOPIC, Some("1"), Some("9"), DeviceEvent::Leave));
    assert_eq!(
        out,
        [
            ok(TOPIC, Some("1"), Some("9")),
            Effect::Record {
                report: Report::Detach(ConnGen(3)),
                receipt: None
            },
            Effect::Push {
                on: subscription(TOPIC, "1"),
                push: Push::Closed
            },
        ]
    );
    assert_eq!(bench.session.generation(), None);
}

#[test]
fn a_stale_leave_is_acknowledged_and_leaves_nothing() {
    let mut bench = Bench::joined(ACK, level());
    let out = bench.step(frame(TOPIC, Some("0"), Some("9"), DeviceEvent::Leave));
    assert_eq!(out, [ok(TOPIC, Some("0"), Some("9"))]);
    assert!(bench.session.generation().is_some());
}

#[test]
fn case_67_a_leave_while_the_join_runs_ends_as_left_without_a_ghost() {
    let mut bench = Bench::new();
    let attempt = attempt_of(&bench.step(join(TOPIC, Some("1"), Some("1"), ACK)));
    let out = bench.step(frame(TOPIC, Some("1"), Some("2"), DeviceEvent::Leave));
    assert_eq!(
        out,
        [
            ok(TOPIC, Some("1"), Some("2")),
            Effect::Push {
                on: subscription(TOPIC, "1"),
                push: Push::Closed
            }
        ]
    );
    let out = bench.attach(attempt, level(), vec![]);
    assert_eq!(
        out,
        [Effect::Record {
            report: Report::Detach(ConnGen(3)),
            receipt: None
        }]
    );
}

#[test]
fn heartbeats_are_always_answered() {
    let mut bench = Bench::joined(LEGACY, level());
    let out = bench.step(frame("phoenix", None, Some("4"), DeviceEvent::Heartbeat));
    assert_eq!(out, [ok("phoenix", None, Some("4"))]);
}

#[test]
fn a_device_without_acks_is_never_answered_once_it_joined() {
    let mut bench = Bench::joined(LEGACY, level());
    for event in [DeviceEvent::Rebooting, DeviceEvent::Unknown, ack(1)] {
        let out = bench.push("7", event);
        assert!(
            !out.iter().any(|e| matches!(e, Effect::Reply { .. })),
            "{out:?}"
        );
    }
    let out = bench.step(frame(
        "nonsense",
        Some("1"),
        Some("7"),
        DeviceEvent::Rebooting,
    ));
    assert_eq!(out, [Effect::Note(Note::Ignored("unknown_topic"))]);
}

#[test]
fn a_push_before_any_join_is_told_so() {
    let mut bench = Bench::new();
    let out = bench.push("7", DeviceEvent::Rebooting);
    assert!(has(&out, &error(TOPIC, Some("1"), Some("7"), "not_joined")));
}

#[test]
fn a_report_is_answered_after_its_commit_and_not_before() {
    let mut bench = Bench::joined(ACK, level());
    let out = bench.push("7", DeviceEvent::Rebooting);
    assert!(!out.iter().any(|e| matches!(e, Effect::Reply { .. })));
    let out = bench.step(Event::Recorded {
        receipt: receipt_of(&out),
        outcome: Recorded::Done,
    });
    assert_eq!(out, [ok(TOPIC, Some("1"), Some("7"))]);
}

#[test]
fn case_65_a_ref_in_flight_is_a_duplicate() {
    let mut bench = Bench::joined(ACK, level());
    bench.push("7", DeviceEvent::Rebooting);
    let out = bench.push("7", DeviceEvent::Rebooting);
    assert!(has(
        &out,
        &error(TOPIC, Some("1"), Some("7"), "duplicate_ref")
    ));
}

#[test]
fn a_store_that_is_away_keeps_the_socket_and_says_when_to_come_back() {
    let mut bench = Bench::new();
    let attempt = attempt_of(&bench.step(join(TOPIC, Some("1"), Some("1"), ACK)));
    let retry_after = Duration::from_secs(2);
    let out = bench.step(Event::Attached {
        attempt,
        outcome: Err(Unavailable { retry_after }.into()),
    });
    assert_eq!(
        out,
        [Effect::Reply {
            to: address(TOPIC, Some("1"), Some("1")),
            answer: Answer::Error {
                reason: "unavailable",
                retry_after: Some(retry_after)
            },
        }]
    );
    assert!(!bench.session.is_closed());
    attempt_of(&bench.step(join(TOPIC, Some("2"), Some("2"), ACK)));
}

#[test]
fn a_group_is_joined_at_once_when_the_membership_is_known() {
    let mut bench = Bench::joined(
        ACK,
        Level {
            groups: vec![member(1, "field", 0, None)],
            ..level()
        },
    );
    let out = bench.step(join(
        "group:acme:sensor:field",
        Some("2"),
        Some("2"),
        LEGACY,
    ));
    assert_eq!(out, [ok("group:acme:sensor:field", Some("2"), Some("2"))]);
}

#[test]
fn case_84_foreign_and_missing_groups_get_one_answer_and_only_after_the_store_was_asked() {
    for topic in ["group:acme:sensor:other", "group:umbrella:sensor:field"] {
        let mut bench = Bench::joined(ACK, level());
        assert_eq!(
            bench.step(join(topic, Some("2"), Some("2"), LEGACY)),
            [Effect::Reconcile]
        );
        let out = bench.reconciled(level(), vec![]);
        assert_eq!(out, [error(topic, Some("2"), Some("2"), "not_found")]);
    }
}

#[test]
fn a_membership_that_is_news_here_is_found_in_the_store() {
    let mut bench = Bench::joined(ACK, level());
    bench.step(join(
        "group:acme:sensor:field",
        Some("2"),
        Some("2"),
        LEGACY,
    ));
    let out = bench.reconciled(
        Level {
            groups: vec![member(1, "field", 0, None)],
            ..level()
        },
        vec![],
    );
    assert!(
        has(&out, &ok("group:acme:sensor:field", Some("2"), Some("2"))),
        "{out:?}"
    );
}

#[test]
fn case_68_a_socket_joins_a_bounded_number_of_topics() {
    let groups: Vec<_> = (0..40)
        .map(|n| member(n, &format!("g{n}"), 0, None))
        .collect();
    let mut bench = Bench::joined(ACK, Level { groups, ..level() });
    let mut refused = 0;
    for n in 0..40 {
        bench.now += Duration::from_secs(1);
        let out = bench.step(join(
            &format!("group:acme:sensor:g{n}"),
            Some("2"),
            Some("2"),
            LEGACY,
        ));
        refused += usize::from(
            matches!(&out[0], Effect::Reply { answer: Answer::Error { reason, .. }, .. } if *reason == "too_many_channels"),
        );
    }
    assert_eq!(refused, 40 - (CHANNELS_MAX - 1));
}

#[test]
fn a_socket_that_never_joins_is_closed() {
    let mut bench = Bench::new();
    let out = bench.after(FIRST_JOIN_MAX);
    assert_eq!(out, [Effect::Close(CloseReason::JoinTimeout)]);
}

#[test]
fn case_53_unreadable_frames_are_forgiven_four_times() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        let out = bench.step(Event::Malformed {
            to: None,
            code: "bad_request",
        });
        assert!(matches!(
            out[1],
            Effect::Push {
                push: Push::Malformed { .. },
                ..
            }
        ));
    }
    let out = bench.step(Event::Malformed {
        to: None,
        code: "bad_request",
    });
    assert_eq!(out.last(), Some(&Effect::Close(CloseReason::BadRequests)));
}

#[test]
fn a_report_over_a_group_is_refused_while_nobody_speaks_for_the_device() {
    let groups = vec![member(1, "field", 0, None)];
    let mut bench = Bench::joined(ACK, Level { groups, ..level() });
    let topic = "group:acme:sensor:field";
    bench.step(join(topic, Some("2"), Some("2"), LEGACY));
    bench.step(join(TOPIC, Some("3"), Some("3"), ACK));
    let out = bench.step(frame(topic, Some("2"), Some("4"), ack(1)));
    assert!(
        has(&out, &error(topic, Some("2"), Some("4"), "not_joined")),
        "{out:?}"
    );
    assert!(
        bench.session.in_flight.is_empty(),
        "nothing would answer it"
    );
}

#[test]
fn a_leave_of_an_earlier_join_does_not_end_the_one_that_runs() {
    let mut bench = Bench::joined(ACK, level());
    let attempt = attempt_of(&bench.step(join(TOPIC, Some("8"), Some("8"), ACK)));
    let out = bench.step(frame(TOPIC, Some("1"), Some("9"), DeviceEvent::Leave));
    assert_eq!(out, [ok(TOPIC, Some("1"), Some("9"))]);
    bench.attach(attempt, level(), vec![]);
    assert!(bench.session.generation().is_some());
}

#[test]
fn a_fenced_report_of_an_earlier_join_does_not_end_the_join_that_runs() {
    let mut bench = Bench::joined(ACK, level());
    let receipt = receipt_of(&bench.push("7", DeviceEvent::Rebooting));
    attempt_of(&bench.step(join(TOPIC, Some("8"), Some("8"), ACK)));
    let out = bench.step(Event::Recorded {
        receipt,
        outcome: Recorded::Fenced,
    });
    assert!(
        !out.iter().any(|e| matches!(e, Effect::Close(_))),
        "{out:?}"
    );
    assert!(!bench.session.is_closed());
}
