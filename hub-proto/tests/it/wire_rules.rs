//! The rules that existing clients impose on encoding and decoding, by their number. The others are about what is
//! sent when, which is not decided here.

use bytes::Bytes;
use hub_proto::event::DeviceEvent;
use hub_proto::frame::{Frame, Payload, Ref, ReplyStatus, Serializer, UnknownVsn};
use hub_proto::push::Empty;
use hub_proto::tail::Tail;
use serde_json::{Value, json};

use crate::payload;

fn text(reference: &str) -> Ref {
    Ref::text(reference).unwrap()
}

fn value(frame: &str) -> Value {
    serde_json::from_str(frame).unwrap()
}

#[test]
fn rule_01_vsn_chooses_the_serializer() {
    for vsn in [None, Some(""), Some("1"), Some("1.0.0")] {
        assert_eq!(Serializer::from_vsn(vsn), Ok(Serializer::V1), "{vsn:?}");
    }
    for vsn in ["2", "2.0.0", "2.1"] {
        assert_eq!(Serializer::from_vsn(Some(vsn)), Ok(Serializer::V2), "{vsn}");
    }
    for vsn in [
        "3.0.0",
        "0",
        "20.0.0",
        "2.",
        "2.x",
        "two",
        " 2",
        "2.0.0.0.0.0.0.0.0.0.0",
    ] {
        assert_eq!(Serializer::from_vsn(Some(vsn)), Err(UnknownVsn), "{vsn}");
    }
}

#[test]
fn rule_01_a_v1_object_has_exactly_four_keys() {
    let v1 = Serializer::V1;
    let join_ref = text("1");
    let frames = [
        v1.push(Some(&join_ref), "device", "reboot", &Empty {}),
        v1.reply(
            Some(&join_ref),
            Some(&text("2")),
            "device",
            ReplyStatus::Ok,
            &Empty {},
        ),
        v1.channel_error(Some(&join_ref), "device", "crashed"),
        v1.channel_close(Some(&join_ref), "device"),
        String::from_utf8(
            Tail::new("device", "reboot", "{}")
                .frame(v1, Some(&join_ref))
                .to_vec(),
        )
        .unwrap(),
    ];
    for frame in frames {
        let value = value(&frame);
        let keys: Vec<_> = value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(keys, ["event", "payload", "ref", "topic"], "{frame}");
    }
}

#[test]
fn rule_02_v1_json_in_a_binary_frame_is_read() {
    let bytes =
        Bytes::from_static(br#" {"topic":"device","event":"heartbeat","payload":{},"ref":7}"#);
    let frame = Serializer::V1.decode_binary(&bytes).unwrap();
    assert_eq!(
        (&*frame.topic, frame.reference),
        ("device", Some(Ref::Int(7)))
    );
    let bytes = Bytes::from_static(br#"["1","2","device","rebooting",{}]"#);
    assert_eq!(
        &*Serializer::V2.decode_binary(&bytes).unwrap().event,
        "rebooting"
    );
}

#[test]
fn rule_02_a_v2_binary_push_is_read_without_copying_its_payload() {
    let bytes = Bytes::from_static(b"\x00\x01\x02\x06\x0212devi\x00");
    assert!(Serializer::V2.decode_binary(&bytes).is_err());
    let bytes = Bytes::from_static(b"\x00\x01\x02\x06\x02134devicelo\x00\xff\x01");
    let frame = Serializer::V2.decode_binary(&bytes).unwrap();
    assert_eq!(
        (frame.join_ref, frame.reference),
        (Some(text("1")), Some(text("34")))
    );
    assert_eq!((&*frame.topic, &*frame.event), ("device", "lo"));
    let Payload::Binary(rest) = frame.payload else {
        panic!("not binary")
    };
    assert_eq!(&*rest, b"\x00\xff\x01");
    assert_eq!(rest.as_ptr(), bytes[bytes.len() - 3..].as_ptr());
}

#[test]
fn rule_03_refs_are_echoed_with_their_type() {
    for reference in [
        r#""1""#,
        "0",
        "17",
        r#""heartbeat:1""#,
        r#""0""#,
        "null",
        "-3",
    ] {
        let frame = Serializer::V2
            .decode_text(&format!(r#"[null,{reference},"phoenix","heartbeat",{{}}]"#))
            .unwrap();
        let reply = Serializer::V2.reply(
            None,
            frame.reference.as_ref(),
            "phoenix",
            ReplyStatus::Ok,
            &Empty {},
        );
        assert!(reply.starts_with(&format!("[null,{reference},")), "{reply}");
        let frame = Serializer::V1.decode_text(&format!(
            r#"{{"topic":"t","event":"e","payload":{{}},"ref":{reference}}}"#
        ));
        let reply = Serializer::V1.reply(
            None,
            frame.unwrap().reference.as_ref(),
            "t",
            ReplyStatus::Ok,
            &Empty {},
        );
        assert!(
            reply.ends_with(&format!(r#""ref":{reference}}}"#)),
            "{reply}"
        );
    }
}

#[test]
fn rule_04_join_ref_and_ref_are_two_things() {
    let frame = Serializer::V2
        .decode_text(r#"["1","0","device","phx_join",{}]"#)
        .unwrap();
    assert_eq!(
        (frame.join_ref, frame.reference),
        (Some(text("1")), Some(text("0")))
    );
}

#[test]
fn rule_05_a_join_reply_echoes_both() {
    let reply = Serializer::V2.reply(
        Some(&text("4")),
        Some(&text("4")),
        "device",
        ReplyStatus::Ok,
        &json!({"groups": []}),
    );
    assert_eq!(
        reply,
        r#"["4","4","device","phx_reply",{"status":"ok","response":{"groups":[]}}]"#
    );
}

#[test]
fn rule_06_a_null_join_ref_is_valid_everywhere() {
    for event in ["phx_join", "rebooting", "phx_leave"] {
        let frame = Serializer::V2
            .decode_text(&format!(r#"[null,"1","device","{event}",{{}}]"#))
            .unwrap();
        assert_eq!((frame.join_ref, frame.reference), (None, Some(text("1"))));
    }
}

#[test]
fn rule_07_every_push_carries_the_subscribers_join_ref() {
    let tail = Tail::new("group:a:b:c", "reboot", r#"{"id":"x"}"#);
    for (join_ref, first) in [
        (Some(text("3")), r#""3""#),
        (Some(Ref::Int(9)), "9"),
        (None, "null"),
    ] {
        let shared = tail.frame(Serializer::V2, join_ref.as_ref());
        assert_eq!(
            shared,
            format!(r#"[{first},null,"group:a:b:c","reboot",{{"id":"x"}}]"#)
        );
        let single = Serializer::V2.push(
            join_ref.as_ref(),
            "group:a:b:c",
            "reboot",
            &json!({"id": "x"}),
        );
        assert_eq!(shared, single);
    }
}

#[test]
fn rule_07_a_v1_broadcast_is_one_text_for_all() {
    let tail = Tail::new("device", "reboot", "{}");
    let (one, two) = (
        tail.frame(Serializer::V1, Some(&text("1"))),
        tail.frame(Serializer::V1, Some(&text("2"))),
    );
    assert_eq!(one.as_ptr(), two.as_ptr());
    assert_eq!(
        one,
        Serializer::V1.push(None, "device", "reboot", &Empty {})
    );
}

#[test]
fn rule_08_a_push_has_a_null_ref() {
    let push = value(&Serializer::V2.push(Some(&text("3")), "device", "reboot", &Empty {}));
    assert_eq!(push, json!(["3", null, "device", "reboot", {}]));
    let push = value(&Serializer::V1.push(Some(&text("3")), "device", "reboot", &Empty {}));
    assert_eq!(push["ref"], Value::Null);
}

#[test]
fn rule_10_a_heartbeat_reply_has_an_empty_response() {
    let reply = Serializer::V2.reply(
        None,
        Some(&text("5")),
        "phoenix",
        ReplyStatus::Ok,
        &Empty {},
    );
    assert_eq!(
        reply,
        r#"[null,"5","phoenix","phx_reply",{"status":"ok","response":{}}]"#
    );
}

#[test]
fn rule_12_a_payload_may_be_null() {
    for event in ["phx_leave", "heartbeat", "phx_join", "rebooting"] {
        let frame = Serializer::V2
            .decode_text(&format!(r#"["1","2","device","{event}",null]"#))
            .unwrap();
        assert_eq!(frame.payload, Payload::Null);
        assert!(DeviceEvent::parse(event, &frame.payload).is_ok());
    }
    let frame = Serializer::V1
        .decode_text(r#"{"topic":"device","event":"phx_leave","ref":"2"}"#)
        .unwrap();
    assert_eq!(frame.payload, Payload::Null);
}

#[test]
fn rule_13_a_channel_error_has_equal_refs() {
    let frame = value(&Serializer::V2.channel_error(Some(&text("3")), "device", "channel_crash"));
    assert_eq!(
        frame,
        json!(["3", "3", "device", "phx_error", {"reason": "channel_crash"}])
    );
    let frame = value(&Serializer::V1.channel_error(Some(&Ref::Int(3)), "device", "x"));
    assert_eq!(frame["ref"], 3);
}

#[test]
fn rule_15_a_channel_close_has_the_joins_refs_and_an_empty_payload() {
    let frame = Serializer::V2.channel_close(Some(&text("3")), "device");
    assert_eq!(frame, r#"["3","3","device","phx_close",{}]"#);
}

#[test]
fn a_client_reads_what_the_hub_writes_and_the_other_way_round() {
    for serializer in [Serializer::V1, Serializer::V2] {
        let push = serializer.push(
            Some(&text("3")),
            "device",
            "join",
            &json!({"channel": "group:a:b:c"}),
        );
        let frame = serializer.decode_text(&push).unwrap();
        assert_eq!(frame.payload, payload(r#"{"channel":"group:a:b:c"}"#));
        assert_eq!(frame.reference, None);
        assert_eq!(serializer.encode(&frame), push);
    }
}

#[test]
fn a_binary_push_is_read_as_it_is_written() {
    let mut frame = Frame {
        join_ref: Some(text("1")),
        reference: None,
        topic: "device".into(),
        event: "blob".into(),
        payload: Payload::Binary(Bytes::from_static(b"\x01\x02")),
    };
    let bytes = Serializer::V2.encode_binary(&frame).unwrap();
    assert_eq!(Serializer::V2.decode_binary(&bytes), Ok(frame.clone()));
    assert_eq!(Serializer::V1.encode_binary(&frame), None);
    frame.topic = "x".repeat(256).into();
    assert_eq!(Serializer::V2.encode_binary(&frame), None);
}
