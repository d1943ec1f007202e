//! A whole device against a small hub: mutual TLS, one WebSocket, an update, a command, a lost connection.

use std::{path::Path, sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use hub_device::{
    Config, Credentials, Device, DeviceState, Identity, Phase, Reboot,
    updater::{Updater, ab::AbUpdater},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};
use tokio_util::sync::CancellationToken;

use crate::{
    download::downloader,
    firmware::{self, File},
    server::{Manner, Server},
};

const GROUP: &str = "group:acme:sensor:canary";
const COMMAND: &str = "018f0000-0000-7000-8000-000000000001";

struct Pki {
    ca_pem: String,
    server: (String, String),
    device: (String, String),
}

fn pki() -> Pki {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let leaf = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()])
            .unwrap()
            .signed_by(&key, &ca)
            .unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    Pki {
        ca_pem: ca.pem(),
        server: leaf("localhost"),
        device: leaf("device-1"),
    }
}

/// The hub's side of one socket.
struct Peer(WebSocketStream<TlsStream<TcpStream>>);

impl Peer {
    async fn accept(listener: &TcpListener, acceptor: &TlsAcceptor) -> Self {
        let (tcp, _) = listener.accept().await.unwrap();
        let tls = acceptor.accept(tcp).await.unwrap();
        assert!(
            tls.get_ref()
                .1
                .peer_certificates()
                .is_some_and(|chain| !chain.is_empty())
        );
        Self(accept_async(tls).await.unwrap())
    }

    /// Accepts the device and its join, and tells it one group.
    async fn joined(listener: &TcpListener, acceptor: &TlsAcceptor) -> (Self, Value) {
        let mut hub = Self::accept(listener, acceptor).await;
        let join = hub.expect("phx_join").await;
        hub.reply(&join, json!({ "groups": [GROUP] })).await;
        (hub, join)
    }

    async fn group_joined(&mut self) -> Value {
        let join = self.expect("phx_join").await;
        assert_eq!(join[2], GROUP);
        self.reply(&join, json!({})).await;
        join
    }

    /// Offers the file and sees the update through to the restart.
    async fn update(&mut self, files: &Server, file: &File) {
        let offer = json!({
            "id": COMMAND, "url": files.url(), "uuid": file.uuid, "version": "2.0.0", "size": file.bytes.len(),
        });
        self.send(json!([null, null, "device", "firmware_update", offer]))
            .await;
        for status in ["received", "started", "completed"] {
            assert_eq!(self.expect("status_update").await[4]["status"], status);
        }
        self.expect("rebooting").await;
    }

    async fn send(&mut self, message: Value) {
        self.0
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    /// The next message with this event; replies ok to every report on the way, as a hub does after its commit.
    async fn expect(&mut self, event: &str) -> Value {
        loop {
            let Some(Ok(message)) = self.0.next().await else {
                panic!("the device closed before {event}")
            };
            let Message::Text(text) = message else {
                continue;
            };
            let message: Value = serde_json::from_str(text.as_str()).unwrap();
            if message[3] != "phx_join" && message[3] != "heartbeat" {
                self.reply(&message, json!({})).await;
            }
            if message[3] == event {
                return message;
            }
        }
    }

    async fn reply(&mut self, to: &Value, response: Value) {
        let payload = json!({ "status": "ok", "response": response });
        self.send(json!([to[0], to[1], to[2], "phx_reply", payload]))
            .await;
    }
}

fn acceptor(pki: &Pki) -> TlsAcceptor {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pki.ca_pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(pki.server.0.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(pki.server.1.as_bytes()).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn device(pki: &Pki, port: u16, state: &Path, file: &File) -> Device {
    let credentials = Credentials {
        certificate_pem: pki.device.0.clone().into_bytes(),
        key_pem: pki.device.1.clone().into_bytes(),
        ca_pem: pki.ca_pem.clone().into_bytes(),
    };
    let identity = Identity::Shared {
        tls: credentials.client_config().unwrap(),
        downloader: downloader(),
    };
    let updater = Updater::Ab(AbUpdater::new(state));
    let mut config = Config::new(format!("wss://localhost:{port}"), identity, updater);
    config.state = Some(state.to_owned());
    config.public_keys = vec![file.key.public_key()];
    config.reboot = Reboot::Simulated(Duration::from_millis(1));
    config.effects_log = Some(state.join("effects"));
    Device::builder(config)
        .command("blink", |args| async move {
            Ok(format!("blinked {} times", args["times"]))
        })
        .build()
        .unwrap()
}

async fn until(
    state: &mut watch::Receiver<DeviceState>,
    wanted: impl FnMut(&DeviceState) -> bool,
) -> DeviceState {
    tokio::time::timeout(Duration::from_secs(30), state.wait_for(wanted))
        .await
        .unwrap()
        .unwrap()
        .clone()
}

#[tokio::test]
async fn a_device_joins_updates_obeys_and_comes_back() {
    let (pki, directory) = (pki(), tempfile::tempdir().unwrap());
    let file = firmware::file("2.0.0", 200_000);
    let files = Server::start(
        file.bytes.clone(),
        Manner {
            cut_after: 90_000,
            ..Manner::default()
        },
    )
    .await;
    let (listener, acceptor) = (
        TcpListener::bind("localhost:0").await.unwrap(),
        acceptor(&pki),
    );
    let device = device(
        &pki,
        listener.local_addr().unwrap().port(),
        directory.path(),
        &file,
    );
    let (mut state, stop) = (device.state(), CancellationToken::new());
    let run = tokio::spawn(device.run(stop.clone()));

    let (mut hub, join) = Peer::joined(&listener, &acceptor).await;
    assert_eq!(join[2], "device", "nothing is installed");
    hub.group_joined().await;
    until(&mut state, |state| state.groups == [GROUP]).await;
    hub.update(&files, &file).await;

    let (mut hub, join) = Peer::joined(&listener, &acceptor).await;
    assert_eq!(join[2], format!("device:{}", file.uuid));
    let cuts = files.requests().len();
    assert_eq!(cuts, 3, "the download was cut twice and resumed");
    let group = hub.group_joined().await;
    hub.send(json!([group[0], null, GROUP, "blink", { "id": COMMAND, "times": 3 }]))
        .await;
    assert_eq!(hub.expect("command_ack").await[4]["id"], COMMAND);
    let result = hub.expect("command_result").await;
    assert_eq!(result[4]["status"], "succeeded");
    assert_eq!(result[4]["output"], "blinked 3 times");
    let shown = until(&mut state, |state| state.executed_total == 1).await;
    assert_eq!((shown.reboots, shown.joins), (1, 2));

    // The connection breaks without a word; the device comes back, and a repeat of the command runs nothing.
    drop(hub);
    let (mut hub, join) = Peer::joined(&listener, &acceptor).await;
    hub.send(json!([join[0], null, join[2], "blink", { "id": COMMAND, "times": 3 }]))
        .await;
    hub.expect("command_ack").await;
    hub.expect("command_result").await;
    assert_eq!(
        std::fs::read_to_string(directory.path().join("effects")).unwrap(),
        format!("{COMMAND}\n")
    );
    stop.cancel();
    run.await.unwrap().unwrap();
    assert_eq!(state.borrow().phase, Phase::Stopped);
}

#[test]
fn a_device_is_small_enough_for_thousands_in_one_process() {
    let (pki, directory) = (pki(), tempfile::tempdir().unwrap());
    let device = device(&pki, 1, directory.path(), &firmware::file("1.0.0", 10));
    let run = device.run(CancellationToken::new());
    let bytes = std::mem::size_of_val(&run);
    assert!(bytes <= 8 * 1024, "the task of a device is {bytes} bytes");
}
