//! Laws that hold for every input: what is written is read, and nothing that is read panics.

use bytes::Bytes;
use hub_proto::cluster::{Envelope, Hint, HintBody};
use hub_proto::event::DeviceEvent;
use hub_proto::frame::{Frame, Payload, Ref, Serializer};
use hub_proto::id::{ChannelId, DeviceId, Epoch, GroupId, OrgId, Seq};
use hub_proto::json::check;
use hub_proto::push::command_payload;
use hub_proto::slug::Slug;
use hub_proto::tail::Tail;
use hub_proto::time::Timestamp;
use hub_proto::topic::{Topic, group_topic};
use hub_proto::trace::TraceContext;
use proptest::prelude::*;
use serde_json::value::RawValue;

fn reference() -> impl Strategy<Value = Option<Ref>> {
    prop_oneof![
        Just(None),
        any::<i64>().prop_map(|number| Some(Ref::Int(number))),
        "[ -~é😀\"\\\\]{0,16}".prop_map(|text| Ref::text(&text).ok()),
    ]
}

fn serializer() -> impl Strategy<Value = Serializer> {
    prop_oneof![Just(Serializer::V1), Just(Serializer::V2)]
}

/// JSON values within the bounds, as text.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-1e18..1e18).prop_map(|number: f64| number.into()),
        "[^\u{0}]{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::btree_map("[^\u{0}]{0,6}", inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = String> {
    proptest::collection::btree_map("[a-z\"é]{0,8}", json(), 0..5)
        .prop_map(|map| serde_json::to_string(&map).unwrap())
}

fn frame() -> impl Strategy<Value = Frame> {
    let payload = prop_oneof![
        Just(Payload::Null),
        object().prop_map(|text| Payload::Json(RawValue::from_string(text).unwrap())),
    ];
    let name = || "[ -~é\"\\\\]{0,30}";
    (reference(), reference(), name(), name(), payload).prop_map(
        |(join_ref, reference, topic, event, payload)| Frame {
            join_ref,
            reference,
            topic: topic.into(),
            event: event.into(),
            payload,
        },
    )
}

/// Text that looks like a frame for a while.
fn broken_frame() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just(",".to_owned()),
        Just(":".to_owned()),
        Just("null".to_owned()),
        Just("\"topic\":".to_owned()),
        Just("\"ref\":".to_owned()),
        Just("\\ud800".to_owned()),
        Just("\"\\ud800".to_owned()),
        Just("1e999".to_owned()),
        Just("\n".to_owned()),
        json().prop_map(|value| value.to_string()),
        "\\PC{0,8}",
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

const EVENTS: [&str; 8] = [
    "phx_join",
    "status_update",
    "fwup_progress",
    "firmware_update_error",
    "command_ack",
    "command_result",
    "connection_types",
    "report_network_interface",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_read_back_as_written(serializer in serializer(), frame in frame()) {
        let text = serializer.encode(&frame);
        let mut expected = frame;
        if serializer == Serializer::V1 {
            expected.join_ref = None;
        }
        prop_assert_eq!(serializer.decode_text(&text), Ok(expected.clone()));
        prop_assert_eq!(serializer.decode_binary(&Bytes::from(text)), Ok(expected));
    }

    #[test]
    fn a_shared_tail_gives_what_a_single_push_gives(
        serializer in serializer(), join_ref in reference(), topic in "[ -~é\"\\\\]{0,30}", payload in object(),
    ) {
        let shared = Tail::new(&topic, "event", &payload).frame(serializer, join_ref.as_ref());
        let raw = RawValue::from_string(payload).unwrap();
        prop_assert_eq!(shared, serializer.push(join_ref.as_ref(), &topic, "event", &raw));
    }

    #[test]
    fn no_text_panics(serializer in serializer(), text in broken_frame()) {
        if let Err(error) = serializer.decode_text(&text) {
            let _ = (error.code(), error.detail(), error.readable_ref(), error.close());
        }
        let _ = check(text.as_bytes());
        let _ = Topic::parse(&text);
        let _ = text.parse::<Slug>();
        let _ = text.parse::<ChannelId>();
        let _ = text.parse::<Timestamp>();
        let _ = Serializer::from_vsn(Some(&text));
    }

    #[test]
    fn no_bytes_panic(serializer in serializer(), mut bytes in proptest::collection::vec(any::<u8>(), 0..64), first in 0_u8..3) {
        let _ = serializer.decode_binary(&Bytes::copy_from_slice(&bytes));
        let _ = check(&bytes);
        let _ = Envelope::decode(&bytes);
        bytes.insert(0, first);
        let _ = serializer.decode_binary(&Bytes::from(bytes));
    }

    #[test]
    fn every_checked_value_is_one_the_parser_takes(value in json()) {
        let text = value.to_string();
        prop_assert_eq!(check(text.as_bytes()), Ok(()));
        let more = text + ",";
        prop_assert!(check(more.as_bytes()).is_err());
    }

    #[test]
    fn no_payload_panics(event in proptest::sample::select(&EVENTS[..]), name in "[a-z_]{0,10}", value in json(), other in object()) {
        let keys = ["value", "status", "id", "errors", "values", "capabilities", "meta", "nerves_fw_uuid", &name];
        for key in keys {
            let text = serde_json::json!({ key: value.clone() }).to_string();
            let _ = DeviceEvent::parse(event, &Payload::Json(RawValue::from_string(text).unwrap()));
        }
        let _ = DeviceEvent::parse(event, &Payload::Json(RawValue::from_string(other).unwrap()));
    }

    #[test]
    fn a_command_is_always_an_object_with_one_id(args in prop_oneof![object(), broken_frame()]) {
        let id = "0192f3a0-7b1c-7d3e-8f40-123456789abc".parse().unwrap();
        let payload = command_payload(id, &args);
        let object: serde_json::Map<_, _> = serde_json::from_str(&payload).unwrap();
        prop_assert_eq!(&object["id"], "0192f3a0-7b1c-7d3e-8f40-123456789abc");
    }

    #[test]
    fn group_topics_read_back_as_written(org in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}", product in "[a-z][a-z0-9]{0,9}", group in "[0-9][a-z.]{0,9}") {
        let Topic::Group(topic) = Topic::parse(&group_topic(&org, &product, &group)) else {
            return Err(TestCaseError::fail("no group"));
        };
        prop_assert_eq!((&*topic.org, &*topic.product, &*topic.group), (&*org, &*product, &*group));
    }

    #[test]
    fn times_read_back_as_written(micros in -62_167_219_200_000_000_i64..=253_402_300_799_999_999) {
        let time = Timestamp::from_unix_micros(micros);
        prop_assert_eq!(time.to_string().parse(), Ok(time));
    }

    #[test]
    fn envelopes_read_back_as_written(
        epoch in any::<u64>(), seq in 0..=i64::MAX, id in any::<i64>(), kind in 0..3, origin in "\\PC{0,20}", command in any::<Option<bool>>(),
        at in 1..=i64::MAX,
    ) {
        let channel = match kind {
            0 => ChannelId::Device(DeviceId(id)),
            1 => ChannelId::Group(GroupId(id)),
            _ => ChannelId::Org(OrgId(id)),
        };
        let trace = TraceContext::new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "");
        let body = command.map(|empty| {
            let mut envelope = crate::cluster::full(if empty { "{}" } else { "{\"a\":[1]}" });
            crate::cluster::hint_of(&mut envelope).body.take().unwrap()
        });
        let trace = trace.filter(|_| matches!(body, Some(HintBody::Command(_))));
        let envelope = Envelope::new(&origin, Hint { epoch: Epoch(epoch), channel, seq: Seq(seq), trace, body }).at(Timestamp::from_unix_micros(at));
        prop_assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
    }
}
