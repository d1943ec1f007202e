//! Cases 29 and 32 to 37: the one HTTP request before a socket.

use anyhow::Context as _;
use hub_core::limits::REQUEST_HEAD_MAX;
use hub_tests::raw_ws::{Answer, RawWs, Upgrade};
use hub_tests::sandbox::{ORG, PRODUCT, Sandbox};
use hub_tests::wait::PATIENCE;
use tokio::time::Instant;

use super::{Joined, LATE, Scene};

/// What the node answers to these bytes; the connection ends after it.
async fn answer(scene: &Scene, bytes: &[u8]) -> anyhow::Result<Answer> {
    let dialer = scene.hub.dialer(&scene.rogue)?;
    let mut socket = RawWs::dial(&dialer, scene.hub.node.device_addr()).await?;
    socket.send_bytes(bytes).await?;
    let answer = socket.read_head().await?;
    if answer.status != 101 {
        socket.expect_end(PATIENCE).await?;
    }
    Ok(answer)
}

async fn status(scene: &Scene, request: &Upgrade) -> anyhow::Result<u16> {
    Ok(answer(scene, &request.to_bytes()).await?.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn case_29_headers_that_name_somebody_else_are_ignored() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let somebody = scene.hub.device("somebody").await?;
    let claim = somebody.pem().replace('\n', "");
    let request = Upgrade::default()
        .with("x-forwarded-tls-client-cert", &claim)
        .with("x-forwarded-client-cert", &claim)
        .with("x_auth", "somebody")
        .with("x-forwarded-for", "192.0.2.1");
    let dialer = scene.hub.dialer(&scene.rogue)?;
    let mut socket = RawWs::dial(&dialer, scene.hub.node.device_addr()).await?;
    socket.upgrade(&request).await?;
    let joined = Joined::join(socket).await?;
    let api = &scene.hub.api;
    let rogue = api.device(ORG, PRODUCT, "rogue").await?;
    let remote = rogue.connection.and_then(|connection| connection.remote);
    assert!(remote.context("no address")?.starts_with("127.0.0.1:"));
    let claimed = api.device(ORG, PRODUCT, "somebody").await?;
    assert!(claimed.connection.is_none());
    drop(joined);
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_32_what_two_readers_could_frame_differently_is_refused() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let smuggled = Upgrade::default().method("GET").to_bytes();
    let base = Upgrade::default;
    let requests = [
        base()
            .with("content-length", "5")
            .with("transfer-encoding", "chunked")
            .body("0\r\n\r\n"),
        base()
            .with("content-length", "4")
            .with("content-length", "0"),
        base()
            .with("transfer-encoding", "chunked")
            .body(smuggled.clone()),
        base()
            .with("content-length", &smuggled.len().to_string())
            .body(smuggled),
        base().with("host", "other.example"),
        base().with("x-bare", "a\nx-other: b"),
        base().with("x-folded", "a\r\n b"),
        base().with("x-nul", "a\0b"),
        base().without("host"),
    ];
    for request in requests {
        let status = status(&scene, &request).await?;
        assert_eq!(status, 400, "{:?}", request.headers);
    }
    assert_eq!(scene.hub.node.sockets(), 1);
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_33_heads_that_are_too_long_too_many_or_too_slow() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let mut many = Upgrade::default();
    for number in 0..101 {
        many = many.with(&format!("x-{number}"), "y");
    }
    assert_eq!(status(&scene, &many).await?, 431);
    let large = Upgrade::default().with("x", &"y".repeat(20 * 1024));
    assert_eq!(status(&scene, &large).await?, 431);

    let dialer = scene.hub.dialer(&scene.rogue)?;
    let address = scene.hub.node.device_addr();
    let silent = async {
        let mut socket = RawWs::dial(&dialer, address).await?;
        let since = Instant::now();
        let answer = socket.read_head().await?;
        anyhow::Ok((answer.status, since.elapsed()))
    };
    let slow = async {
        let mut socket = RawWs::dial(&dialer, address).await?;
        let since = Instant::now();
        let mut turns = tokio::time::interval(REQUEST_HEAD_MAX / 8);
        // Six of eight turns: the last bytes never come.
        for byte in &Upgrade::default().to_bytes()[..6] {
            turns.tick().await;
            socket.send_bytes(&[*byte]).await?;
        }
        let answer = socket.read_head().await?;
        anyhow::Ok((answer.status, since.elapsed()))
    };
    let both = async { tokio::try_join!(silent, slow) };
    let (silent, slow) = scene.while_served(both).await?;
    for (status, after) in [silent, slow] {
        assert_eq!(status, 408);
        // The clock of the node starts a moment before ours.
        assert!(after + LATE / 10 > REQUEST_HEAD_MAX && after < REQUEST_HEAD_MAX + LATE);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn case_34_to_37_upgrades_that_are_none() -> anyhow::Result<()> {
    let hub = Sandbox::with(|config| config.device_origins = vec!["https://ops.example".into()]);
    let mut scene = Scene::on(hub.await?).await?;
    let base = Upgrade::default;
    let socket = |query: &str| Upgrade::to(&format!("/socket/websocket?{query}"));
    let endless = vec!["a=b"; 10_000].join("&");
    let cases = [
        // 34
        (base().without("sec-websocket-key"), vec![400]),
        (base().replacing("sec-websocket-key", "short"), vec![400]),
        (base().replacing("sec-websocket-version", "8"), vec![426]),
        (base().without("sec-websocket-version"), vec![426]),
        (base().without("upgrade").without("connection"), vec![426]),
        (base().method("POST"), vec![405]),
        // 35
        (base().with("origin", "https://evil.example"), vec![403]),
        (base().with("origin", "null"), vec![403]),
        (base().with("origin", "https://ops.example"), vec![101]),
        // 36
        (Upgrade::to("/socket/x/../websocket"), vec![404]),
        (Upgrade::to("/socket/%2e%2e/socket/websocket"), vec![404]),
        (Upgrade::to("//socket/websocket"), vec![404]),
        (Upgrade::to("/socket/websocket;x"), vec![404]),
        (Upgrade::to("/socket/websocket/"), vec![404]),
        (Upgrade::to("/firmware/../../etc/passwd"), vec![404]),
        (Upgrade::to("/firmware/%2e%2e/hub.db"), vec![404]),
        // 37
        (socket("vsn=3.0.0"), vec![400]),
        (socket("vsn=2.0.0&vsn=1.0.0"), vec![400]),
        (socket(&vec!["a=b"; 17].join("&")), vec![400]),
        (socket(&endless), vec![400, 431]),
        (socket("vsn=2.0.0&unknown=1"), vec![101]),
    ];
    for (request, expected) in cases {
        let status = status(&scene, &request).await?;
        assert!(
            expected.contains(&status),
            "{status}: {} {:.80}",
            request.method,
            request.target
        );
    }
    // The refusal of a version says which one is spoken.
    let old = base().replacing("sec-websocket-version", "8");
    let answer = answer(&scene, &old.to_bytes()).await?;
    assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    scene.neighbour_is_served().await
}
