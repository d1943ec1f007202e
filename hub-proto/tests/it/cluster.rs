//! The envelope between nodes: bounded, total, and of no authority.

use hub_proto::cluster::{
    Beacon, CommandBody, Envelope, EnvelopeError, Hint, HintBody, Message, Notice, VERSION,
};
use hub_proto::id::{ChannelId, ConnGen, DeviceId, Epoch, GroupId, OrgId, Seq};
use hub_proto::limits::{
    ENVELOPE_BYTES_MAX, HINT_BODY_BYTES_MAX, NOTICES_PER_ENVELOPE_MAX, ORIGIN_BYTES_MAX,
};
use hub_proto::time::Timestamp;
use hub_proto::trace::TraceContext;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A hint with everything.
pub(crate) fn full(args: &str) -> Envelope {
    let body = CommandBody {
        id: "0192f3a0-7b1c-7d3e-8f40-123456789abc".parse().unwrap(),
        name: "reboot".into(),
        args_json: args.into(),
        expires_at: Timestamp(1_700_000_000_000_000),
    };
    let hint = Hint {
        epoch: Epoch(0x0123_4567_89AB_CDEF),
        channel: ChannelId::Group(GroupId(5)),
        seq: Seq(42),
        trace: TraceContext::new(PARENT, "vendor=1"),
        body: Some(HintBody::Command(body)),
    };
    Envelope::new("node-a", hint)
}

/// The hint in it.
pub(crate) fn hint_of(envelope: &mut Envelope) -> &mut Hint {
    match &mut envelope.message {
        Message::Hint(hint) => hint,
        other @ (Message::Beacon(_) | Message::Notices(_)) => panic!("no hint: {other:?}"),
    }
}

/// A beacon.
pub(crate) fn beacon() -> Envelope {
    let beacon = Beacon {
        run: 0x0123_4567_89AB_CDEF,
        number: 300,
    };
    Envelope::new("node-a", Message::Beacon(beacon))
}

/// Notices about so many devices.
pub(crate) fn notices(many: i64) -> Envelope {
    let notice = |device| Notice {
        device: DeviceId(device),
        generation: ConnGen(7),
    };
    Envelope::new("node-a", Message::Notices((1..=many).map(notice).collect()))
}

/// A hint with as little as there can be.
pub(crate) fn bare(channel: ChannelId) -> Envelope {
    Envelope::new(
        "node-a",
        Hint {
            epoch: Epoch(1),
            channel,
            seq: Seq(1),
            trace: None,
            body: None,
        },
    )
}

#[test]
fn what_is_encoded_is_decoded() {
    let channels = [
        ChannelId::Device(DeviceId(1)),
        ChannelId::Group(GroupId(0)),
        ChannelId::Org(OrgId(i64::MAX)),
    ];
    for envelope in
        channels
            .map(bare)
            .into_iter()
            .chain([full("{}"), full(r#"{"a":1}"#), beacon(), notices(2)])
    {
        assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
    }
}

#[test]
fn a_body_that_is_too_large_stays_behind() {
    let filler = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8 - "reboot".len()));
    let envelope = full(&filler(HINT_BODY_BYTES_MAX));
    assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
    let mut envelope = full(&filler(HINT_BODY_BYTES_MAX + 1));
    let decoded = Envelope::decode(&envelope.encode()).unwrap();
    hint_of(&mut envelope).body = None;
    assert_eq!(decoded, envelope);
}

#[test]
fn a_body_that_is_not_right_is_dropped_and_the_hint_stands() {
    for (name, args) in [
        ("reboot", "[]"),
        ("reboot", "{\"a\":1,\"a\":2}"),
        ("reboot", ""),
        ("a b", "{}"),
        ("", "{}"),
    ] {
        let mut envelope = full("{}");
        let Some(HintBody::Command(command)) = &mut hint_of(&mut envelope).body else {
            panic!("no body")
        };
        (command.name, command.args_json) = (name.into(), args.into());
        let decoded = Envelope::decode(&envelope.encode()).unwrap();
        let mut decoded = decoded;
        let hint = hint_of(&mut decoded);
        assert_eq!(
            (hint.seq, hint.body.take()),
            (hint_of(&mut envelope).seq, None),
            "{name:?} {args:?}"
        );
    }
}

#[test]
fn case_96_garbage_and_other_versions_are_told_apart() {
    assert!(matches!(
        Envelope::decode(b"\xff\xff"),
        Err(EnvelopeError::Garbage(_))
    ));
    assert_eq!(
        Envelope::decode(&[0; ENVELOPE_BYTES_MAX + 1]),
        Err(EnvelopeError::TooLarge {
            bytes: ENVELOPE_BYTES_MAX + 1
        })
    );
    assert_eq!(Envelope::decode(b""), Err(EnvelopeError::Version(0)));
    let mut envelope = full("{}");
    envelope.version = VERSION + 1;
    assert_eq!(
        Envelope::decode(&envelope.encode()),
        Err(EnvelopeError::Version(2))
    );
    let mut envelope = full("{}");
    hint_of(&mut envelope).seq = Seq(-1);
    assert_eq!(
        Envelope::decode(&envelope.encode()),
        Err(EnvelopeError::Position)
    );
    assert_eq!(Envelope::decode(b"\x08\x01"), Err(EnvelopeError::Empty));
    assert_eq!(
        Envelope::decode(b"\x08\x01\x1a\x00"),
        Err(EnvelopeError::Empty)
    );
}

#[test]
fn more_notices_than_fit_are_cut() {
    let most = i64::try_from(NOTICES_PER_ENVELOPE_MAX).unwrap();
    let bytes = notices(most + 1).encode();
    assert!(bytes.len() <= ENVELOPE_BYTES_MAX);
    assert_eq!(Envelope::decode(&bytes), Ok(notices(most)));
}

#[test]
fn fields_of_a_newer_release_are_skipped() {
    let mut bytes = bare(ChannelId::Org(OrgId(1))).encode().to_vec();
    bytes.extend_from_slice(b"\xfa\x01\x03new");
    assert_eq!(Envelope::decode(&bytes), Ok(bare(ChannelId::Org(OrgId(1)))));
}

#[test]
fn a_long_origin_is_cut() {
    let mut envelope = bare(ChannelId::Org(OrgId(1)));
    envelope.origin = "é".repeat(ORIGIN_BYTES_MAX);
    assert_eq!(
        Envelope::decode(&envelope.encode()).unwrap().origin,
        "é".repeat(ORIGIN_BYTES_MAX / 2)
    );
}

#[test]
fn trace_contexts_have_the_form_of_their_headers() {
    let trace = TraceContext::new(PARENT, "a=b").unwrap();
    assert_eq!((&*trace.traceparent, &*trace.tracestate), (PARENT, "a=b"));
    for parent in [
        "",
        &PARENT[1..],
        &PARENT.to_uppercase(),
        &PARENT.replace('-', "_"),
        &PARENT.replace('b', "\n"),
    ] {
        assert_eq!(TraceContext::new(parent, ""), None, "{parent:?}");
    }
    assert_eq!(
        &*TraceContext::new(PARENT, "a\r\nb").unwrap().tracestate,
        ""
    );
    assert_eq!(
        &*TraceContext::new(PARENT, &"x".repeat(513))
            .unwrap()
            .tracestate,
        ""
    );
}
