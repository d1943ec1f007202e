//! The harness tried on a server that is not ours, so that a failing node test cannot be the harness's fault.
//!
//! The server is tokio-tungstenite behind rustls: written by others, strict, and with known answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hub_tests::phoenix_js::PhoenixJs;
use hub_tests::pki::Authority;
use hub_tests::pki::zoo::Specimen;
use hub_tests::raw_ws::{Answer, Frame, Message, Opcode, RawWs, Received, Upgrade};
use hub_tests::tls::{self, TlsDialer, Version};
use hub_tests::wait::PATIENCE;
use rustls::server::WebPkiClientVerifier;
use rustls::{AlertDescription, RootCertStore, ServerConfig};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite;

/// A channel server of thirty lines that replies ok to everything, and the authorities around it.
struct Echo {
    address: SocketAddr,
    server_root: Authority,
    device_root: Authority,
}

impl Echo {
    async fn start() -> anyhow::Result<Self> {
        let server_root = Authority::root("server root")?;
        let device_root = Authority::root("device root")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(device_root.der().clone())?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()?;
        let server = server_root.server()?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(server.chain.clone(), server.private_key())?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // Refused handshakes and broken frames are what the tests are about.
                    let _ = serve(acceptor, socket).await;
                });
            }
        });
        Ok(Self {
            address,
            server_root,
            device_root,
        })
    }

    fn dialer(&self, specimen: Specimen, version: Version) -> anyhow::Result<TlsDialer> {
        let device = specimen.make(&self.device_root, "device-1")?;
        TlsDialer::new(self.server_root.der(), Some(&device), version)
    }
}

/// Answers a text message with a push of `seen` and then a reply, a binary one with its length, and the rest
/// by the library's rules.
async fn serve(acceptor: TlsAcceptor, socket: tokio::net::TcpStream) -> anyhow::Result<()> {
    let stream = acceptor.accept(socket).await?;
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    while let Some(message) = socket.next().await {
        let text = match message? {
            tungstenite::Message::Text(text) => text,
            tungstenite::Message::Binary(bytes) => {
                let push = json!([null, null, "device", "bytes", {"count": bytes.len()}]);
                socket.send(push.to_string().into()).await?;
                continue;
            }
            tungstenite::Message::Ping(_)
            | tungstenite::Message::Pong(_)
            | tungstenite::Message::Close(_)
            | tungstenite::Message::Frame(_) => continue,
        };
        let [join_ref, reference, topic, _, payload]: [serde_json::Value; 5] =
            serde_json::from_str(text.as_str())?;
        let push = json!([join_ref, null, topic, "seen", payload]);
        socket.send(push.to_string().into()).await?;
        let reply =
            json!([join_ref, reference, topic, "phx_reply", {"status": "ok", "response": {}}]);
        socket.send(reply.to_string().into()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_raw_client_joins_and_sees_pushes_in_order() -> anyhow::Result<()> {
    let echo = Echo::start().await?;
    for version in [Version::Tls12, Version::Tls13, Version::Any] {
        let dialer = echo.dialer(Specimen::P256, version)?;
        let mut socket = RawWs::open(&dialer, echo.address).await?;
        let reply = socket.join("device", json!({"n": 1}), PATIENCE).await?;
        assert_eq!(reply.status(), Some("ok"));
        let push = socket.expect_push("seen", PATIENCE).await?;
        assert_eq!(push.payload, json!({"n": 1}));
        assert_eq!(push.join_ref, reply.join_ref);
        let before = socket.before_heartbeat(PATIENCE).await?;
        let topics: Vec<_> = before
            .iter()
            .map(|message| message.topic.as_str())
            .collect();
        assert_eq!(topics, ["phoenix"], "only the heartbeat's own push is left");
    }
    Ok(())
}

#[tokio::test]
async fn a_second_dial_resumes_and_another_device_does_not() -> anyhow::Result<()> {
    let echo = Echo::start().await?;
    for version in [Version::Tls12, Version::Tls13] {
        let dialer = echo.dialer(Specimen::P256, version)?;
        let mut first = RawWs::open(&dialer, echo.address).await?;
        assert!(!first.resumed());
        // With TLS 1.3 the tickets arrive with the first data.
        first.join("device", json!({}), PATIENCE).await?;
        let second = RawWs::open(&dialer, echo.address).await?;
        assert!(second.resumed(), "{version:?}");
        let other = echo.dialer(Specimen::P256, version)?;
        assert!(!RawWs::open(&other, echo.address).await?.resumed());
    }
    Ok(())
}

#[tokio::test]
async fn refused_certificates_show_their_alert() -> anyhow::Result<()> {
    let echo = Echo::start().await?;
    for version in [Version::Tls12, Version::Tls13] {
        let dialer = echo.dialer(Specimen::Expired, version)?;
        let error = dialer.refusal(echo.address).await?;
        let alert = tls::alert(&error);
        assert_eq!(alert, Some(AlertDescription::CertificateExpired), "{error}");

        let nobody = TlsDialer::new(echo.server_root.der(), None, version)?;
        let error = nobody.refusal(echo.address).await?;
        assert!(tls::alert(&error).is_some(), "{error}");
    }
    Ok(())
}

/// What a third party's verifier says of each specimen: keeps the zoo honest.
#[tokio::test]
async fn a_foreign_verifier_agrees_with_the_names_of_the_zoo() -> anyhow::Result<()> {
    let echo = Echo::start().await?;
    for specimen in Specimen::ALL {
        let dialer = echo.dialer(specimen, Version::Tls13)?;
        let accepted = RawWs::open(&dialer, echo.address).await.is_ok();
        let expected = match specimen {
            Specimen::P256
            | Specimen::Ed25519
            | Specimen::UnderIntermediate
            | Specimen::UsageAbsent
            | Specimen::WildcardName
            | Specimen::NameWithNul
            | Specimen::NameInUtf16
            | Specimen::NameRightToLeft
            | Specimen::TwoNames
            | Specimen::NamesDiffer
            | Specimen::NoName
            | Specimen::NameTooLong => true,
            Specimen::IntermediateMissing
            | Specimen::Expired
            | Specimen::NotYetValid
            | Specimen::ServerUsageOnly
            | Specimen::AuthorityAsLeaf
            | Specimen::SignedByLeaf
            | Specimen::JunkIntermediates
            | Specimen::DeepPath
            | Specimen::NameConstraintBroken => false,
        };
        assert_eq!(accepted, expected, "{specimen:?}");
    }
    Ok(())
}

#[tokio::test]
async fn bad_frames_arrive_as_they_were_written() -> anyhow::Result<()> {
    let echo = Echo::start().await?;
    let dialer = echo.dialer(Specimen::P256, Version::Any)?;
    let bad = [
        Frame::text("{}").unmasked(),
        Frame::text("{}").reserved(4),
        Frame::new(Opcode::Reserved(3), "?"),
        Frame::new(Opcode::Ping, [0; 126]),
        Frame::new(Opcode::Ping, "x").unfinished(),
        Frame::new(Opcode::Continuation, "of nothing"),
    ];
    for frame in bad {
        let mut socket = RawWs::open(&dialer, echo.address).await?;
        socket.send_frame(&frame).await?;
        // This server drops the connection where a hub would close with 1002 first.
        socket.expect_end(PATIENCE).await?;
    }
    Ok(())
}

#[tokio::test]
async fn fragments_pings_and_closes_are_told_apart() -> anyhow::Result<()> {
    let echo = Echo::start().await?;
    let dialer = echo.dialer(Specimen::P256, Version::Any)?;
    let mut socket = RawWs::open(&dialer, echo.address).await?;
    let text = r#"["1","1","device","e",{"cut":true}]"#;
    let (start, end) = text.split_at(9);
    socket.send_frame(&Frame::text(start).unfinished()).await?;
    socket
        .send_frame(&Frame::new(Opcode::Ping, "between"))
        .await?;
    socket
        .send_frame(&Frame::new(Opcode::Continuation, end))
        .await?;
    assert_eq!(
        socket.next(PATIENCE).await?,
        Received::Pong(b"between".to_vec())
    );
    let push: Message = socket.expect_push("seen", PATIENCE).await?;
    assert_eq!(push.payload, json!({"cut": true}));
    socket.send_frame(&Frame::close(1000, "bye")).await?;
    assert_eq!(socket.expect_close(1000, PATIENCE).await?, "bye");
    socket.expect_end(PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn a_refused_upgrade_gives_the_whole_answer() -> anyhow::Result<()> {
    let echo = Echo::start().await?;
    let dialer = echo.dialer(Specimen::P256, Version::Any)?;
    let mut socket = RawWs::dial(&dialer, echo.address).await?;
    let plain = Upgrade::default().without("upgrade").without("connection");
    let refused = socket.upgrade(&plain).await;
    // The library hangs up instead of answering; either is an error and none may hang.
    let error = refused.unwrap_err();
    assert!(
        error
            .downcast_ref::<Answer>()
            .is_none_or(|answer| answer.status >= 400)
    );
    Ok(())
}

#[tokio::test]
async fn the_official_client_tells_what_it_sees() -> anyhow::Result<()> {
    let echo = Echo::start().await?;
    let device = Specimen::P256.make(&echo.device_root, "device-1")?;
    let beat = Duration::from_millis(100);
    let mut client = PhoenixJs::start(echo.address, &echo.server_root, &device, beat)?;
    client.expect("open", PATIENCE, |_| true).await?;
    for round in 1..=2 {
        client
            .command(&format!(r#"join device {{"round": {round}}}"#))
            .await?;
        let push = client.expect("push", PATIENCE, |_| true).await?;
        assert_eq!(push["payload"], json!({"round": round}));
        client.expect("joined", PATIENCE, |_| true).await?;
        client.expect("heartbeat", PATIENCE, |_| true).await?;
        client.command("leave device").await?;
        client.expect("left", PATIENCE, |_| true).await?;
    }
    client.command(r#"join device {"round": 3}"#).await?;
    client.expect("joined", PATIENCE, |_| true).await?;
    client.command("push-bytes device blob four").await?;
    let is_bytes = |report: &serde_json::Value| report["event"] == "bytes";
    let push = client.expect("push", PATIENCE, is_bytes).await?;
    // The head of a binary push: kind, four lengths, then refs "N" and "N", topic and event.
    let refs = push["payload"]["count"].as_u64().unwrap() - (1 + 4 + 6 + 4 + 4);
    assert!((2..=4).contains(&refs), "{push}");
    client.command("drop").await?;
    client.expect("close", PATIENCE, |_| true).await?;
    let again = |report: &serde_json::Value| report["topic"] == "device";
    client.expect("joined", PATIENCE, again).await?;
    Ok(())
}
