//! Cases 90 to 95: firmware that must not be stored, fetched or installed.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use hub_core::limits::REQUEST_HEAD_BYTES_MAX;
use hub_device::updater::Updater;
use hub_device::updater::simulated::SimulatedUpdater;
use hub_device::{Config, Credentials, Device, Downgrades, Identity};
use hub_firmware::{Builder, SigningKey};
use hub_proto::api::TargetSet;
use hub_tests::pki::Leaf;
use hub_tests::raw_ws::{Answer, RawWs, Upgrade};
use hub_tests::sandbox::{ORG, PRODUCT, Sandbox};
use hub_tests::tls::{TlsDialer, Version};
use hub_tests::wait::{self, PATIENCE};
use tokio_util::sync::CancellationToken;

use super::Scene;

/// Uploads these bytes as they are.
async fn upload(hub: &Sandbox, name: &str, bytes: &[u8]) -> Result<(), hub_cli::ClientError> {
    let file = hub.dir.path().join(name);
    std::fs::write(&file, bytes).unwrap();
    let silent = Arc::new(|_| {});
    let stored = hub.api.upload_firmware(ORG, PRODUCT, &file, silent).await;
    stored.map(drop)
}

/// Files below a directory.
fn files(path: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(path).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

async fn target(hub: &Sandbox, device: &str, uuid: &str) -> anyhow::Result<()> {
    let firmware = Some(uuid.parse()?);
    let body = TargetSet {
        firmware,
        allow_downgrade: true,
    };
    hub.api.target_device(ORG, PRODUCT, device, &body).await?;
    Ok(())
}

/// The reference device with this identity, running until the token is cancelled.
fn reference_device(
    hub: &Sandbox,
    leaf: &Leaf,
    change: impl FnOnce(&mut Config),
) -> anyhow::Result<(
    tokio::sync::watch::Receiver<hub_device::DeviceState>,
    CancellationToken,
)> {
    let credentials = Credentials {
        certificate_pem: leaf.chain_pem().into_bytes(),
        key_pem: leaf.key_pem().into_bytes(),
        ca_pem: hub.server_root.pem().into_bytes(),
    };
    let updater = Updater::Simulated(SimulatedUpdater::default());
    let url = format!("wss://{}", hub.node.device_addr());
    let mut config = Config::new(url, Identity::Credentials(credentials), updater);
    config.public_keys = vec![hub.signing.public_key()];
    change(&mut config);
    let device = Device::builder(config).build()?;
    let (state, stop) = (device.state(), CancellationToken::new());
    tokio::spawn(device.run(stop.clone()));
    Ok((state, stop))
}

#[tokio::test(flavor = "multi_thread")]
async fn case_90_what_is_no_signed_firmware_is_not_stored() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let hub = &scene.hub;
    let builder =
        || Builder::new(PRODUCT, "1.0.0", "demo", "generic").resource("rootfs", vec![7; 5_000]);
    let good = builder().to_vec(&hub.signing)?;
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut unsigned = Cursor::new(Vec::new());
    builder().write(&mut unsigned, None)?;
    // The name of an entry, in both places that hold it, changed to one that leaves the directory.
    let slipped = replaced(&good, b"data/rootfs", b"../../../rt");
    // Signed all right, and a thousand times larger once it is unpacked.
    let bomb = builder().resource("zeros", vec![0; 40 * 1024 * 1024]);
    let bomb = bomb.to_vec(&hub.signing)?;
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    let cases = [
        ("nothing", Vec::new()),
        ("text", b"hello".to_vec()),
        ("unsigned", unsigned.into_inner()),
        ("foreign", builder().to_vec(&SigningKey::generate())?),
        ("cut", good[..good.len() - 1].to_vec()),
        ("half", good[..good.len() / 2].to_vec()),
        ("longer", [&good[..], b"more"].concat()),
        ("flipped", flipped),
        ("slipped", slipped),
        ("bomb", bomb),
    ];
    for (name, bytes) in cases {
        let refused = upload(hub, name, &bytes).await;
        let status = refused
            .as_ref()
            .err()
            .and_then(hub_cli::ClientError::status);
        assert_eq!(status, Some(422), "{name}: {refused:?}");
    }
    assert!(
        hub.api
            .firmwares(ORG, PRODUCT, &Default::default())
            .await?
            .items
            .is_empty()
    );
    assert_eq!(
        files(&hub.config.state_dir.join("firmware")),
        Vec::<std::path::PathBuf>::new()
    );
    upload(hub, "good", &good).await?;
    scene.neighbour_is_served().await
}

/// The same bytes with every occurrence of one text replaced by another of the same length.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn case_91_and_95_a_device_installs_only_what_it_was_offered() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let hub = &scene.hub;
    let (_, wanted) = hub.firmware("2.0.0", 10_000).await?;
    let stored = files(&hub.config.state_dir.join("firmware"));
    let [blob] = &stored[..] else {
        anyhow::bail!("one file is stored: {stored:?}");
    };
    // Another firmware in its place: signed by the right key, and not the one that was offered.
    let older = Builder::new(PRODUCT, "1.0.0", "demo", "generic")
        .resource("rootfs", vec![7; 9_000])
        .to_vec(&hub.signing)?;
    std::fs::write(blob, older)?;
    target(hub, "rogue", &wanted).await?;
    let (mut state, stop) = reference_device(hub, &scene.rogue, |_| {})?;
    let refused = state.wait_for(|state| state.update_error.is_some());
    let refused = tokio::time::timeout(PATIENCE, refused).await??.clone();
    assert_eq!((refused.reboots, refused.firmware), (0, None));
    // The hub hears of it, and the device is still there to be told something better.
    let failed = async || {
        let device = hub.api.device(ORG, PRODUCT, "rogue").await.ok()?;
        let update = device.update?;
        (update.status == "failed" && device.connection.is_some()).then_some(())
    };
    wait::until("the hub hears of the refusal", PATIENCE, failed).await?;
    let (_, better) = hub.firmware("3.0.0", 10_000).await?;
    target(hub, "rogue", &better).await?;
    let updated = state.wait_for(|state| {
        let running = state.firmware.as_ref();
        running.is_some_and(|firmware| firmware.uuid == better)
    });
    tokio::time::timeout(PATIENCE, updated).await??;
    stop.cancel();
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_92_an_older_target_is_refused_unless_it_is_meant() -> anyhow::Result<()> {
    let hub = Sandbox::start().await?;
    hub.group("field", 0, &[]).await?;
    let (_, newer) = hub.firmware("2.0.0", 1_000).await?;
    let (_, older) = hub.firmware("1.9.0", 1_000).await?;
    let set = async |uuid: &str, allow_downgrade| {
        let firmware = Some(uuid.parse().unwrap());
        let body = TargetSet {
            firmware,
            allow_downgrade,
        };
        hub.api.target_group(ORG, PRODUCT, "field", &body).await
    };
    set(&newer, false).await?;
    let refused = set(&older, false).await.unwrap_err();
    assert_eq!(
        (refused.status(), refused.code()),
        (Some(409), Some("downgrade"))
    );
    let kept = hub.api.group(ORG, PRODUCT, "field").await?.target;
    assert_eq!(kept.map(|target| target.uuid), Some(newer));
    let meant = set(&older, true).await?.target;
    assert_eq!(meant.map(|target| target.uuid), Some(older));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn case_92_a_device_that_refuses_downgrades_says_so() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let hub = &scene.hub;
    let (_, newer) = hub.firmware("2.0.0", 1_000).await?;
    let (_, older) = hub.firmware("1.0.0", 1_000).await?;
    target(hub, "rogue", &newer).await?;
    let (mut state, stop) = reference_device(hub, &scene.rogue, |config| {
        config.downgrades = Downgrades::Refuse;
        config.reboot = hub_device::Reboot::Simulated(std::time::Duration::from_millis(10));
    })?;
    let runs = |uuid: &str| {
        let uuid = uuid.to_owned();
        move |state: &hub_device::DeviceState| {
            let running = state.firmware.as_ref();
            state.joins > 1 && running.is_some_and(|firmware| firmware.uuid == uuid)
        }
    };
    tokio::time::timeout(PATIENCE, state.wait_for(runs(&newer))).await??;
    target(hub, "rogue", &older).await?;
    let ignored = async || {
        let device = hub.api.device(ORG, PRODUCT, "rogue").await.ok()?;
        (device.update?.status == "ignored").then_some(())
    };
    wait::until("the downgrade is refused", PATIENCE, ignored).await?;
    assert!(runs(&newer)(&state.borrow()), "{:?}", state.borrow());
    stop.cancel();
    scene.neighbour_is_served().await
}

/// Asks for a link as somebody, with these headers.
async fn fetch(
    hub: &Sandbox,
    device: Option<&Leaf>,
    target: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<Answer> {
    let dialer = TlsDialer::new(hub.server_root.der(), device, Version::Tls13)?;
    let mut socket = RawWs::dial(&dialer, hub.node.device_addr()).await?;
    let mut request = Upgrade::to(target);
    request.headers.truncate(1);
    for (name, value) in headers {
        request = request.with(name, value);
    }
    socket.send_bytes(&request.to_bytes()).await?;
    socket.read_head().await
}

/// The path and query of a link that the rogue was offered.
async fn offered(scene: &Scene) -> anyhow::Result<String> {
    let (_, uuid) = scene.hub.firmware("2.0.0", 1_000).await?;
    target(&scene.hub, "rogue", &uuid).await?;
    let mut rogue = scene.joined().await?;
    let offer = rogue
        .socket
        .expect_push("firmware_update", PATIENCE)
        .await?;
    let url = offer.payload["url"].as_str().context("no url")?;
    let path = url.find("/firmware/").context("no path")?;
    Ok(url[path..].to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn case_93_a_link_is_one_devices_for_a_while() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let link = offered(&scene).await?;
    let hub = &scene.hub;
    let expires = link.split("expires=").nth(1).context("no expiry")?;
    let expires = expires.split('&').next().unwrap_or_default();
    let later = (expires.parse::<u64>()? + 3_600).to_string();
    let another = hub.device("another").await?;
    for (bad, status) in [
        (link.replace(expires, &later), 403),
        (link.replace(expires, "0"), 403),
        (link.replace("device=", "device=9"), 403),
        (link.replace("org=", "org=9"), 403),
        (link.replace("sig=", "sig=A"), 403),
        (link.split('?').next().unwrap_or_default().to_owned(), 403),
        (format!("{link}&device=1"), 403),
        (link.replace("/firmware/", "/firmware/x"), 404),
    ] {
        let answer = fetch(hub, None, &bad, &[]).await?;
        assert_eq!(answer.status, status, "{bad}");
        assert!(answer.body.len() < 200, "{bad}");
    }
    // Another device's certificate spoils a good link; none and the own one do not, twice.
    assert_eq!(fetch(hub, Some(&another), &link, &[]).await?.status, 403);
    for _ in 0..2 {
        assert_eq!(fetch(hub, None, &link, &[]).await?.status, 200);
        assert_eq!(
            fetch(hub, Some(&scene.rogue), &link, &[]).await?.status,
            200
        );
    }
    scene.neighbour_is_served().await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_94_many_ranges_are_not_served() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let link = offered(&scene).await?;
    let hub = &scene.hub;
    let range = async |value: &str| fetch(hub, None, &link, &[("range", value)]).await;
    let whole = fetch(hub, None, &link, &[]).await?;
    assert_eq!(whole.status, 200);
    let one = range("bytes=10-19").await?;
    assert_eq!((one.status, &one.body[..]), (206, &whole.body[10..20]));
    // Several ranges cost one answer, and never one part each.
    let many = "bytes=0-0".to_owned() + &",0-0".repeat(2_000);
    let several = range(&many).await?;
    assert_eq!(
        (several.status, several.body.len()),
        (200, whole.body.len())
    );
    let endless = "bytes=0-0".to_owned() + &",0-0".repeat(10_000);
    assert!(endless.len() > REQUEST_HEAD_BYTES_MAX);
    assert_eq!(range(&endless).await?.status, 431);
    assert_eq!(range("bytes=99999999-").await?.status, 416);
    scene.neighbour_is_served().await
}
