//! Events of devices of every age, typed.

use hub_proto::codes::{BAD_REQUEST, BAD_VALUE};
use hub_proto::event::{
    Capabilities, CommandAck, CommandResult, DeviceEvent, JoinParams, Progress, ResultStatus,
    Stage, StatusUpdate, UpdateStatus,
};
use hub_proto::frame::{Payload, Serializer};
use hub_proto::json::JsonFault;
use hub_proto::limits::{DELAY_MINUTES_MAX, OUTPUT_BYTES_MAX};
use hub_proto::push::{ArgsFault, Command, FirmwareUpdate, check_args, command_payload};

use crate::payload;

const ID: &str = "0192f3a0-7b1c-7d3e-8f40-123456789abc";

fn parse(event: &str, text: &str) -> DeviceEvent {
    DeviceEvent::parse(event, &payload(text)).unwrap()
}

fn join(text: &str) -> JoinParams {
    JoinParams::parse(&payload(text)).unwrap()
}

fn status(text: &str) -> StatusUpdate {
    let DeviceEvent::StatusUpdate(status) = parse("status_update", text) else {
        panic!("no status")
    };
    status
}

#[test]
fn a_join_of_the_origin_systems_newest_client() {
    let params = join(
        r#"{"nerves_fw_uuid":"6E0D2AE9-7CD3-5F6B-9D5E-0A1B2C3D4E5F","nerves_fw_version":"1.2.3","nerves_fw_product":"cam",
            "nerves_fw_platform":"rpi4","nerves_fw_architecture":"arm","nerves_fw_author":"","nerves_fw_misc":"x",
            "fwup_version":"1.10.1","device_api_version":"2.3.0","console_version":"2.0.0","currently_downloading_uuid":null,
            "fwup_public_keys":"on_connect","meta":{"firmware_validated":true,"firmware_auto_revert_detected":false},
            "nerves_serial_number":"17","anything":{"at":["all"]}}"#,
    );
    assert_eq!(
        params.firmware.uuid.as_deref(),
        Some("6e0d2ae9-7cd3-5f6b-9d5e-0a1b2c3d4e5f")
    );
    assert_eq!(params.firmware.version.as_deref(), Some("1.2.3"));
    assert_eq!(
        (params.firmware.author, params.firmware.misc.as_deref()),
        (None, Some("x"))
    );
    assert_eq!(params.capabilities, Capabilities::default());
    assert_eq!(
        (params.firmware_validated, params.auto_revert_detected),
        (Some(true), Some(false))
    );
    assert_eq!(
        (
            params.currently_downloading,
            params.device_api_version.as_deref()
        ),
        (None, Some("2.3.0"))
    );
}

#[test]
fn a_join_may_say_nothing() {
    assert_eq!(JoinParams::parse(&Payload::Null), Ok(JoinParams::default()));
    assert_eq!(join("{}"), JoinParams::default());
    assert_eq!(
        join(r#"{"capabilities":null,"meta":7,"nerves_fw_uuid":null,"nerves_fw_author":5}"#),
        JoinParams::default()
    );
}

#[test]
fn capabilities_that_are_not_known_are_ignored() {
    let params = join(r#"{"capabilities":["groups","time_travel","ack"]}"#);
    assert_eq!(
        params.capabilities,
        Capabilities {
            ack: true,
            groups: true
        }
    );
}

#[test]
fn a_join_with_a_wrong_deciding_field_is_refused() {
    let long = "v".repeat(256);
    for text in [
        r#"{"nerves_fw_uuid":7}"#.to_owned(),
        format!(r#"{{"nerves_fw_version":"{long}"}}"#),
        r#"{"capabilities":"ack"}"#.into(),
        r#"{"capabilities":[1]}"#.into(),
        format!(r#"{{"capabilities":[{}"x"]}}"#, "\"x\",".repeat(32)),
    ] {
        assert_eq!(
            JoinParams::parse(&payload(&text)).unwrap_err().code,
            BAD_VALUE,
            "{text}"
        );
    }
}

#[test]
fn a_join_reads_back_as_it_was_written() {
    let params = join(&format!(
        r#"{{"nerves_fw_uuid":"{ID}","nerves_fw_version":"1","capabilities":["ack","groups"],
            "currently_downloading_uuid":"{ID}","meta":{{"firmware_validated":false}}}}"#
    ));
    assert_eq!(join(&serde_json::to_string(&params).unwrap()), params);
}

#[test]
fn a_status_is_matched_loosely() {
    for (text, expected) in [
        ("received", UpdateStatus::Received),
        ("started", UpdateStatus::Started),
        ("completed", UpdateStatus::Completed),
        ("fwup error", UpdateStatus::Failed),
        ("update failed", UpdateStatus::Failed),
        ("Tuesday", UpdateStatus::Other),
    ] {
        assert_eq!(
            status(&format!(r#"{{"status":"{text}"}}"#)).status,
            expected,
            "{text}"
        );
    }
    assert_eq!(
        status(r#"{"status":"fwup error"}"#).reason.as_deref(),
        Some("fwup error")
    );
    assert_eq!(
        status(r#"{"status":"failed","reason":"no space"}"#)
            .reason
            .as_deref(),
        Some("no space")
    );
    assert_eq!(status(r#"{"status":"failed"}"#).reason, None);
}

#[test]
fn a_delay_is_minutes_and_bounded() {
    let delay = |value: &str| {
        status(&format!(
            r#"{{"status":"rescheduled","delay_for":{value}}}"#
        ))
        .delay_minutes
    };
    assert_eq!(delay("5"), Some(5));
    assert_eq!(delay("5.9"), Some(5));
    assert_eq!(delay("1e18"), Some(DELAY_MINUTES_MAX));
    assert_eq!(delay("-1"), None);
    assert_eq!(delay("\"soon\""), None);
}

#[test]
fn reports_may_name_their_offer() {
    let offer = Some(ID.parse().unwrap());
    assert_eq!(
        status(&format!(r#"{{"status":"started","id":"{ID}"}}"#)).offer,
        offer
    );
    assert_eq!(status(r#"{"status":"started","id":7}"#).offer, None);
    let expected = Progress {
        value: 50,
        stage: Some(Stage::Downloading),
        offer,
    };
    assert_eq!(
        parse(
            "fwup_progress",
            &format!(r#"{{"value":50,"stage":"downloading","id":"{ID}"}}"#)
        ),
        DeviceEvent::Progress(expected)
    );
    assert_eq!(expected.status(), UpdateStatus::Downloading);
}

#[test]
fn progress_without_a_stage_ends_at_100() {
    let progress = |text| {
        let DeviceEvent::Progress(progress) = parse("update_progress", text) else {
            panic!("no progress")
        };
        progress.status()
    };
    assert_eq!(progress(r#"{"value":99}"#), UpdateStatus::Updating);
    assert_eq!(progress(r#"{"value":100}"#), UpdateStatus::Completed);
    assert_eq!(
        progress(r#"{"value":100,"stage":"downloading"}"#),
        UpdateStatus::Downloading
    );
    assert_eq!(
        progress(r#"{"value":100,"stage":"polishing"}"#),
        UpdateStatus::Completed
    );
}

#[test]
fn update_errors_are_cut_not_refused() {
    let many: Vec<_> = (0..40)
        .map(|n| format!("\"{n}{}\"", "é".repeat(3000)))
        .collect();
    let DeviceEvent::UpdateError(error) = parse(
        "firmware_update_error",
        &format!(r#"{{"errors":[{}]}}"#, many.join(",")),
    ) else {
        panic!("no update error")
    };
    assert_eq!(error.errors.len(), 16);
    assert!(
        error
            .errors
            .iter()
            .all(|text| text.len() <= 4096 && text.len() > 4090)
    );
    for text in [r#"{"errors":"x"}"#, r#"{"errors":[1]}"#, "{}"] {
        assert_eq!(
            DeviceEvent::parse("firmware_update_error", &payload(text))
                .unwrap_err()
                .code,
            BAD_VALUE
        );
    }
}

#[test]
fn command_answers() {
    let id = ID.parse().unwrap();
    assert!(
        matches!(parse("command_ack", &format!(r#"{{"id":"{ID}"}}"#)), DeviceEvent::CommandAck(ack) if ack.id == id)
    );
    let result = |output: &str| {
        parse(
            "command_result",
            &format!(r#"{{"id":"{ID}","status":"failed","output":{output}}}"#),
        )
    };
    let expected = |output: Option<&str>| {
        DeviceEvent::CommandResult(CommandResult {
            id,
            status: ResultStatus::Failed,
            output: output.map(Into::into),
            trace: None,
        })
    };
    assert_eq!(result("\"a\\nb\""), expected(Some("a\nb")));
    assert_eq!(result("null"), expected(None));
    assert_eq!(result(r#"{"a": [1]}"#), expected(Some(r#"{"a": [1]}"#)));
    let long = format!("\"{}\"", "é".repeat(OUTPUT_BYTES_MAX / 2 + 1));
    let DeviceEvent::CommandResult(CommandResult {
        output: Some(output),
        ..
    }) = result(&long)
    else {
        panic!("no output")
    };
    assert!(output.len() <= OUTPUT_BYTES_MAX && output.ends_with("\n[cut]"));
}

#[test]
fn command_answers_may_carry_the_trace_of_the_device() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let acked = |fields: &str| {
        let event = parse("command_ack", &format!(r#"{{"id":"{ID}"{fields}}}"#));
        let DeviceEvent::CommandAck(ack) = event else {
            panic!("{event:?}")
        };
        ack.trace
    };
    let state = format!(r#","traceparent":"{PARENT}","tracestate":"a=b""#);
    let trace = acked(&state).unwrap();
    assert_eq!((&*trace.traceparent, &*trace.tracestate), (PARENT, "a=b"));
    let written = serde_json::to_string(&CommandAck {
        id: ID.parse().unwrap(),
        trace: Some(trace),
    });
    assert_eq!(written.unwrap(), format!(r#"{{"id":"{ID}"{state}}}"#));
    // what is wrong about it is not the report's fault
    for odd in [
        "",
        r#","traceparent":7"#,
        r#","traceparent":"x""#,
        &format!(r#","traceparent":"{PARENT}0""#),
    ] {
        assert_eq!(acked(odd), None, "{odd}");
    }
}

#[test]
fn command_answers_that_name_no_command_or_outcome() {
    for (event, text) in [
        ("command_ack", "{}".to_owned()),
        ("command_ack", r#"{"id":"x"}"#.into()),
        ("command_ack", r#"{"id":7}"#.into()),
        ("command_result", format!(r#"{{"id":"{ID}"}}"#)),
        (
            "command_result",
            format!(r#"{{"id":"{ID}","status":"maybe"}}"#),
        ),
        ("command_result", r#"{"status":"failed"}"#.into()),
    ] {
        assert_eq!(
            DeviceEvent::parse(event, &payload(&text)).unwrap_err().code,
            BAD_VALUE,
            "{event} {text}"
        );
    }
    let binary = Payload::Binary(bytes::Bytes::from_static(b"x"));
    assert_eq!(
        DeviceEvent::parse("command_ack", &binary).unwrap_err().code,
        BAD_REQUEST
    );
}

#[test]
fn events_of_older_clients_are_accepted() {
    assert_eq!(parse("rebooting", "{}"), DeviceEvent::Rebooting);
    assert_eq!(
        parse("firmware_validated", "{}"),
        DeviceEvent::FirmwareValidated
    );
    assert_eq!(
        parse("check_update_available", "{}"),
        DeviceEvent::CheckUpdateAvailable
    );
    assert_eq!(
        parse("connection_types", r#"{"values":["wifi"]}"#),
        DeviceEvent::Network(vec!["wifi".into()])
    );
    assert_eq!(
        parse("report_network_interface", r#"{"interface":"wlan0"}"#),
        DeviceEvent::Network(vec!["wlan0".into()])
    );
    assert_eq!(
        parse("scripts/run", r#"{"ref":"a","result":"completed"}"#),
        DeviceEvent::ScriptResult
    );
}

#[test]
fn a_command_is_its_id_and_its_arguments() {
    let id = ID.parse().unwrap();
    assert_eq!(command_payload(id, "{}"), format!(r#"{{"id":"{ID}"}}"#));
    let text = command_payload(
        id,
        r#"{ "level" : "debug", "id" : "forged", "lines":[1, 2] }"#,
    );
    assert_eq!(
        text,
        format!(r#"{{"id":"{ID}","level":"debug","lines":[1, 2]}}"#)
    );
    let command: Command = serde_json::from_str(&text).unwrap();
    assert_eq!((command.id, command.args.len()), (id, 2));
    for args in ["", "[]", "null", "{\"a\":", "nonsense"] {
        assert_eq!(
            command_payload(id, args),
            format!(r#"{{"id":"{ID}"}}"#),
            "{args}"
        );
    }
}

#[test]
fn arguments_that_pass_make_a_frame_that_passes() {
    let nested = |depth: usize| {
        format!(
            "{{\"a\":{}{}}}",
            "[".repeat(depth - 1),
            "]".repeat(depth - 1)
        )
    };
    let frame = |args: &str| {
        let payload = payload(&command_payload(ID.parse().unwrap(), args));
        let Payload::Json(raw) = payload else {
            panic!("no json")
        };
        let text = Serializer::V2.push(None, "device", "reboot", &raw);
        Serializer::V2.decode_text(&text)
    };
    assert_eq!(check_args(&nested(31)), Ok(()));
    assert!(frame(&nested(31)).is_ok());
    assert_eq!(
        check_args(&nested(32)),
        Err(ArgsFault::Json(JsonFault::TooDeep))
    );
    assert!(frame(&nested(32)).is_err());
    assert_eq!(check_args("[]"), Err(ArgsFault::NotAnObject));
    assert_eq!(check_args(r#"{"\u0069d":1}"#), Err(ArgsFault::Id));
    assert_eq!(
        check_args(r#"{"a":1,"a":2}"#),
        Err(ArgsFault::Json(JsonFault::DuplicateKey))
    );
}

#[test]
fn an_offer_serves_devices_of_both_kinds() {
    let offer = FirmwareUpdate {
        id: ID.parse().unwrap(),
        url: "https://hub.example/f/1?s=2".into(),
        uuid: ID.into(),
        version: "1.2.3".into(),
        product: "cam".into(),
        platform: "rpi4".into(),
        architecture: "arm".into(),
        size: 1 << 40,
        sha256: [0xAB; 32],
        expires_at: Some("2026-01-02T03:04:05Z".parse().unwrap()),
    };
    let text = serde_json::to_string(&offer).unwrap();
    assert_eq!(
        serde_json::from_str::<FirmwareUpdate>(&text).unwrap(),
        offer
    );
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&value["firmware_url"], &value["update_available"]),
        (&value["url"], &true.into())
    );
    assert_eq!(
        (
            &value["firmware_meta"]["uuid"],
            &value["firmware_meta"]["version"]
        ),
        (&value["uuid"], &value["version"])
    );
    assert_eq!(
        (&value["sha256"], &value["checksum"]),
        (&"ab".repeat(32).into(), &"AB".repeat(32).into())
    );
}
