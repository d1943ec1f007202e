//! `docs/protocol.md` says what the code does: its tables name every close code, error code, event and limit, and its
//! examples are frames.

use std::path::Path;

use hub_proto::close::{CloseReason, Reconnect};
use hub_proto::frame::Serializer;
use hub_proto::{codes, event, limits, push};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_close_code_is_in_its_table_with_its_class() {
    let document = document();
    for reason in CloseReason::ALL {
        let start = format!("| {} | `{}` |", reason.code(), reason.reason());
        let line = document.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("no line {start}"));
        let class = match reason.class() {
            Reconnect::Now => "now",
            Reconnect::Backoff => "backoff",
            Reconnect::Rarely => "rarely",
            Reconnect::Never => "never",
        };
        let last = line.trim_end_matches('|').rsplit('|').next().unwrap();
        assert!(last.trim().starts_with(class), "{line}");
    }
}

#[test]
fn every_error_code_is_in_its_table() {
    let document = document();
    for code in codes::ALL {
        assert!(
            document
                .lines()
                .any(|line| line.starts_with(&format!("| `{code}` |"))),
            "{code}"
        );
    }
}

#[test]
fn every_event_is_named() {
    let document = document();
    let devices = [
        event::names::JOIN,
        event::names::LEAVE,
        event::names::HEARTBEAT,
        event::names::STATUS_UPDATE,
        event::names::FWUP_PROGRESS,
        event::names::UPDATE_PROGRESS,
        event::names::FIRMWARE_UPDATE_ERROR,
        event::names::REBOOTING,
        event::names::FIRMWARE_VALIDATED,
        event::names::COMMAND_ACK,
        event::names::COMMAND_RESULT,
        event::names::CONNECTION_TYPES,
        event::names::NETWORK_INTERFACE,
        event::names::CHECK_UPDATE_AVAILABLE,
        event::names::SCRIPT_RESULT,
    ];
    let hub = [
        push::names::FIRMWARE_UPDATE,
        push::names::JOIN,
        push::names::LEAVE,
        push::names::RECONNECT,
        push::names::ERROR,
        push::names::REPLY,
        push::names::CLOSE,
        push::names::CHANNEL_ERROR,
        push::names::REBOOT,
        push::names::IDENTIFY,
        push::names::LOGS,
    ];
    for name in devices.into_iter().chain(hub) {
        assert!(
            document.contains(&format!("`{name}`")) || document.contains(&format!("\"{name}\"")),
            "{name}"
        );
    }
}

#[test]
fn limits_are_as_written() {
    let document = document();
    let lines = [
        format!(
            "| message | {} KiB, 64 fragments |",
            limits::FRAME_BYTES_MAX / 1024
        ),
        format!("| nesting | {} |", limits::JSON_DEPTH_MAX),
        format!(
            "| {}, {} |",
            limits::JSON_OBJECT_KEYS_MAX,
            limits::JSON_ARRAY_ITEMS_MAX
        ),
        format!("| `ref`, `join_ref` | {} bytes", limits::REF_BYTES_MAX),
        format!(
            "| topic, event | {} and {} bytes",
            limits::TOPIC_BYTES_MAX,
            limits::EVENT_BYTES_MAX
        ),
        format!(
            "| `output` of a command | {} KiB |",
            limits::OUTPUT_BYTES_MAX / 1024
        ),
        format!(
            "| {} KiB; {} errors |",
            limits::REASON_BYTES_MAX / 1024,
            limits::ERRORS_MAX
        ),
        format!(
            "| `delay_for` | {} days",
            limits::DELAY_MINUTES_MAX / (24 * 60)
        ),
    ];
    for line in lines {
        assert!(document.contains(&line), "{line}");
    }
}

#[test]
fn examples_are_frames() {
    let mut frames = 0;
    for block in document().split("```json\n").skip(1) {
        let block = block.split("```").next().unwrap();
        if block.contains('…') {
            continue;
        }
        for example in block
            .split(['→', '←'])
            .map(str::trim)
            .filter(|example| !example.is_empty())
        {
            let serializer = if example.starts_with('[') {
                Serializer::V2
            } else {
                Serializer::V1
            };
            assert!(serializer.decode_text(example).is_ok(), "{example}");
            frames += 1;
        }
    }
    assert!(frames >= 6, "{frames}");
}
