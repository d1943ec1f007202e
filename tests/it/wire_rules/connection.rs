//! Rules 11 and 17 to 20: signs of life, the end of a socket, TLS, the upgrade and refusals.

use hub_tests::raw_ws::{Answer, Frame, Opcode, RawWs, Received, Upgrade};
use hub_tests::sandbox::{ORG, PRODUCT, Sandbox};
use hub_tests::tls::{Version, alert};
use hub_tests::wait::{self, PATIENCE};
use serde_json::json;

use super::{BARE, DIALECTS, V2, ask, joined_legacy, message};
use crate::acts::{command_device, connect_to, dialer, heard, legacy};

/// How long silence may last is a matter of the session's clock and tried there, pings and pongs included.
#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_11_a_device_that_only_pings_is_alive() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    let mut socket = connect_to(&sandbox, &leaf, V2).await?;
    let refs = (json!(null), json!("1"));
    ask(&mut socket, &message(refs, "device", "phx_join", legacy())).await?;
    for n in 0..3_u8 {
        let ping = Frame::new(Opcode::Ping, [b'k', n]);
        socket.send_frame(&ping).await?;
        assert_eq!(socket.next(PATIENCE).await?, Received::Pong(vec![b'k', n]));
        command_device(&sandbox, "s1", "identify", json!({"n": n})).await?;
        let push = socket.expect_push("identify", PATIENCE).await?;
        assert_eq!(push.payload["n"], json!(n));
        socket
            .take("the ping behind it", PATIENCE, |received| {
                matches!(received, Received::Ping(_)).then_some(())
            })
            .await?;
    }
    // An empty ping is one, too.
    socket.send_frame(&Frame::new(Opcode::Ping, "")).await?;
    assert_eq!(socket.next(PATIENCE).await?, Received::Pong(Vec::new()));
    assert!(!heard(&socket, "phx_close"));
    Ok(())
}

/// Waits until the node holds this many sockets.
async fn sockets(sandbox: &Sandbox, count: u64) -> anyhow::Result<()> {
    wait::until(&format!("{count} sockets"), PATIENCE, async || {
        (sandbox.node.sockets() == count).then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_17_a_client_that_never_answers_a_close_is_dropped() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    // A1 goes on with its heartbeats, on a connection that it does not let go of.
    let mut old = joined_legacy(&sandbox, &leaf, BARE).await?;
    let _new = joined_legacy(&sandbox, &leaf, BARE).await?;
    old.expect_close(4409, PATIENCE).await?;
    let mut beats = 0;
    wait::until("the hub has dropped it", PATIENCE, async || {
        beats += 1;
        let beat = message(
            (json!(null), json!(beats)),
            "phoenix",
            "heartbeat",
            json!({}),
        );
        // It fails once the hub has dropped the connection.
        let _ = old.send(&beat).await;
        (sandbox.node.sockets() == 1).then_some(())
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_17_a_client_that_just_drops_the_connection_is_away() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    for target in [BARE, V2] {
        let socket = joined_legacy(&sandbox, &leaf, target).await?;
        sockets(&sandbox, 1).await?;
        // A3 and A4: no close frame, no close_notify.
        drop(socket);
        sockets(&sandbox, 0).await?;
        wait::until("the device is away", PATIENCE, async || {
            let device = sandbox.api.device(ORG, PRODUCT, "s1").await.ok()?;
            device.connection.is_none().then_some(())
        })
        .await?;
    }
    // And one that asks properly is answered properly, with its own code.
    for (code, answer) in [(1000, 1000), (1001, 1001), (4000, 4000), (1005, 1002)] {
        let mut socket = joined_legacy(&sandbox, &leaf, V2).await?;
        socket.send_frame(&Frame::close(code, "bye")).await?;
        socket.expect_close(answer, PATIENCE).await?;
        assert!(socket.expect_end(PATIENCE).await?, "TLS was closed, too");
    }
    let mut socket = joined_legacy(&sandbox, &leaf, V2).await?;
    socket.send_frame(&Frame::new(Opcode::Close, "")).await?;
    socket.expect_close(1005, PATIENCE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_18_tls_1_2_and_1_3_both_carry_both_framings() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    for version in [Version::Tls12, Version::Tls13, Version::Any] {
        let dialer = dialer(&sandbox, Some(&leaf), version)?;
        for target in DIALECTS {
            let mut socket = RawWs::dial(&dialer, sandbox.node.device_addr()).await?;
            socket.upgrade(&Upgrade::to(target)).await?;
            let join = message((json!("1"), json!("1")), "device", "phx_join", legacy());
            let reply = ask(&mut socket, &join).await?;
            assert_eq!(reply.status(), Some("ok"), "{version:?} {target}");
            command_device(&sandbox, "s1", "identify", json!({"n": 1})).await?;
            let push = socket.expect_push("identify", PATIENCE).await?;
            assert_eq!(push.payload["n"], 1, "{version:?} {target}");
            assert!(!heard(&socket, "phx_close"));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_19_host_may_lack_the_port_and_compression_may_be_offered() -> anyhow::Result<()>
{
    let sandbox = Sandbox::start().await?;
    let leaf = sandbox.device("s1").await?;
    let address = sandbox.node.device_addr();
    let deflate = "permessage-deflate; client_max_window_bits";
    let requests = [
        Upgrade::to(BARE).replacing("host", "localhost"),
        Upgrade::to(V2).replacing("host", &address.to_string()),
        Upgrade::to(V2).replacing("host", "hub.example.com"),
        Upgrade::to(V2).with("sec-websocket-extensions", deflate),
        Upgrade::to(V2).with("sec-websocket-extensions", "permessage-deflate"),
    ];
    let dialer = dialer(&sandbox, Some(&leaf), Version::Tls12)?;
    for request in requests {
        let mut socket = RawWs::dial(&dialer, address).await?;
        let answer = socket.upgrade(&request).await?;
        // Not agreed to, so every frame is plain: the harness refuses a compressed one.
        assert_eq!(answer.header("sec-websocket-extensions"), None);
        let join = message((json!("1"), json!("1")), "device", "phx_join", legacy());
        let reply = ask(&mut socket, &join).await?;
        assert_eq!(reply.status(), Some("ok"), "{request:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_rule_20_a_refusal_is_cheap_and_trying_again_works() -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let address = sandbox.node.device_addr();
    let leaf = sandbox.devices.device("s1")?;
    for version in [Version::Tls12, Version::Tls13] {
        let unknown = dialer(&sandbox, Some(&leaf), version)?;
        let nobody = dialer(&sandbox, None, version)?;
        for _ in 0..8 {
            // A TLS alert, and an answer of HTTP: a device takes both for "try again".
            let error = unknown.refusal(address).await?;
            assert!(alert(&error).is_some(), "{error}");
            let mut socket = RawWs::dial(&nobody, address).await?;
            let refused = socket.upgrade(&Upgrade::default()).await.unwrap_err();
            let answer: Answer = refused.downcast()?;
            assert_eq!((answer.status, answer.body.len()), (401, 0));
            socket.expect_end(PATIENCE).await?;
            assert_eq!(sandbox.node.sockets(), 0, "no actor was started");
        }
    }
    // The reason is gone, and the next try is let in.
    sandbox.pin("s1", &leaf).await?;
    let mut socket = joined_legacy(&sandbox, &leaf, V2).await?;
    sandbox.api.revoke_device(ORG, PRODUCT, "s1").await?;
    socket.expect_close(4401, PATIENCE).await?;
    let dialer = dialer(&sandbox, Some(&leaf), Version::Tls13)?;
    let error = dialer.refusal(address).await?;
    assert!(alert(&error).is_some(), "{error}");
    sandbox.api.reinstate_device(ORG, PRODUCT, "s1").await?;
    joined_legacy(&sandbox, &leaf, V2).await?;
    Ok(())
}
