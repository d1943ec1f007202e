//! Precedence and "already on it".

use super::*;
use crate::level::{Membership, Standing};
use hub_proto::id::{FirmwareId, Seq};

fn target(uuid: &str) -> Arc<Target> {
    Arc::new(Target {
        firmware: FirmwareId(1),
        revision: Seq(1),
        uuid: uuid.into(),
        version: "2.0.0".into(),
        product: "p".into(),
        platform: "p".into(),
        architecture: "a".into(),
        size: 1,
        sha256: [0; 32],
    })
}

fn member(group: i64, priority: i32, uuid: Option<&str>) -> Membership {
    Membership {
        group: GroupId(group),
        name: "g".parse().unwrap(),
        priority,
        from_seq: Seq(0),
        head: Seq(0),
        target: uuid.map(target),
    }
}

fn effective_uuid(own: Option<&str>, groups: Vec<Membership>) -> Option<String> {
    let level = Level {
        standing: Standing::Active,
        head: Seq(0),
        target: own.map(target),
        groups,
        offers: None,
    };
    effective(&level).map(|(_, target)| target.uuid.to_string())
}

#[test]
fn device_then_highest_priority_group_then_none() {
    let groups = || {
        vec![
            member(1, 1, Some("low")),
            member(2, 9, None),
            member(3, 5, Some("high")),
            member(4, 5, Some("tie")),
        ]
    };
    assert_eq!(
        effective_uuid(Some("own"), groups()).as_deref(),
        Some("own")
    );
    assert_eq!(effective_uuid(None, groups()).as_deref(), Some("high"));
    assert_eq!(effective_uuid(None, vec![member(2, 9, None)]), None);
}

#[test]
fn the_uuid_decides_and_without_one_the_version() {
    let running = |uuid: Option<&str>, version: Option<&str>| Running {
        uuid: uuid.map(Into::into),
        version: version.map(Into::into),
    };
    assert!(is_on(&running(Some("ABCD"), None), &target("abcd")));
    assert!(
        !is_on(&running(Some("eeee"), Some("2.0.0")), &target("abcd")),
        "same version, other build"
    );
    assert!(is_on(&running(None, Some("2.0.0")), &target("abcd")));
    assert!(!is_on(&running(None, None), &target("abcd")));
}

#[test]
fn pauses_between_offers_start_late_double_and_end_somewhere() {
    assert_eq!(offer_wait(2, Duration::ZERO), Duration::ZERO);
    assert_eq!(offer_wait(3, Duration::ZERO), OFFER_PENALTY_MIN);
    assert_eq!(offer_wait(4, OFFER_PENALTY_MIN), OFFER_PENALTY_MIN);
    assert_eq!(offer_wait(u32::MAX, Duration::ZERO), OFFER_PENALTY_MAX);
}
