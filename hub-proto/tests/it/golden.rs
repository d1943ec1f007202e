//! Golden files: every kind of frame and envelope as its bytes are. Append only: devices in the field and nodes of
//! the previous release read these bytes, so a file that is there never changes.
//!
//! `HUB_GENERATE=1` writes the files that do not exist yet; it never writes over one.

use std::path::Path;

use bytes::Bytes;
use hub_proto::close::CloseReason;
use hub_proto::cluster::Envelope;
use hub_proto::event::{
    Capabilities, CommandAck, CommandResult, DeviceEvent, FirmwareMetadata, JoinParams, Progress,
    ResultStatus, Stage, StatusUpdate, UpdateError, UpdateStatus,
};
use hub_proto::frame::{Frame, Payload, Ref, ReplyStatus, Serializer};
use hub_proto::id::{ChannelId, CommandId, DeviceId, OrgId};
use hub_proto::push::{
    Empty, ErrorBody, FirmwareUpdate, GroupJoin, GroupLeave, JoinReply, Reconnect, command_payload,
};
use hub_proto::tail::Tail;
use hub_proto::time::Timestamp;
use serde::Serialize;
use serde_json::value::to_raw_value;

use crate::cluster::{bare, beacon, full, notices};

const UUID: &str = "6e0d2ae9-7cd3-5f6b-9d5e-0a1b2c3d4e5f";
const GROUP: &str = "group:acme:cam:beta";

/// Compares with the file, or writes it when it is new and that was asked for.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if !path.exists() && std::env::var_os("HUB_GENERATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("{text}\n")).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(stored.trim_end_matches('\n'), text, "golden file {name}");
}

fn command() -> CommandId {
    "0192f3a0-7b1c-7d3e-8f40-123456789abc".parse().unwrap()
}

fn join_params() -> JoinParams {
    let text = |text: &str| Some(text.into());
    JoinParams {
        firmware: FirmwareMetadata {
            uuid: text(UUID),
            version: text("1.2.3"),
            product: text("cam"),
            platform: text("rpi4"),
            architecture: text("arm"),
            ..FirmwareMetadata::default()
        },
        capabilities: Capabilities {
            ack: true,
            groups: true,
        },
        ..JoinParams::default()
    }
}

/// One device frame: written, compared, read again, typed.
fn from_device(name: &str, topic: &str, event: &str, payload: &impl Serialize) -> DeviceEvent {
    let mut typed = Vec::new();
    for (folder, serializer) in [("v1", Serializer::V1), ("v2", Serializer::V2)] {
        let mut frame = Frame {
            join_ref: Some(Ref::text("1").unwrap()),
            reference: Some(Ref::text("7").unwrap()),
            topic: topic.into(),
            event: event.into(),
            payload: Payload::Json(to_raw_value(payload).unwrap()),
        };
        let text = serializer.encode(&frame);
        golden(&format!("device/{folder}/{name}.json"), &text);
        if serializer == Serializer::V1 {
            frame.join_ref = None;
        }
        assert_eq!(serializer.decode_text(&text), Ok(frame.clone()));
        typed.push(DeviceEvent::parse(event, &frame.payload).unwrap());
    }
    assert_eq!(typed[0], typed[1]);
    typed.swap_remove(0)
}

#[test]
fn frames_from_devices() {
    let offer = Some(UUID.parse().unwrap());
    let join = from_device(
        "join",
        &format!("device:{UUID}"),
        "phx_join",
        &join_params(),
    );
    assert_eq!(join, DeviceEvent::Join(Box::new(join_params())));
    assert!(matches!(
        from_device("join_group", GROUP, "phx_join", &Empty {}),
        DeviceEvent::Join(_)
    ));
    assert_eq!(
        from_device("leave", GROUP, "phx_leave", &Empty {}),
        DeviceEvent::Leave
    );
    assert_eq!(
        from_device("heartbeat", "phoenix", "heartbeat", &Empty {}),
        DeviceEvent::Heartbeat
    );
    let status = StatusUpdate {
        reason: Some("on battery".into()),
        delay_minutes: Some(30),
        ..StatusUpdate::new(UpdateStatus::Rescheduled, offer)
    };
    assert_eq!(
        from_device("status_update", "device", "status_update", &status),
        DeviceEvent::StatusUpdate(status)
    );
    let progress = Progress {
        value: 42,
        stage: Some(Stage::Downloading),
        offer,
    };
    assert_eq!(
        from_device("fwup_progress", "device", "fwup_progress", &progress),
        DeviceEvent::Progress(progress)
    );
    let error = UpdateError {
        errors: vec!["no space left".into()],
        offer,
    };
    assert_eq!(
        from_device(
            "firmware_update_error",
            "device",
            "firmware_update_error",
            &error
        ),
        DeviceEvent::UpdateError(error)
    );
    assert_eq!(
        from_device("rebooting", "device", "rebooting", &Empty {}),
        DeviceEvent::Rebooting
    );
}

#[test]
fn words_on_commands_from_devices() {
    let ack = CommandAck {
        id: command(),
        trace: None,
    };
    assert_eq!(
        from_device("command_ack", "device", "command_ack", &ack),
        DeviceEvent::CommandAck(ack)
    );
    let result = CommandResult {
        id: command(),
        status: ResultStatus::Succeeded,
        output: Some("done\n".into()),
        trace: None,
    };
    assert_eq!(
        from_device("command_result", "device", "command_result", &result),
        DeviceEvent::CommandResult(result)
    );
}

#[test]
fn a_binary_push_from_a_device() {
    let frame = Frame {
        join_ref: Some(Ref::text("1").unwrap()),
        reference: Some(Ref::text("7").unwrap()),
        topic: "device".into(),
        event: "logs".into(),
        payload: Payload::Binary(Bytes::from_static(b"\x00\xff")),
    };
    let bytes = Serializer::V2.encode_binary(&frame).unwrap();
    golden("device/v2/binary_push.hex", &hex(&bytes));
    assert_eq!(Serializer::V2.decode_binary(&bytes), Ok(frame));
}

fn offer() -> FirmwareUpdate {
    FirmwareUpdate {
        id: "b0a7e1c2-93d4-5e6f-8a9b-0c1d2e3f4a5b".parse().unwrap(),
        url: "https://hub.example/firmware/6e0d2ae9?expires=1767323045&sig=c2ln".into(),
        uuid: UUID.into(),
        version: "1.2.4".into(),
        product: "cam".into(),
        platform: "rpi4".into(),
        architecture: "arm".into(),
        size: 31_457_280,
        sha256: [0x5A; 32],
        expires_at: Some("2026-01-02T03:04:05Z".parse().unwrap()),
    }
}

fn replies(serializer: Serializer) -> Vec<(&'static str, String)> {
    let (join, seven) = (Ref::text("1").unwrap(), Ref::text("7").unwrap());
    let (join, seven) = (Some(&join), Some(&seven));
    let error =
        |body: &ErrorBody| serializer.reply(join, seven, "device", ReplyStatus::Error, body);
    let groups = JoinReply {
        groups: vec![GROUP.into()],
    };
    let heartbeat = Some(&Ref::Int(9));
    let detail = "value must be a number from 0 to 100";
    vec![
        (
            "reply_join",
            serializer.reply(join, join, "device", ReplyStatus::Ok, &groups),
        ),
        (
            "reply_heartbeat",
            serializer.reply(None, heartbeat, "phoenix", ReplyStatus::Ok, &Empty {}),
        ),
        (
            "reply_error",
            error(&ErrorBody::with_detail("bad_value", detail)),
        ),
        (
            "reply_unavailable",
            error(&ErrorBody::retry_after("unavailable", 2500)),
        ),
    ]
}

fn pushes(serializer: Serializer) -> Vec<(&'static str, String)> {
    let join = Ref::text("1").unwrap();
    let join = Some(&join);
    let channel = || GROUP.into();
    let tail = Tail::new(
        GROUP,
        "reboot",
        &command_payload(command(), r#"{"delay_s":5}"#),
    );
    let command = String::from_utf8(tail.frame(serializer, join).to_vec()).unwrap();
    let unreadable = ErrorBody::new("bad_request");
    vec![
        (
            "firmware_update",
            serializer.push(join, "device", "firmware_update", &offer()),
        ),
        (
            "join",
            serializer.push(join, "device", "join", &GroupJoin { channel: channel() }),
        ),
        (
            "leave",
            serializer.push(join, "device", "leave", &GroupLeave { channel: channel() }),
        ),
        (
            "reconnect",
            serializer.push(join, "device", "reconnect", &Reconnect { after_ms: 1250 }),
        ),
        (
            "error",
            serializer.push(None, "phoenix", "error", &unreadable),
        ),
        ("command", command),
        (
            "phx_error",
            serializer.channel_error(join, "device", "channel_crash"),
        ),
        ("phx_close", serializer.channel_close(join, "device")),
    ]
}

#[test]
fn frames_from_the_hub() {
    for (folder, serializer) in [("v1", Serializer::V1), ("v2", Serializer::V2)] {
        for (name, text) in replies(serializer).into_iter().chain(pushes(serializer)) {
            golden(&format!("hub/{folder}/{name}.json"), &text);
            let frame = serializer.decode_text(&text).unwrap();
            assert_eq!(serializer.encode(&frame), text);
        }
    }
}

#[test]
fn envelopes() {
    let cases = [
        ("hint_device", bare(ChannelId::Device(DeviceId(12)))),
        ("hint_org", bare(ChannelId::Org(OrgId(1)))),
        ("hint_command", full(r#"{"delay_s":5}"#)),
        ("beacon", beacon()),
        (
            "beacon_at",
            beacon().at(Timestamp::from_unix_micros(1_700_000_000_123_456)),
        ),
        ("notices", notices(2)),
    ];
    for (name, envelope) in cases {
        let bytes = envelope.encode();
        golden(&format!("cluster/{name}.hex"), &hex(&bytes));
        assert_eq!(Envelope::decode(&bytes), Ok(envelope));
    }
}

#[test]
fn close_codes() {
    let line =
        |reason: CloseReason| format!("{} {} {:?}", reason.code(), reason.reason(), reason.class());
    golden("close_codes.txt", &CloseReason::ALL.map(line).join("\n"));
    for reason in CloseReason::ALL {
        assert_eq!(CloseReason::from_code(reason.code()), Some(reason));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
