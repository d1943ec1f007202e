//! Slugs and topics: what is a name, and what a text between colons means.

use hub_proto::slug::{Slug, SlugError};
use hub_proto::topic::{DeviceTopic, Topic, device_topic, group_topic};

const UUID: &str = "6e0d2ae9-7cd3-5f6b-9d5e-0a1b2c3d4e5f";

fn device(firmware: Option<&str>) -> Topic {
    Topic::Device(DeviceTopic {
        firmware: firmware.map(Into::into),
    })
}

#[test]
fn case_77_to_81_a_slug_has_only_what_is_harmless_everywhere() {
    for name in ["a", "A-1", "0.9_x", "reboot", &"a".repeat(63)] {
        assert_eq!(name.parse::<Slug>().unwrap().as_str(), name);
    }
    assert_eq!("".parse::<Slug>(), Err(SlugError::Empty));
    assert_eq!(
        "a".repeat(64).parse::<Slug>(),
        Err(SlugError::TooLong { bytes: 64 })
    );
    assert_eq!(
        "x".repeat(1 << 20).parse::<Slug>(),
        Err(SlugError::TooLong { bytes: 1 << 20 })
    );
    for (name, found) in [
        ("..", '.'),
        ("-a", '-'),
        (" a", ' '),
        ("é", 'é'),
        ("/a", '/'),
    ] {
        assert_eq!(
            name.parse::<Slug>(),
            Err(SlugError::BadStart { found }),
            "{name}"
        );
    }
    let bad = [
        "a:b",
        "a/b",
        "a%2fb",
        "a\\b",
        "a*",
        "a?",
        "a[",
        "a#",
        "a+",
        "a>",
        "a\nb",
        "a\u{1b}[1m",
        "a'b",
        "aé",
        "a\0",
    ];
    for name in bad {
        assert!(
            matches!(name.parse::<Slug>(), Err(SlugError::BadCharacter { .. })),
            "{name:?}"
        );
    }
    assert!(serde_json::from_str::<Slug>("\"a:b\"").is_err());
    assert_eq!(
        serde_json::from_str::<Slug>("\"a.b\"").unwrap().as_str(),
        "a.b"
    );
}

#[test]
fn case_82_reserved_names_are_known_in_any_case() {
    for name in ["device", "phx_join", "Console", "PHOENIX", "group"] {
        assert!(name.parse::<Slug>().unwrap().is_reserved(), "{name}");
    }
    assert!(!"devices".parse::<Slug>().unwrap().is_reserved());
}

#[test]
fn device_topics_of_every_age() {
    assert_eq!(Topic::parse("device"), device(None));
    assert_eq!(Topic::parse("device:"), device(None));
    assert_eq!(Topic::parse("device:serial-17"), device(None));
    assert_eq!(Topic::parse(&device_topic(UUID)), device(Some(UUID)));
    assert_eq!(
        Topic::parse(&device_topic(&UUID.to_uppercase())),
        device(Some(UUID))
    );
    assert_eq!(
        Topic::parse(&format!("firmware:{UUID}")),
        device(Some(UUID))
    );
}

#[test]
fn case_76_names_cannot_be_shifted_between_parts() {
    let Topic::Group(topic) = Topic::parse(&group_topic("acme", "cam", "beta")) else {
        panic!("no group")
    };
    assert_eq!(
        (&*topic.org, &*topic.product, &*topic.group),
        ("acme", "cam", "beta")
    );
    for text in [
        "group",
        "group:a",
        "group:a:b",
        "group:a:b:c:d",
        "group::b:c",
        "group:a:b:",
        "group:a:b:c ",
        "Group:a:b:c",
    ] {
        assert_eq!(Topic::parse(text), Topic::Unknown, "{text}");
    }
}

#[test]
fn everything_else_is_unknown() {
    let long = format!("device:{}", "a".repeat(300));
    for text in [
        "",
        "Phoenix",
        "phoenix:",
        "console",
        "extensions",
        "device:a:b",
        "device:\n",
        "firmware:x",
        "firmware",
        &long,
    ] {
        assert_eq!(Topic::parse(text), Topic::Unknown, "{text}");
    }
    assert_eq!(Topic::parse("phoenix"), Topic::Phoenix);
}
