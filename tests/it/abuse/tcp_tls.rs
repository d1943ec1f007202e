//! Cases 1 to 8: what may happen before there is a TLS session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hub_core::limits::TLS_HANDSHAKE_MAX;
use hub_tests::tls::{TlsDialer, Version};
use hub_tests::wait::{self, PATIENCE};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{LATE, Scene};

/// Record types.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// A sane ClientHello, as a whole TLS record.
fn client_hello(name: ServerName<'static>) -> anyhow::Result<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(config), name)?.write_tls(&mut hello)?;
    Ok(hello)
}

/// Sends bytes and reads until the end or the first `enough` bytes.
async fn exchange(address: SocketAddr, bytes: &[u8], enough: usize) -> anyhow::Result<Vec<u8>> {
    wait::within("an answer in TLS", PATIENCE, async {
        let mut socket = TcpStream::connect(address).await?;
        // The node may hang up in the middle of what is sent.
        let _ = socket.write_all(bytes).await;
        let mut answer = vec![0; enough];
        let mut length = 0;
        while length < enough {
            match socket.read(&mut answer[length..]).await {
                Ok(0) | Err(_) => break,
                Ok(more) => length += more,
            }
        }
        answer.truncate(length);
        Ok(answer)
    })
    .await
}

/// The description of the alert at the start of an answer, then nothing else.
fn alert(answer: &[u8]) -> Option<u8> {
    match answer {
        [ALERT, _, _, 0, 2, 2, description] => Some(*description),
        _ => None,
    }
}

/// How long the node keeps a connection that sends `bytes`, one a second.
async fn kept_for(address: SocketAddr, bytes: &[u8]) -> anyhow::Result<Duration> {
    let since = Instant::now();
    let (mut reading, mut writing) = TcpStream::connect(address).await?.into_split();
    let ended = async {
        let mut byte = [0];
        // An end or a reset: both are a close.
        Ok(reading.read(&mut byte).await.unwrap_or(0))
    };
    let trickle = async {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        for byte in bytes {
            seconds.tick().await;
            if writing.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let within = TLS_HANDSHAKE_MAX + LATE;
    let read = tokio::select! {
        read = wait::within("the end of a slow connection", within, ended) => read?,
        () = trickle => 0,
    };
    anyhow::ensure!(read == 0, "the node spoke before it was greeted");
    Ok(since.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn case_01_and_02_silence_and_slowness_end_at_one_deadline() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let address = scene.hub.node.device_addr();
    let hello = client_hello("localhost".try_into()?)?;
    let harm = async { tokio::try_join!(kept_for(address, &[]), kept_for(address, &hello)) };
    let (silent, slow) = scene.while_served(harm).await?;
    for kept in [silent, slow] {
        assert!(kept >= TLS_HANDSHAKE_MAX, "{kept:?}");
        assert!(kept < TLS_HANDSHAKE_MAX + LATE, "{kept:?}");
    }
    assert_eq!(scene.hub.node.sockets(), 1, "no actor but the neighbour's");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn case_03_a_flood_of_handshakes_hurts_no_joined_device() -> anyhow::Result<()> {
    /// More than may shake hands at a time.
    const FLOOD: usize = 400;
    let mut scene = Scene::start().await?;
    let address = scene.hub.node.device_addr();
    let hello = client_hello("localhost".try_into()?)?;
    let mut flood = Vec::with_capacity(FLOOD);
    for connection in 0..FLOOD {
        let mut socket = TcpStream::connect(address).await?;
        match connection % 4 {
            0 => {}
            1 => socket.write_all(&hello[..hello.len() / 2]).await?,
            2 => socket.write_all(&hello).await?,
            _ => {
                let _ = socket.write_all(&[0xff; 64]).await;
            }
        }
        flood.push(socket);
    }
    for _ in 0..5 {
        scene.neighbour_is_served().await?;
    }
    drop(flood);
    scene.joined().await.context("a newcomer after the flood")?;
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_04_to_07_what_is_no_tls_gets_an_alert_and_a_close() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let address = scene.hub.node.device_addr();

    // 4: a browser that was sent to the wrong port is told nothing in its own language.
    let answer = exchange(address, b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n", 4096).await?;
    assert!(alert(&answer).is_some(), "{answer:?}");

    // 5: TLS 1.1 at most, and TLS 1.2 with nothing but RC4.
    for (version, suite) in [([3, 2], [0xc0, 0x13]), ([3, 3], [0x00, 0x05])] {
        let answer = exchange(address, &old_hello(version, suite), 4096).await?;
        let description = alert(&answer);
        assert!(matches!(description, Some(40 | 70)), "{answer:?}");
    }

    // 6: any name and none lead to the one certificate there is.
    for name in ["localhost", "nobody.example", "127.0.0.1"] {
        let answer = exchange(address, &client_hello(name.try_into()?)?, 6).await?;
        assert_eq!(answer.first(), Some(&HANDSHAKE), "{name}: {answer:?}");
    }

    // 7: a handshake message beyond any sense, and records that are none.
    let mut endless = Vec::new();
    for part in 0..5 {
        let mut record = vec![HANDSHAKE, 3, 1, 0x3f, 0xff];
        record.resize(5 + 0x3fff, 0);
        if part == 0 {
            record[5..9].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
        }
        endless.extend(record);
    }
    for junk in [
        &endless[..],
        &[0xff; 64],
        &[HANDSHAKE, 3, 1, 0xff, 0xff, 0],
        &[HANDSHAKE, 3, 1, 0, 0],
        &[23, 3, 3, 0, 1, 0],
    ] {
        let answer = exchange(address, junk, 4096).await?;
        assert!(
            answer.is_empty() || alert(&answer).is_some(),
            "{:?}: {answer:?}",
            &junk[..6.min(junk.len())]
        );
    }
    assert_eq!(scene.hub.node.sockets(), 1, "no actor but the neighbour's");
    scene.neighbour_is_served().await
}

/// A ClientHello of older days: one version, one suite, no extensions.
fn old_hello(version: [u8; 2], suite: [u8; 2]) -> Vec<u8> {
    let mut hello = version.to_vec();
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, suite[0], suite[1], 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![HANDSHAKE, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn case_08_a_flood_of_key_updates_is_closed() -> anyhow::Result<()> {
    /// Far more than a client with data to protect ever sends.
    const UPDATES: usize = 200;
    let mut scene = Scene::start().await?;
    let root = scene.hub.server_root.der();
    let dialer = TlsDialer::new(root, Some(&scene.rogue), Version::Tls13)?;
    let mut stream = dialer.dial(scene.hub.node.device_addr()).await?;
    let flood = async {
        for _ in 0..UPDATES {
            stream.get_mut().1.refresh_traffic_keys()?;
            if stream.flush().await.is_err() {
                break;
            }
        }
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(0) | Err(_) => Ok(()),
            Ok(_) => anyhow::bail!("the node had something to say to it"),
        }
    };
    wait::within("the end of a flood of key updates", PATIENCE, flood).await?;
    assert_eq!(scene.hub.node.sockets(), 1, "no actor but the neighbour's");
    scene.neighbour_is_served().await
}
