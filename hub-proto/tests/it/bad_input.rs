//! Bad messages and what is said about each, by the number of the case in the catalogue of bad input.

use bytes::Bytes;
use hub_proto::close::CloseReason;
use hub_proto::codes::{BAD_REQUEST, BAD_VALUE};
use hub_proto::event::DeviceEvent;
use hub_proto::frame::{FrameError, Ref, Serializer};
use hub_proto::json::{JsonFault, check};
use hub_proto::limits::{
    FRAME_BYTES_MAX, JSON_ARRAY_ITEMS_MAX, JSON_DEPTH_MAX, JSON_OBJECT_KEYS_MAX,
};

use crate::payload;

fn refused(text: &str) -> FrameError {
    Serializer::V2.decode_text(text).unwrap_err()
}

/// The code, and the topic of the error reply when there can be one.
fn answer(error: &FrameError) -> (&'static str, Option<String>) {
    (
        error.code(),
        error.readable_ref().map(|(_, _, topic)| topic.to_owned()),
    )
}

fn to_device(code: &'static str) -> (&'static str, Option<String>) {
    (code, Some("device".to_owned()))
}

#[test]
fn case_43_a_message_larger_than_a_frame_closes_1009() {
    let text = format!(
        r#"["1","2","device","x",{{"a":"{}"}}]"#,
        "a".repeat(FRAME_BYTES_MAX)
    );
    let error = refused(&text);
    assert_eq!(error, FrameError::TooLarge { bytes: text.len() });
    assert_eq!(error.close(), Some(CloseReason::MessageTooBig));
    let error = Serializer::V2
        .decode_binary(&Bytes::from(text))
        .unwrap_err();
    assert_eq!(error.close(), Some(CloseReason::MessageTooBig));
}

#[test]
fn case_46_text_that_is_not_utf8_closes_1007() {
    let error = Serializer::V2
        .decode_binary(&Bytes::from_static(b"[\"\xff\"]"))
        .unwrap_err();
    assert_eq!(error.close(), Some(CloseReason::InvalidUtf8));
}

#[test]
fn case_47_other_binary_closes_1003() {
    let v2: [&[u8]; 7] = [
        b"",
        b"  ",
        b"\x93\x01",
        b"\x01\x00\x00\x00\x00",
        b"\x00\x01",
        b"\x00\x09\x00\x00\x00x",
        b"\x00\x01\x00\x00\x00\xff",
    ];
    for bytes in v2 {
        let error = Serializer::V2
            .decode_binary(&Bytes::copy_from_slice(bytes))
            .unwrap_err();
        assert_eq!(
            (error.close(), error.readable_ref()),
            (Some(CloseReason::UnsupportedData), None),
            "{bytes:?}"
        );
    }
    let push = Bytes::from_static(b"\x00\x00\x01\x01\x011te");
    assert!(Serializer::V2.decode_binary(&push).is_ok());
    assert_eq!(
        Serializer::V1.decode_binary(&push),
        Err(FrameError::NotJson)
    );
}

#[test]
fn case_53_not_json_keeps_the_socket() {
    for text in [
        "",
        " ",
        "hello",
        "[",
        r#"["1","#,
        r#"["1","2","device","x",{}] tail"#,
        "\u{feff}[]",
    ] {
        let error = refused(text);
        assert_eq!(
            (error.code(), error.close()),
            (BAD_REQUEST, None),
            "{text:?}"
        );
    }
}

#[test]
fn case_53_a_ref_before_the_damage_is_still_answered() {
    assert_eq!(
        answer(&refused(r#"["1","2","device","x",{"a":}]"#)),
        to_device(BAD_REQUEST)
    );
    assert_eq!(
        answer(&refused(r#"["1",2"#)),
        (BAD_REQUEST, Some("phoenix".to_owned()))
    );
    assert_eq!(
        answer(&refused(r#"["1",null,"device","x",{"a":}]"#)),
        (BAD_REQUEST, None)
    );
}

#[test]
fn case_54_wrong_length_or_form() {
    for text in [
        r#"["1","2","device","x"]"#,
        r#"["1","2","device","x",{},6]"#,
        r#"{"ref":"2","topic":"device"}"#,
    ] {
        assert_eq!(answer(&refused(text)), to_device(BAD_REQUEST), "{text}");
    }
    assert_eq!(answer(&refused("[]")), (BAD_REQUEST, None));
    assert_eq!(answer(&refused("7")), (BAD_REQUEST, None));
    let error = Serializer::V1
        .decode_text(r#"["1","2","device","x",{}]"#)
        .unwrap_err();
    assert_eq!(answer(&error), to_device(BAD_REQUEST));
    let error = Serializer::V1
        .decode_text(r#"{"ref":"2","topic":"device","payload":{}}"#)
        .unwrap_err();
    assert_eq!(answer(&error), to_device(BAD_REQUEST));
}

#[test]
fn case_55_parts_of_the_wrong_type() {
    assert_eq!(
        answer(&refused(r#"["1","2",3,"x",{}]"#)),
        (BAD_REQUEST, Some("phoenix".to_owned()))
    );
    for text in [
        r#"["1","2","device",4,{}]"#,
        r#"["1","2","device","x",[]]"#,
        r#"["1","2","device","x","y"]"#,
    ] {
        assert_eq!(answer(&refused(text)), to_device(BAD_REQUEST), "{text}");
    }
}

#[test]
fn case_56_deep_nesting_is_refused_without_using_the_stack() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(check(nested(JSON_DEPTH_MAX).as_bytes()), Ok(()));
    assert_eq!(
        check(nested(JSON_DEPTH_MAX + 1).as_bytes()),
        Err(JsonFault::TooDeep)
    );
    let text = format!(r#"["1","2","device","x",{{"a":{}}}]"#, nested(10_000));
    assert_eq!(answer(&refused(&text)), to_device(BAD_REQUEST));
    assert_eq!(refused(&nested(10_000)).code(), BAD_REQUEST);
    assert_eq!(refused(&"{\"a\":".repeat(10_000)).code(), BAD_REQUEST);
}

#[test]
fn case_57_duplicate_keys_are_refused_at_every_depth() {
    for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#] {
        assert_eq!(
            check(text.as_bytes()),
            Err(JsonFault::DuplicateKey),
            "{text}"
        );
    }
    let many = |last: &str| {
        let keys: Vec<_> = (0..100).map(|n| format!("\"k{n}\":0")).collect();
        format!("{{{},\"{last}\":0}}", keys.join(","))
    };
    assert_eq!(check(many("k").as_bytes()), Ok(()));
    assert_eq!(check(many("k2").as_bytes()), Err(JsonFault::DuplicateKey));
    assert_eq!(check(many("k99").as_bytes()), Err(JsonFault::DuplicateKey));
    assert_eq!(
        answer(&refused(r#"["1","2","device","x",{"a":1,"a":2}]"#)),
        to_device(BAD_REQUEST)
    );
    let error =
        Serializer::V1.decode_text(r#"{"topic":"a","topic":"b","event":"e","payload":{},"ref":1}"#);
    assert_eq!(error.unwrap_err().code(), BAD_REQUEST);
}

#[test]
fn case_58_numbers_out_of_range() {
    for text in [
        "1e400",
        "-1e400",
        "[1,18446744073709551616]",
        "-99999999999999999999999",
        r#"{"a":1e99999999999}"#,
    ] {
        assert_eq!(
            check(text.as_bytes()),
            Err(JsonFault::NumberRange),
            "{text}"
        );
    }
    for text in [
        "-0",
        "9007199254740993",
        "18446744073709551615",
        "-9223372036854775808",
        "1.5e-400",
        "0.1",
    ] {
        assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
    }
    assert_eq!(
        answer(&refused(
            r#"["1","2","device","fwup_progress",{"value":1e400}]"#
        )),
        to_device(BAD_VALUE)
    );
}

#[test]
fn case_59_progress_out_of_range_is_a_bad_value() {
    for value in [
        "-1",
        "101",
        "\"50\"",
        "100.5",
        "-0.1",
        "true",
        "null",
        "[]",
        "18446744073709551615",
        "1e19",
    ] {
        let error =
            DeviceEvent::parse("fwup_progress", &payload(&format!("{{\"value\":{value}}}")))
                .unwrap_err();
        assert_eq!(error.code, BAD_VALUE, "{value}");
    }
    for (value, percent) in [
        ("0", 0),
        ("-0", 0),
        ("50", 50),
        ("99.9", 99),
        ("100", 100),
        ("1e2", 100),
    ] {
        let event =
            DeviceEvent::parse("fwup_progress", &payload(&format!("{{\"value\":{value}}}")))
                .unwrap();
        assert!(
            matches!(event, DeviceEvent::Progress(progress) if progress.value == percent),
            "{value}"
        );
    }
}

#[test]
fn case_60_nul_in_a_string_or_key() {
    for text in [r#""\u0000""#, r#"{"a\u0000":1}"#, r#"[{"a":"b\u0000c"}]"#] {
        assert_eq!(check(text.as_bytes()), Err(JsonFault::Nul), "{text}");
    }
    assert_eq!(check(br#""\\u0000""#), Ok(()));
    assert_eq!(
        answer(&refused(r#"["1","2","device","x",{"a":"\u0000"}]"#)),
        to_device(BAD_VALUE)
    );
}

#[test]
fn case_61_half_a_surrogate_pair() {
    for text in [
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800\ud800""#,
        r#"{"\ud83dx":1}"#,
        "[1,\n\"\\ud83d\\n\"]",
    ] {
        assert_eq!(
            check(text.as_bytes()),
            Err(JsonFault::LoneSurrogate),
            "{text}"
        );
    }
    assert_eq!(check(br#""\ud83d\ude00 \\ud800""#), Ok(()));
    assert_eq!(check(br#"["\\ud800", nope]"#), Err(JsonFault::Syntax));
    assert_eq!(
        answer(&refused(r#"["1","2","device","x",{"a":"\ud800"}]"#)),
        to_device(BAD_VALUE)
    );
}

#[test]
fn case_62_an_unknown_event_is_not_an_error() {
    for event in ["", "nonsense", "health:report", "Heartbeat", "phx_reply"] {
        assert_eq!(
            DeviceEvent::parse(event, &payload(r#"{"value":"x"}"#)),
            Ok(DeviceEvent::Unknown)
        );
    }
}

#[test]
fn case_66_refs_are_short_texts_integers_or_null() {
    for reference in [
        format!("\"{}\"", "a".repeat(65)),
        "1.5".into(),
        "true".into(),
        "[]".into(),
        "9223372036854775808".into(),
    ] {
        let error = refused(&format!(r#"[null,{reference},"device","x",{{}}]"#));
        assert_eq!(answer(&error), (BAD_REQUEST, None), "{reference}");
        let error = refused(&format!(r#"[{reference},"2","device","x",{{}}]"#));
        assert_eq!(answer(&error), to_device(BAD_REQUEST), "{reference}");
    }
    let longest = "é".repeat(32);
    let frame = Serializer::V2
        .decode_text(&format!(r#"[null,"{longest}","device","x",{{}}]"#))
        .unwrap();
    assert_eq!(frame.reference, Some(Ref::Text(longest.into())));
    assert!(Ref::text(&"a".repeat(65)).is_err());
}

#[test]
fn case_79_control_characters_in_topic_or_event() {
    for name in [r"a\nb", r"\u001b[31m", r"\u0085"] {
        let error = refused(&format!(r#"["1","2","{name}","x",{{}}]"#));
        assert_eq!(
            answer(&error),
            (BAD_VALUE, Some("phoenix".to_owned())),
            "{name}"
        );
        let error = refused(&format!(r#"["1","2","device","{name}",{{}}]"#));
        assert_eq!(answer(&error), to_device(BAD_VALUE), "{name}");
    }
}

#[test]
fn counts_are_bounded() {
    let array = |items: usize| format!("[{}0]", "0,".repeat(items - 1));
    assert_eq!(check(array(JSON_ARRAY_ITEMS_MAX).as_bytes()), Ok(()));
    assert_eq!(
        check(array(JSON_ARRAY_ITEMS_MAX + 1).as_bytes()),
        Err(JsonFault::TooMany)
    );
    let object = |keys: usize| {
        let keys: Vec<_> = (0..keys).map(|n| format!("\"{n}\":0")).collect();
        format!("{{{}}}", keys.join(","))
    };
    assert_eq!(check(object(JSON_OBJECT_KEYS_MAX).as_bytes()), Ok(()));
    assert_eq!(
        check(object(JSON_OBJECT_KEYS_MAX + 1).as_bytes()),
        Err(JsonFault::TooMany)
    );
    assert_eq!(
        refused(&format!(r#"["1","2","{}","x",{{}}]"#, "t".repeat(257))).code(),
        BAD_REQUEST
    );
    assert_eq!(
        refused(&format!(r#"["1","2","t","{}",{{}}]"#, "e".repeat(129))).code(),
        BAD_REQUEST
    );
}

#[test]
fn details_quote_nothing_of_the_sender() {
    let error = refused(r#"["1","2","device","x",{"SECRET":1,"SECRET":2}]"#);
    assert!(!error.detail().contains("SECRET"));
    let error = DeviceEvent::parse("fwup_progress", &payload(r#"{"value":"SECRET"}"#)).unwrap_err();
    assert_eq!(error.detail, "value must be a number from 0 to 100");
}
