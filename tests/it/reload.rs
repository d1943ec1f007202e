//! What changes while a node runs, and the sockets that do not notice.

use hub_tests::hub_process::HubProcess;
use hub_tests::pki::Leaf;
use hub_tests::process::Signal;
use hub_tests::raw_ws::RawWs;
use hub_tests::tenant;
use hub_tests::tls::{self, TlsDialer, Version};
use hub_tests::wait::{self, PATIENCE};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::acts;

const DEVICES: usize = 5;

fn dialer(hub: &HubProcess, leaf: &Leaf) -> anyhow::Result<TlsDialer> {
    TlsDialer::new(hub.server_root.der(), Some(leaf), Version::Tls13)
}

async fn joined(hub: &HubProcess, leaf: &Leaf) -> anyhow::Result<RawWs> {
    let mut socket = RawWs::open(&dialer(hub, leaf)?, hub.device_addr()).await?;
    let reply = socket.join("device", acts::acking(), PATIENCE).await?;
    anyhow::ensure!(reply.status() == Some("ok"), "{reply:?}");
    Ok(socket)
}

/// The certificate that the device port shows now.
async fn shown(hub: &HubProcess, leaf: &Leaf) -> anyhow::Result<Vec<u8>> {
    let stream = dialer(hub, leaf)?.dial(hub.device_addr()).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    Ok(chain[0].to_vec())
}

async fn reload(hub: &HubProcess) -> anyhow::Result<(StatusCode, Value)> {
    let url = format!("{}/reload", hub.admin_url());
    let answer = reqwest::Client::new().post(url).send().await?;
    Ok((answer.status(), answer.json().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_disconnects_nobody() -> anyhow::Result<()> {
    let mut hub = HubProcess::start().await?;
    let (mut leaves, mut sockets) = (Vec::new(), Vec::new());
    for number in 0..DEVICES {
        let leaf = hub.devices.device(&format!("d{number}"))?;
        tenant::pin(&hub.api, &format!("d{number}"), &leaf).await?;
        sockets.push(joined(&hub, &leaf).await?);
        leaves.push(leaf);
    }
    let before = shown(&hub, &leaves[0]).await?;

    // certificate, log filter and limits at once; what needs a restart is named
    hub.renew_certificate()?;
    let changed = "log = \"debug\"\nhandshakes_per_second = 2000\nnode_name = \"other\"\n";
    std::fs::write(hub.config_file(), changed)?;
    let expected = json!({
        "changed": ["handshakes_per_second", "log"],
        "needs_restart": ["node_name"],
        "certificates": ["device"],
        "problems": [],
    });
    assert_eq!(reload(&hub).await?, (StatusCode::OK, expected));
    let after = shown(&hub, &leaves[0]).await?;
    assert_ne!(before, after);
    hub.program()?.said("DEBUG rustls", PATIENCE).await?;

    // what is wrong changes nothing
    std::fs::write(hub.config_file(), "log = 7\nhandshakes = 1\n")?;
    std::fs::write(hub.dir.path().join("server-cert.pem"), "nonsense")?;
    let (status, body) = reload(&hub).await?;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    let problems = body["problems"].to_string();
    assert!(problems.contains("log: ") && problems.contains("handshakes: no such key"));
    std::fs::write(hub.config_file(), "log = \"info\"\n")?;
    let (status, body) = reload(&hub).await?;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    assert_eq!(shown(&hub, &leaves[0]).await?, after);

    // a signal does the same
    hub.renew_certificate()?;
    hub.program()?.signal(Signal::SIGHUP)?;
    let renewed = async || {
        let now = shown(&hub, &leaves[0]).await.ok()?;
        (now != after).then_some(())
    };
    wait::until("another certificate", PATIENCE, renewed).await?;

    // every socket is still the first one, and a new one joins
    for socket in &mut sockets {
        let closes = socket.before_heartbeat(PATIENCE).await?;
        assert!(
            closes.iter().all(|message| message.event != "phx_close"),
            "{closes:?}"
        );
    }
    joined(&hub, &leaves[0]).await?;
    hub.program()?.stop(PATIENCE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_revocation_list_ends_whom_it_names_and_nobody_else() -> anyhow::Result<()> {
    let hub = HubProcess::start().await?;
    let (mut leaves, mut sockets) = (Vec::new(), Vec::new());
    for number in 0..3 {
        let leaf = hub.devices.device(&format!("d{number}"))?;
        tenant::pin(&hub.api, &format!("d{number}"), &leaf).await?;
        sockets.push(joined(&hub, &leaf).await?);
        leaves.push(leaf);
    }
    let list = hub.devices.revocation_list(&[&leaves[1]])?;
    std::fs::write(hub.crls().join("devices.pem"), list)?;
    let (status, body) = reload(&hub).await?;
    assert_eq!(
        (status, &body["certificates"]),
        (StatusCode::OK, &json!(["device_crls"]))
    );
    sockets[1].expect_close(4401, PATIENCE).await?;
    let refused = dialer(&hub, &leaves[1])?.refusal(hub.device_addr()).await?;
    let revoked = Some(rustls::AlertDescription::CertificateRevoked);
    assert_eq!(tls::alert(&refused), revoked, "{refused}");
    for number in [0, 2] {
        sockets[number].before_heartbeat(PATIENCE).await?;
        joined(&hub, &leaves[number]).await?;
    }
    // what is no list leaves the old one in use
    std::fs::write(hub.crls().join("other.pem"), "nonsense")?;
    let (status, body) = reload(&hub).await?;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    assert!(joined(&hub, &leaves[1]).await.is_err());
    Ok(())
}
