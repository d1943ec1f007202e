//! Two holders of one identity.

use super::*;
use crate::limits::{CHALLENGE_MAX, DUPLICATE_RETRY};

/// The number of the ping among effects.
fn ping_of(effects: &[Effect]) -> Option<u32> {
    effects.iter().find_map(|effect| match effect {
        Effect::Ping(number) => Some(*number),
        _ => None,
    })
}

fn alive() -> Effect {
    Effect::Record {
        report: Report::Alive,
        receipt: None,
    }
}

fn duplicate(reference: &str, retry_after: Duration) -> Effect {
    Effect::Reply {
        to: address(TOPIC, Some(reference), Some(reference)),
        answer: Answer::Error {
            reason: "duplicate_identity",
            retry_after: Some(retry_after),
        },
    }
}

#[test]
fn a_holder_that_answers_its_ping_proves_itself_once() {
    let mut bench = Bench::joined(LEGACY, level());
    let number = ping_of(&bench.step(Event::Challenged(ConnGen(3)))).unwrap();
    assert!(!has(&bench.step(Event::Ponged(None)), &alive()));
    assert!(!has(&bench.step(Event::Ponged(Some(number + 1))), &alive()));
    assert!(has(&bench.step(Event::Ponged(Some(number))), &alive()));
    assert!(!has(&bench.step(Event::Ponged(Some(number))), &alive()));
}

#[test]
fn a_question_is_asked_once_at_a_time_and_a_late_answer_is_none() {
    let mut bench = Bench::joined(LEGACY, level());
    let number = ping_of(&bench.step(Event::Challenged(ConnGen(3)))).unwrap();
    assert_eq!(bench.step(Event::Challenged(ConnGen(3))), []);
    bench.now += CHALLENGE_MAX + Duration::from_millis(1);
    assert!(!has(&bench.step(Event::Ponged(Some(number))), &alive()));
    assert!(ping_of(&bench.step(Event::Challenged(ConnGen(3)))).is_some());
}

#[test]
fn a_question_for_another_join_is_not_for_this_one() {
    let mut bench = Bench::joined(LEGACY, level());
    assert_eq!(bench.step(Event::Challenged(ConnGen(2))), []);
    assert_eq!(Bench::new().step(Event::Challenged(ConnGen(3))), []);
}

#[test]
fn a_newcomer_that_lost_is_told_to_stay_away_and_told_again() {
    let mut bench = Bench::new();
    let attempt = attempt_of(&bench.step(join(TOPIC, Some("1"), Some("1"), ACK)));
    let refused = bench.step(Event::Attached {
        attempt,
        outcome: Err(Unattached::Duplicate),
    });
    assert_eq!(refused, [duplicate("1", DUPLICATE_RETRY)]);
    let wait = Duration::from_secs(10);
    bench.now += wait;
    let again = bench.step(join(TOPIC, Some("2"), Some("2"), ACK));
    assert_eq!(again, [duplicate("2", DUPLICATE_RETRY - wait)]);
    bench.now += DUPLICATE_RETRY;
    attempt_of(&bench.step(join(TOPIC, Some("3"), Some("3"), ACK)));
}
