//! Commands: claimed, sent in order, acknowledged, sent again.

use super::*;
use crate::limits::{ACK_MAX, SENDS_MAX, UNACKED_COMMANDS_MAX};
use hub_proto::cluster::CommandBody;
use hub_proto::event::{CommandResult, ResultStatus};

fn body(n: u128) -> Option<HintBody> {
    Some(HintBody::Command(CommandBody {
        id: CommandId(uuid::Uuid::from_u128(n)),
        name: "reboot".into(),
        args_json: "{}".into(),
        expires_at: Timestamp::from_unix_micros(i64::MAX),
    }))
}

fn sent(out: &[Effect]) -> Vec<u128> {
    out.iter()
        .filter_map(|effect| match effect {
            Effect::Push {
                push: Push::Command(command),
                ..
            } => Some(command.id.0.as_u128()),
            _ => None,
        })
        .collect()
}

fn id(n: u128) -> CommandId {
    CommandId(uuid::Uuid::from_u128(n))
}

#[test]
fn a_command_in_the_hint_costs_no_read_but_is_claimed_before_it_is_sent() {
    let mut bench = Bench::joined(ACK, level());
    assert_eq!(
        bench.step(Event::Hint {
            seq: Seq(11),
            body: body(1)
        }),
        [Effect::Claim(vec![id(1)])]
    );
    assert_eq!(
        bench.step(Event::Hint {
            seq: Seq(12),
            body: body(2)
        }),
        []
    );
    let out = bench.step(Event::Claimed(Ok(vec![id(1)])));
    assert_eq!(sent(&out), [1]);
    assert!(out.contains(&Effect::Claim(vec![id(2)])));
}

#[test]
fn a_cancelled_command_is_not_granted_and_not_sent() {
    let mut bench = Bench::joined(ACK, level());
    bench.step(Event::Hint {
        seq: Seq(11),
        body: body(1),
    });
    assert_eq!(sent(&bench.step(Event::Claimed(Ok(vec![])))), [0; 0]);
}

#[test]
fn a_gap_before_a_hint_is_read_from_the_store() {
    let mut bench = Bench::joined(ACK, level());
    assert_eq!(
        bench.step(Event::Hint {
            seq: Seq(12),
            body: body(2)
        }),
        [Effect::Reconcile]
    );
    let out = bench.reconciled(
        Level {
            head: Seq(12),
            ..level()
        },
        vec![own(1, 11), own(2, 12)],
    );
    assert_eq!(sent(&out), [1, 2]);
}

#[test]
fn only_the_first_word_on_a_command_is_news() {
    let mut bench = Bench::joined(ACK, level());
    let level = Level {
        head: Seq(12),
        ..level()
    };
    bench.step(Event::Recheck);
    bench.reconciled(level, vec![own(1, 11), own(2, 12)]);
    let result = |n: u128| {
        DeviceEvent::CommandResult(CommandResult {
            id: CommandId(uuid::Uuid::from_u128(n)),
            status: ResultStatus::Succeeded,
            output: None,
            trace: None,
        })
    };
    let said = [
        ("5", ack(1), true),
        ("6", ack(1), false),
        ("7", result(1), false),
        ("8", result(2), true),
        ("9", ack(3), false),
    ];
    for (reference, event, news) in said {
        let out = bench.push(reference, event);
        let Some(Effect::Record {
            report: Report::Execution { first, .. },
            ..
        }) = out.first()
        else {
            panic!("{out:?}")
        };
        assert_eq!(*first, news, "{reference}");
    }
}

#[test]
fn an_acknowledged_command_is_settled_after_its_commit() {
    let mut bench = Bench::joined(ACK, level());
    bench.step(Event::Hint {
        seq: Seq(12),
        body: None,
    });
    bench.reconciled(
        Level {
            head: Seq(12),
            ..level()
        },
        vec![own(1, 11)],
    );
    let out = bench.push("5", ack(1));
    let Effect::Record {
        report: Report::Execution { state, .. },
        ..
    } = &out[0]
    else {
        panic!("{out:?}")
    };
    assert_eq!(*state, ExecutionState::Delivered);
    // A read whose answer is older than that commit must not bring the command back.
    bench.step(Event::Recheck);
    assert_eq!(
        bench
            .step(Event::Recorded {
                receipt: receipt_of(&out),
                outcome: Recorded::Done
            })
            .len(),
        1
    );
    assert_eq!(
        sent(&bench.reconciled(
            Level {
                head: Seq(12),
                ..level()
            },
            vec![own(1, 11)]
        )),
        [0; 0]
    );
}

#[test]
fn a_silent_device_is_sent_the_command_again_then_counts_as_half_open() {
    // It reads, for it answers the pings that ask so; or it may be gone, for it says nothing at all.
    for answers in [true, false] {
        let mut bench = with_one_sent();
        for _ in 1..SENDS_MAX {
            let out = bench.after(ACK_MAX);
            assert_eq!(sent(&out), [1]);
            if let (true, Some(number)) = (answers, pinged(&out)) {
                bench.step(Event::Ponged(Some(number)));
            }
        }
        let late = Duration::from_millis(250);
        assert_eq!(
            bench.after(ACK_MAX + late).last(),
            Some(&Effect::Close(CloseReason::AckTimeout))
        );
    }
}

#[test]
fn a_device_that_talks_and_answers_no_ping_is_a_slow_consumer() {
    let mut bench = with_one_sent();
    let mut pings = 0;
    for _ in 1..SENDS_MAX {
        bench.step(Event::Ponged(None));
        let out = bench.after(ACK_MAX);
        assert_eq!(sent(&out), [1]);
        pings += usize::from(pinged(&out).is_some());
    }
    assert_eq!(pings, 1, "one question is enough");
    assert_eq!(
        bench.after(ACK_MAX).last(),
        Some(&Effect::Close(CloseReason::SlowConsumer))
    );
}

/// A device that can acknowledge and has been sent command 1.
fn with_one_sent() -> Bench {
    let mut bench = Bench::joined(ACK, level());
    bench.step(Event::Hint {
        seq: Seq(12),
        body: None,
    });
    let level = Level {
        head: Seq(12),
        ..level()
    };
    bench.reconciled(level, vec![own(1, 11)]);
    bench
}

fn pinged(out: &[Effect]) -> Option<u32> {
    out.iter().find_map(|effect| match effect {
        Effect::Ping(number) => Some(*number),
        _ => None,
    })
}

#[test]
fn for_a_device_that_cannot_ack_the_pong_is_the_evidence() {
    let mut bench = Bench::joined(LEGACY, level());
    bench.step(Event::Hint {
        seq: Seq(12),
        body: None,
    });
    let out = bench.reconciled(
        Level {
            head: Seq(12),
            ..level()
        },
        vec![own(1, 11)],
    );
    let Some(Effect::Ping(number)) = out.last() else {
        panic!("{out:?}")
    };
    assert_eq!(sent(&bench.after(ACK_MAX)), [0; 0], "it would do it twice");
    let out = bench.step(Event::Ponged(Some(*number)));
    assert!(matches!(
        &out[0],
        Effect::Record {
            report: Report::Execution {
                state: ExecutionState::Delivered,
                ..
            },
            ..
        }
    ));
}

#[test]
fn a_groups_command_uses_the_shared_frame_where_its_channel_is_joined() {
    let groups = vec![member(1, "field", 0, None)];
    let mut bench = Bench::joined(ACK, Level { groups, ..level() });
    let entry = |n: u128, seq: i64| {
        let command = command(n, ChannelId::Group(GroupId(1)), seq, ExecutionState::Queued);
        let tail = hub_proto::tail::Tail::new("group:acme:sensor:field", "reboot", "{}");
        let news = crate::fanout::News::Command { command, tail };
        Arc::new(Entry {
            group: GroupId(1),
            after: Seq(seq - 1),
            seq: Seq(seq),
            news,
        })
    };
    assert_eq!(
        sent(&bench.step(Event::Entry(entry(1, 6)))),
        [1],
        "expanded to the device channel"
    );
    bench.step(join(
        "group:acme:sensor:field",
        Some("2"),
        Some("2"),
        LEGACY,
    ));
    let out = bench.step(Event::Entry(entry(2, 7)));
    assert_eq!(
        out,
        [Effect::Tail {
            join_ref: Ref::text("2").ok(),
            entry: entry(2, 7)
        }]
    );
    assert_eq!(bench.step(Event::Entry(entry(2, 7))), [], "a repeat");
    assert!(
        bench
            .step(Event::Entry(entry(4, 9)))
            .contains(&Effect::Reconcile),
        "a gap"
    );
}

#[test]
fn no_more_than_the_window_is_unacknowledged_and_the_rest_follows() {
    let mut bench = Bench::joined(ACK, level());
    bench.step(Event::Hint {
        seq: Seq(99),
        body: None,
    });
    let many: Vec<_> = (1..=40).map(|n| own(n, 10 + n as i64)).collect();
    let out = bench.reconciled(
        Level {
            head: Seq(99),
            ..level()
        },
        many,
    );
    assert_eq!(sent(&out).len(), UNACKED_COMMANDS_MAX);
    let mut reread = false;
    for n in 1..=UNACKED_COMMANDS_MAX as u128 {
        bench.now += Duration::from_millis(100);
        let out = bench.push(&format!("r{n}"), ack(n));
        let out = bench.step(Event::Recorded {
            receipt: receipt_of(&out),
            outcome: Recorded::Done,
        });
        reread |= out.contains(&Effect::Reconcile);
    }
    assert!(reread, "the store is asked for the rest");
}

/// Fills the window from the store, which has one more, and acknowledges the first `acked`.
fn crowded(acked: u128) -> Bench {
    let mut bench = Bench::joined(ACK, level());
    bench.step(Event::Hint {
        seq: Seq(43),
        body: None,
    });
    let window = UNACKED_COMMANDS_MAX as u128;
    let many: Vec<_> = (1..=window + 1).map(|n| own(n, 10 + n as i64)).collect();
    let head = Seq(43);
    bench.reconciled(Level { head, ..level() }, many);
    for n in 1..=acked {
        bench.now += Duration::from_millis(100);
        let out = bench.push(&format!("r{n}"), ack(n));
        let receipt = receipt_of(&out);
        let outcome = Recorded::Done;
        bench.step(Event::Recorded { receipt, outcome });
    }
    bench
}

#[test]
fn a_pushed_command_does_not_overtake_those_left_in_the_store() {
    let mut bench = crowded(1);
    let hint = Event::Hint {
        seq: Seq(44),
        body: body(34),
    };
    assert_eq!(bench.step(hint), [], "there is room, and 33 goes first");
}

#[test]
fn a_failed_read_leaves_the_order_to_the_next_one() {
    let mut bench = crowded(UNACKED_COMMANDS_MAX as u128);
    let retry_after = Duration::from_secs(1);
    bench.step(Event::Reconciled(Err(Unavailable { retry_after })));
    let hint = Event::Hint {
        seq: Seq(44),
        body: body(34),
    };
    assert_eq!(bench.step(hint), []);
    assert!(bench.after(RETRY_MIN).contains(&Effect::Reconcile));
    let due = vec![own(33, 43), own(34, 44)];
    let head = Seq(44);
    assert_eq!(
        sent(&bench.reconciled(Level { head, ..level() }, due)),
        [33, 34]
    );
}

#[test]
fn an_acknowledgement_makes_room_only_after_its_commit() {
    let mut bench = Bench::joined(ACK, level());
    let own_hint = |n: u128| Event::Hint {
        seq: Seq(10 + n as i64),
        body: body(n),
    };
    let mut receipts = Vec::new();
    for n in 1..=UNACKED_COMMANDS_MAX as u128 {
        bench.now += Duration::from_millis(100);
        bench.step(own_hint(n));
        assert_eq!(sent(&bench.step(Event::Claimed(Ok(vec![id(n)])))), [n]);
        let out = bench.push(&format!("r{n}"), ack(n));
        receipts.push(receipt_of(&out));
    }
    let next = UNACKED_COMMANDS_MAX as u128 + 1;
    assert_eq!(
        bench.step(own_hint(next)),
        [],
        "a crash now repeats them all"
    );
    let outcome = Recorded::Done;
    let reread = receipts.into_iter().any(|receipt| {
        bench
            .step(Event::Recorded { receipt, outcome })
            .contains(&Effect::Reconcile)
    });
    assert!(reread);
}

/// Acknowledges `n` and lets the store commit it; what both steps brought.
fn settle(bench: &mut Bench, n: u128) -> Vec<Effect> {
    bench.now += Duration::from_millis(100);
    let mut out = bench.push(&format!("s{n}"), ack(n));
    let receipt = receipt_of(&out);
    out.extend(bench.step(Event::Recorded {
        receipt,
        outcome: Recorded::Done,
    }));
    out
}

#[test]
fn a_new_command_never_overtakes_those_that_did_not_fit() {
    let mut bench = Bench::new();
    let attempt = attempt_of(&bench.step(join(TOPIC, Some("1"), Some("1"), ACK)));
    let first: Vec<_> = (1..=UNACKED_COMMANDS_MAX as i64)
        .map(|n| own(n as u128, n))
        .collect();
    let level = Level {
        head: Seq(40),
        ..level()
    };
    let out = bench.step(Event::Attached {
        attempt,
        outcome: Ok(Attached {
            generation: ConnGen(3),
            reconciled: Reconciled {
                level,
                pending: first,
                more: true,
            },
        }),
    });
    assert_eq!(sent(&out).len(), UNACKED_COMMANDS_MAX);
    settle(&mut bench, 1);
    let out = bench.step(Event::Hint {
        seq: Seq(41),
        body: body(41),
    });
    assert_eq!(out, [], "33 to 40 come first");
}

#[test]
fn a_command_that_did_not_fit_is_not_overtaken_after_a_read_that_failed() {
    let mut bench = Bench::joined(ACK, level());
    bench.step(Event::Hint {
        seq: Seq(12),
        body: None,
    });
    let gone = Unavailable {
        retry_after: Duration::from_secs(1),
    };
    bench.step(Event::Reconciled(Ok(Reconciled {
        level: Level {
            head: Seq(12),
            ..level()
        },
        pending: vec![],
        more: true,
    })));
    bench.step(Event::Reconciled(Err(gone)));
    let out = bench.step(Event::Hint {
        seq: Seq(13),
        body: body(13),
    });
    assert!(
        !out.iter().any(|e| matches!(e, Effect::Claim(_))),
        "{out:?}"
    );
    let out = bench.after(crate::limits::RETRY_MAX);
    assert!(out.contains(&Effect::Reconcile), "{out:?}");
}

#[test]
fn evidence_that_could_not_be_written_during_a_read_is_not_forgotten() {
    let mut bench = Bench::joined(LEGACY, level());
    bench.step(Event::Hint {
        seq: Seq(12),
        body: None,
    });
    let head = Level {
        head: Seq(12),
        ..level()
    };
    let out = bench.reconciled(head.clone(), vec![own(1, 11)]);
    let Some(Effect::Ping(number)) = out.last() else {
        panic!("{out:?}")
    };
    let receipt = receipt_of(&bench.step(Event::Ponged(Some(*number))));
    bench.step(Event::Recheck);
    bench.step(Event::Recorded {
        receipt,
        outcome: Recorded::Unavailable(Unavailable {
            retry_after: Duration::from_secs(1),
        }),
    });
    let mut again = sent(&bench.reconciled(head.clone(), vec![own(1, 11)]));
    if again.is_empty() {
        assert!(
            bench
                .after(crate::limits::RETRY_MAX)
                .contains(&Effect::Reconcile)
        );
        again = sent(&bench.reconciled(head, vec![own(1, 11)]));
    }
    assert_eq!(again, [1]);
}
