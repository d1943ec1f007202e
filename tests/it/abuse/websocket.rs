//! Cases 40 to 52: frames that break RFC 6455, or keep to it and still do harm.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use hub_core::limits::{
    CLOSING_MAX, FLOOD_MAX, FRAGMENTS_MAX, MESSAGE_BYTES_MAX, MESSAGES_BURST, MESSAGES_PER_SECOND,
    SILENCE_MAX,
};
use hub_tests::raw_ws::{Frame, Opcode, RawWs, Received, Upgrade};
use hub_tests::sandbox::{ORG, PRODUCT};
use hub_tests::wait::{self, PATIENCE};
use serde_json::json;
use tokio::time::Instant;

use super::{Joined, LATE, Scene, command, hello};

/// Sends frames on a fresh, joined socket; the node must close with this code and then end the connection.
async fn closes(scene: &Scene, frames: &[Frame], code: u16) -> anyhow::Result<()> {
    let mut rogue = scene.joined().await?;
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
    let what = || format!("{:?}", &bytes[..16.min(bytes.len())]);
    rogue.socket.send_bytes(&bytes).await?;
    let closed = rogue.socket.expect_close(code, PATIENCE).await;
    closed.with_context(what)?;
    rogue.socket.expect_end(CLOSING_MAX + LATE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn case_40_and_41_frames_that_are_none_close_1002() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    for frame in [
        // 40
        Frame::text("[]").unmasked(),
        Frame::text("[]").reserved(1),
        Frame::text("[]").reserved(2),
        Frame::new(Opcode::Reserved(3), "?"),
        Frame::new(Opcode::Reserved(11), "?"),
        // 41
        Frame::new(Opcode::Ping, [0; 126]),
        Frame::new(Opcode::Close, [0; 126]),
        Frame::new(Opcode::Ping, "x").unfinished(),
    ] {
        closes(&scene, &[frame], 1002).await?;
    }
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_42_and_43_large_messages_close_1009_before_they_arrive() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let too_large = " ".repeat(MESSAGE_BYTES_MAX + 1);
    let (half, rest) = too_large.split_at(MESSAGE_BYTES_MAX / 2);
    for frames in [
        // 42: announced, never sent.
        vec![Frame::text("").announcing(1 << 63)],
        vec![Frame::text("").announcing(u64::MAX)],
        vec![Frame::new(Opcode::Binary, "").announcing(1 << 32)],
        // 43: at once, and in pieces that are each small enough.
        vec![Frame::text(&too_large)],
        vec![
            Frame::text(half).unfinished(),
            Frame::new(Opcode::Continuation, rest),
        ],
    ] {
        closes(&scene, &frames, 1009).await?;
    }
    // The largest message there may be is read, and found to be no frame.
    let mut rogue = scene.joined().await?;
    let largest = Frame::text(&" ".repeat(MESSAGE_BYTES_MAX));
    rogue.socket.send_frame(&largest).await?;
    let push = rogue.socket.expect_push("error", PATIENCE).await?;
    assert_eq!(push.payload["reason"], "bad_request");
    rogue.is_kept().await?;
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_44_too_many_fragments_close_1008() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    for payload in ["x", ""] {
        let mut rogue = scene.joined().await?;
        let mut bytes = Frame::text("").unfinished().to_bytes();
        let fragment = Frame::new(Opcode::Continuation, payload).unfinished();
        for _ in 0..100_000 {
            bytes.extend(fragment.to_bytes());
        }
        // The node hangs up long before all of it is sent.
        let _ = rogue.socket.send_bytes(&bytes).await;
        rogue.socket.expect_close(1008, PATIENCE).await?;
        rogue.socket.expect_end(CLOSING_MAX + LATE).await?;
    }
    // As many fragments as there may be are one message.
    let mut rogue = scene.joined().await?;
    let text = r#"[null,"f","phoenix","heartbeat",{}]"#;
    let padding = " ".repeat(FRAGMENTS_MAX as usize - text.len());
    let whole = text.to_owned() + &padding;
    let last = whole.len() - 1;
    for (at, byte) in whole.char_indices() {
        let byte = byte.to_string();
        let mut frame = if at == 0 {
            Frame::text(&byte)
        } else {
            Frame::new(Opcode::Continuation, byte)
        };
        frame.fin = at == last;
        rogue.socket.send_frame(&frame).await?;
    }
    let reply = rogue
        .socket
        .expect_reply("phoenix", &json!("f"), PATIENCE)
        .await?;
    assert_eq!(reply.status(), Some("ok"));
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_45_fragments_out_of_order_close_1002() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    for frames in [
        vec![Frame::new(Opcode::Continuation, "of nothing")],
        vec![Frame::text("[").unfinished(), Frame::text("]")],
        vec![
            Frame::text("[").unfinished(),
            Frame::new(Opcode::Binary, "]"),
        ],
    ] {
        closes(&scene, &frames, 1002).await?;
    }
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_46_to_48_payloads_that_are_not_text() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    // 46: not UTF-8, at once, cut inside a character, and in a binary message that looks like JSON.
    for frames in [
        vec![Frame::new(Opcode::Text, [b'"', 0xff, b'"'])],
        vec![Frame::new(Opcode::Text, [0xed, 0xa0, 0x80])],
        vec![
            Frame::new(Opcode::Text, [0xf0, 0x9f]).unfinished(),
            Frame::new(Opcode::Continuation, [0x41, 0x42]),
        ],
        vec![Frame::new(Opcode::Binary, [b'[', 0xff])],
    ] {
        closes(&scene, &frames, 1007).await?;
    }
    // A character may be cut where a frame ends.
    let mut rogue = scene.joined().await?;
    let text = r#"[null,"é","phoenix","heartbeat",{}]"#.as_bytes();
    let cut = 8;
    assert!(std::str::from_utf8(&text[..cut]).is_err());
    for frame in [
        Frame::new(Opcode::Text, &text[..cut]).unfinished(),
        Frame::new(Opcode::Continuation, &text[cut..]),
    ] {
        rogue.socket.send_frame(&frame).await?;
    }
    rogue
        .socket
        .expect_reply("phoenix", &json!("é"), PATIENCE)
        .await?;

    // 47: binary that holds JSON is read, as is a push in its binary form; the rest is not.
    let json = r#"[null,"b","phoenix","heartbeat",{}]"#;
    rogue
        .socket
        .send_frame(&Frame::new(Opcode::Binary, json))
        .await?;
    rogue
        .socket
        .expect_reply("phoenix", &json!("b"), PATIENCE)
        .await?;
    let push = b"\x00\x00\x01\x07\x09qphoenixheartbeat".to_vec();
    rogue
        .socket
        .send_frame(&Frame::new(Opcode::Binary, push))
        .await?;
    rogue
        .socket
        .expect_reply("phoenix", &json!("q"), PATIENCE)
        .await?;
    for bytes in [&b"\x82\xa1"[..], b"", b"\x01\x00", b"\x00\x09\x00\x00\x00x"] {
        closes(&scene, &[Frame::new(Opcode::Binary, bytes)], 1003).await?;
    }

    // 48: compression is offered by clients and never agreed to.
    let dialer = scene.hub.dialer(&scene.rogue)?;
    let mut socket = RawWs::dial(&dialer, scene.hub.node.device_addr()).await?;
    let offer = "permessage-deflate; client_max_window_bits";
    let request = Upgrade::default().with("sec-websocket-extensions", offer);
    let answer = socket.upgrade(&request).await?;
    assert_eq!(answer.header("sec-websocket-extensions"), None);
    let mut rogue = Joined::join(socket).await?;
    rogue
        .socket
        .send_frame(&Frame::text("\u{1}\u{2}").reserved(4))
        .await?;
    rogue.socket.expect_close(1002, PATIENCE).await?;
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_49_a_flood_of_pings_closes_1008() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let mut rogue = scene.joined().await?;
    // A lively device is no flood.
    for _ in 0..MESSAGES_BURST / 2 {
        rogue
            .socket
            .send_frame(&Frame::new(Opcode::Ping, "p"))
            .await?;
    }
    rogue.is_kept().await?;
    let flood = async {
        let pings: Vec<u8> = std::iter::repeat_n(Frame::new(Opcode::Ping, "flood"), 50)
            .flat_map(|ping| ping.to_bytes())
            .collect();
        let mut turns = tokio::time::interval(Duration::from_millis(50));
        let limit = FLOOD_MAX + 3 * LATE;
        wait::within("the end of a flood of pings", limit, async {
            loop {
                turns.tick().await;
                if rogue.socket.send_bytes(&pings).await.is_err() {
                    return Ok(());
                }
                // Reading on, because a flood that reads nothing is case 52.
                let look = Duration::from_millis(1);
                while let Ok(received) = rogue.socket.next(look).await {
                    if matches!(received, Received::Close(1008, _)) {
                        return Ok(());
                    }
                    anyhow::ensure!(matches!(received, Received::Pong(_)), "{received:?}");
                }
            }
        })
        .await
    };
    let since = Instant::now();
    scene.while_served(flood).await?;
    let pongs = rogue
        .socket
        .record()
        .iter()
        .filter(|r| matches!(r, Received::Pong(_)))
        .count() as u64;
    let most = u64::from(MESSAGES_BURST)
        + u64::from(MESSAGES_PER_SECOND) * (since.elapsed().as_secs() + 2);
    assert!(pongs <= most, "{pongs} pongs in {:?}", since.elapsed());
    let closed = |r: &Received| matches!(r, Received::Close(1008, _));
    assert!(rogue.socket.record().iter().any(closed));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn case_50_and_51_half_open_and_half_closed_sockets_end_in_time() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    // 51: codes and reasons that must not be sent.
    let bad_code = |code: u16| Frame::close(code, "");
    for frame in [
        bad_code(999),
        bad_code(1005),
        bad_code(1006),
        bad_code(5000),
        Frame::new(Opcode::Close, [3]),
    ] {
        closes(&scene, &[frame], 1002).await?;
    }
    // A proper close is echoed, and then nothing is cut off.
    let mut polite = scene.joined().await?;
    polite.socket.send_frame(&Frame::close(1000, "bye")).await?;
    assert_eq!(polite.socket.expect_close(1000, PATIENCE).await?, "bye");
    assert!(polite.socket.expect_end(CLOSING_MAX + LATE).await?);
    let mut reason = 1000_u16.to_be_bytes().to_vec();
    reason.extend([0xff, 0xfe]);
    let mut rogue = scene.joined().await?;
    let frame = Frame::new(Opcode::Close, reason);
    rogue.socket.send_frame(&frame).await?;
    let is_close = |received: &Received| match received {
        Received::Close(code, _) => Some(*code),
        Received::Text(_)
        | Received::Binary(_)
        | Received::Ping(_)
        | Received::Pong(_)
        | Received::End(_) => None,
    };
    let (_, code) = rogue.socket.take("a close", PATIENCE, is_close).await?;
    assert!(matches!(code, 1002 | 1007), "{code}");

    // 51: data after the close is not read; 50: nothing is heard, though TCP is up.
    let mut talker = scene.joined().await?;
    let silent = scene.hub.device("silent").await?;
    let mut silent = Joined::open(&scene.hub, &silent).await?;
    let talk = async {
        let socket = &mut talker.socket;
        socket.send_frame(&Frame::close(1000, "bye")).await?;
        let since = Instant::now();
        let heartbeat = Frame::text(r#"[null,"late","phoenix","heartbeat",{}]"#);
        let mut turns = tokio::time::interval(Duration::from_millis(50));
        while socket.send_frame(&heartbeat).await.is_ok() {
            turns.tick().await;
            anyhow::ensure!(since.elapsed() < CLOSING_MAX + LATE, "still open");
        }
        let replied =
            |received: &Received| matches!(received, Received::Text(text) if text.contains("late"));
        assert!(!socket.record().iter().any(replied));
        Ok(())
    };
    let hold_still = async {
        silent.socket.hold_pongs(true);
        let since = Instant::now();
        silent.socket.expect_close(4411, SILENCE_MAX + LATE).await?;
        let after = since.elapsed();
        let pinged = |received: &Received| matches!(received, Received::Ping(_));
        assert!(silent.socket.record().iter().any(pinged));
        anyhow::Ok(after)
    };
    let both = async { tokio::try_join!(talk, hold_still) };
    let ((), after) = scene.while_served(both).await?;
    assert!(after + LATE > SILENCE_MAX, "{after:?}");
    let api = &scene.hub.api;
    let offline = async || {
        let device = api.device(ORG, PRODUCT, "silent").await.ok()?;
        device.connection.is_none().then_some(())
    };
    wait::until("presence follows", PATIENCE, offline).await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_52_who_never_reads_is_closed_4408_and_loses_nothing() -> anyhow::Result<()> {
    /// As many as are on their way at a time.
    const COMMANDS: usize = 32;
    /// Heartbeats at the start and from then on, below what counts as a flood.
    const BURST: usize = 30;
    const A_SECOND: usize = 8;
    let mut scene = Scene::start().await?;
    let dialer = scene.hub.dialer(&scene.rogue)?.receiving_at_most(4096);
    let socket = RawWs::open(&dialer, scene.hub.node.device_addr()).await?;
    let mut deaf = Joined::join(socket).await?;
    let mut sent = BTreeSet::new();
    for _ in 0..COMMANDS {
        let args = json!({"text": "x".repeat(16_000)});
        let command = command(&scene.hub, "rogue", "logs", &args).await?;
        sent.insert(command.id.to_string());
    }
    // It goes on talking, and the answers pile up behind the commands.
    let root = scene.hub.root.clone();
    let beat = Frame::text(r#"[null,"b","phoenix","heartbeat",{}]"#).to_bytes();
    let given_up = async {
        deaf.socket.send_bytes(&beat.repeat(BURST)).await?;
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        wait::within("the deaf device is given up", 2 * PATIENCE, async {
            loop {
                seconds.tick().await;
                deaf.socket.send_bytes(&beat.repeat(A_SECOND)).await?;
                let device = root.device(ORG, PRODUCT, "rogue").await?;
                if device.connection.is_none() {
                    return Ok(());
                }
            }
        })
        .await
    };
    scene.while_served(given_up).await?;
    deaf.socket.expect_close(4408, PATIENCE).await?;

    // It comes back with open ears.
    let mut socket = scene.rogue().await?;
    let reply = socket.join("device", hello(), PATIENCE).await?;
    assert_eq!(reply.status(), Some("ok"));
    let mut back = Joined {
        socket,
        join_ref: reply.join_ref,
    };
    let mut heard = BTreeSet::new();
    for _ in 0..COMMANDS {
        let push = back.socket.expect_push("logs", PATIENCE).await?;
        let id = push.payload["id"].as_str().context("no id")?.to_owned();
        back.ask("command_ack", json!({"id": id})).await?;
        heard.insert(id);
    }
    assert_eq!(heard, sent);
    scene.neighbour_is_served().await
}
