//! Revocation, supersession, drain and silence: what ends a socket, and what keeps it.

use super::*;
use crate::level::Refusal;
use crate::limits::{PING_AFTER, SILENCE_MAX};

#[test]
fn a_revoked_device_is_closed_on_recheck() {
    let mut bench = Bench::joined(ACK, level());
    assert_eq!(bench.step(Event::Recheck), [Effect::Reconcile]);
    let refused = Standing::Refused(Refusal::DeviceRevoked);
    let out = bench.reconciled(
        Level {
            standing: refused,
            ..level()
        },
        vec![],
    );
    assert_eq!(out.last(), Some(&Effect::Close(CloseReason::Revoked)));
}

#[test]
fn a_revoked_device_that_left_its_channel_is_closed_too() {
    let mut bench = Bench::joined(ACK, level());
    bench.step(frame(TOPIC, Some("1"), Some("9"), DeviceEvent::Leave));
    assert_eq!(bench.step(Event::Recheck), [Effect::Reconcile]);
    assert_eq!(bench.reconciled(level(), vec![own(1, 1)]), []);
    bench.step(Event::Recheck);
    let refused = Standing::Refused(Refusal::DeviceRevoked);
    let out = bench.reconciled(
        Level {
            standing: refused,
            ..level()
        },
        vec![],
    );
    assert_eq!(out, [Effect::Close(CloseReason::Revoked)]);
}

#[test]
fn a_newer_socket_supersedes_this_one() {
    let mut bench = Bench::joined(ACK, level());
    let out = bench.step(Event::Superseded);
    assert_eq!(out.last(), Some(&Effect::Close(CloseReason::Superseded)));
    assert_eq!(bench.session.deadline(), None);
}

#[test]
fn a_draining_node_says_when_to_come_back_to_those_that_understand() {
    let after = Duration::from_secs(3);
    let out = Bench::joined(ACK, level()).step(Event::Drain { after });
    assert_eq!(
        out[0],
        Effect::Push {
            on: subscription(TOPIC, "1"),
            push: Push::Reconnect { after }
        }
    );
    assert_eq!(out.last(), Some(&Effect::Close(CloseReason::Restarting)));
    let out = Bench::joined(LEGACY, level()).step(Event::Drain { after });
    assert!(!out.iter().any(|e| matches!(e, Effect::Push { .. })));
}

#[test]
fn silence_is_pinged_then_closed_and_any_frame_counts_as_life() {
    let mut bench = Bench::joined(ACK, level());
    bench.now += Duration::from_secs(30);
    bench.step(Event::Ponged(None));
    assert_eq!(bench.after(Duration::from_secs(30)), []);
    assert!(matches!(
        bench.after(PING_AFTER - Duration::from_secs(30))[..],
        [Effect::Ping(_)]
    ));
    let out = bench.after(SILENCE_MAX - PING_AFTER);
    assert_eq!(out.last(), Some(&Effect::Close(CloseReason::Silent)));
}

#[test]
fn every_kind_of_frame_is_a_sign_of_life() {
    let heartbeat = || frame("phoenix", None, Some("9"), DeviceEvent::Heartbeat);
    let signs: [fn() -> Event; 4] = [
        || Event::Pinged,
        || Event::Ponged(None),
        || frame(TOPIC, None, Some("9"), DeviceEvent::Unknown),
        || Event::Malformed {
            to: None,
            code: "bad_request",
        },
    ];
    for sign in signs.into_iter().map(|sign| sign()).chain([heartbeat()]) {
        let mut bench = Bench::joined(LEGACY, level());
        bench.now += PING_AFTER - Duration::from_secs(1);
        let what = format!("{sign:?}");
        bench.step(sign);
        assert_eq!(bench.after(Duration::from_secs(2)), [], "{what}");
    }
}
