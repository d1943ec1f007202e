//! Sets the stage: certificates, a node, an org with a product, two signed firmware versions and a group.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use hub_cli::{Client, ClientOptions};
use hub_firmware::{Builder, SigningKey};
use hub_proto::api::{
    AuthorityCreate, GroupCreate, OrgCreate, ProductCreate, Provisioning, Role, SigningKeyCreate,
    TokenCreate,
};
use time::OffsetDateTime;

use super::screen::Screen;
use crate::pki::{Authority, registration_proof};
use crate::store::records;
use crate::{Config, Node, token};

pub(super) const ORG: &str = "demo";
pub(super) const PRODUCT: &str = "sensor";
pub(super) const GROUP: &str = "field";
/// Devices the demo's authority may enrol.
const QUOTA: u32 = 10;
/// Days the demo's server certificate is valid.
const SERVER_DAYS: u32 = 30;
const MIB: usize = 1024 * 1024;

/// Everything the devices and the story need.
pub(super) struct Stage {
    pub(super) node: Node,
    pub(super) api: Client,
    pub(super) token: String,
    pub(super) dir: PathBuf,
    pub(super) authority: Authority,
    pub(super) signing: SigningKey,
    /// File of the older firmware, which devices leave the factory with.
    pub(super) factory: PathBuf,
    pub(super) older: String,
    pub(super) newer: String,
    /// Deletes the directory at the end, when it is a temporary one.
    temporary: Option<Temporary>,
}

/// A directory that goes away with its owner.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Stage {
    pub(super) async fn set(
        dir: Option<&Path>,
        firmware_mib: usize,
        screen: &Screen,
    ) -> anyhow::Result<Self> {
        let (dir, temporary) = directory(dir)?;
        screen.step(
            "A hub starts, with its own certificates, an embedded database and nothing else.",
        );
        let authority = Authority::generate("demo authority", OffsetDateTime::now_utc())?;
        let config = configure(&dir, &authority)?;
        let root = token::mint(
            &config,
            None,
            records::Role::Admin,
            &"demo-root".parse()?,
            None,
        )
        .await?;
        let node = Node::start(&config).await?;
        let root = client(&node, &root)?;
        screen.say(&format!(
            "  devices  wss://{}/socket/websocket",
            node.device_addr()
        ));
        screen.say(&format!("  API      http://{}/api/v1", node.api_addr()));

        screen.step("An org, a product, a signing key and an authority that may enrol devices are registered.");
        let token = found(&root).await?;
        let api = client(&node, &token)?;
        let signing = SigningKey::generate();
        furnish(&api, &authority, &signing).await?;

        screen.step(&format!(
            "Two versions of firmware are built, signed and uploaded, {firmware_mib} MiB each."
        ));
        let (factory, older) =
            firmware(&api, &dir, "1.0.0", firmware_mib, &signing, screen).await?;
        let (_, newer) = firmware(&api, &dir, "2.0.0", firmware_mib, &signing, screen).await?;
        Ok(Self {
            node,
            api,
            token,
            dir,
            authority,
            signing,
            factory,
            older,
            newer,
            temporary,
        })
    }

    /// Stops the node, then removes the directory if it is a temporary one.
    pub(super) async fn strike(self) {
        self.node.stop().await;
        drop(self.temporary);
    }
}

fn directory(wanted: Option<&Path>) -> anyhow::Result<(PathBuf, Option<Temporary>)> {
    let Some(dir) = wanted else {
        let dir = std::env::temp_dir().join(format!("hub-demo-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        return Ok((dir.clone(), Some(Temporary(dir))));
    };
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    if std::fs::read_dir(dir)?.next().is_some() {
        bail!(
            "{} is not empty: the demo starts from nothing; name another directory",
            dir.display()
        );
    }
    Ok((dir.to_owned(), None))
}

fn configure(dir: &Path, authority: &Authority) -> anyhow::Result<Config> {
    let issued = authority.server(
        &["localhost".into(), "127.0.0.1".into()],
        SERVER_DAYS,
        OffsetDateTime::now_utc(),
    )?;
    let (certificate, key, state_dir) = (
        dir.join("server.pem"),
        dir.join("server-key.pem"),
        dir.join("state"),
    );
    std::fs::write(&certificate, issued.certificate_pem)?;
    std::fs::write(&key, issued.key_pem)?;
    std::fs::create_dir(&state_dir)?;
    let loopback = ([127, 0, 0, 1], 0).into();
    Ok(Config {
        node_name: "demo".into(),
        state_dir,
        device_listen: loopback,
        device_certificate: certificate,
        device_key: key,
        api_listen: loopback,
        admin_listen: loopback,
        ..Config::default()
    })
}

fn client(node: &Node, token: &str) -> anyhow::Result<Client> {
    let url = format!("http://{}", node.api_addr());
    Ok(Client::new(&ClientOptions {
        url,
        token: token.to_owned(),
        ca_pem: None,
    })?)
}

/// Makes the org and returns the token of its admin.
async fn found(root: &Client) -> anyhow::Result<String> {
    root.create_org(&OrgCreate { name: ORG.parse()? }).await?;
    let body = TokenCreate {
        name: "demo".parse()?,
        role: Role::Admin,
        expires_at: None,
    };
    Ok(root.create_token(ORG, &body).await?.token)
}

/// Makes everything inside the org that the story needs.
async fn furnish(api: &Client, authority: &Authority, signing: &SigningKey) -> anyhow::Result<()> {
    api.create_product(
        ORG,
        &ProductCreate {
            name: PRODUCT.parse()?,
        },
    )
    .await?;
    let key = SigningKeyCreate {
        name: "release".parse()?,
        public_key: signing.public_key().to_string(),
    };
    api.create_signing_key(ORG, &key).await?;
    register(api, authority).await?;
    api.create_group(
        ORG,
        PRODUCT,
        &GroupCreate {
            name: GROUP.parse()?,
            priority: 10,
        },
    )
    .await?;
    Ok(())
}

/// Registers the authority with proof that its key is here, and lets it enrol devices.
async fn register(api: &Client, authority: &Authority) -> anyhow::Result<()> {
    let registration = api.create_registration(ORG).await?;
    let body = AuthorityCreate {
        certificate_pem: authority.certificate().certificate_pem.clone(),
        verification_pem: registration_proof(
            authority,
            &registration.code,
            OffsetDateTime::now_utc(),
        )?,
        provision: Some(Provisioning {
            product: PRODUCT.parse()?,
            quota: QUOTA,
        }),
    };
    api.create_authority(ORG, &body).await?;
    Ok(())
}

/// Builds a version, uploads it and returns its file and uuid.
async fn firmware(
    api: &Client,
    dir: &Path,
    version: &'static str,
    mib: usize,
    signing: &SigningKey,
    screen: &Screen,
) -> anyhow::Result<(PathBuf, String)> {
    let file = dir.join(format!("{PRODUCT}-{version}.fw"));
    let (path, key) = (file.clone(), signing.clone());
    let bytes = tokio::task::spawn_blocking(move || -> anyhow::Result<u64> {
        let mut content = vec![0_u8; mib * MIB];
        rand::fill(&mut content[..]);
        let container = Builder::new(PRODUCT, version, "demo", "generic")
            .description("made by the demo")
            .resource("rootfs", content)
            .to_vec(&key)?;
        std::fs::write(&path, &container)?;
        Ok(container.len() as u64)
    })
    .await??;
    let bar = screen.bar(version, 100);
    let shown = bar.clone();
    let progress = Arc::new(move |sent: u64| shown.set_position(sent * 100 / bytes.max(1)));
    let firmware = api.upload_firmware(ORG, PRODUCT, &file, progress).await?;
    ensure!(
        firmware.version == version,
        "the hub read version {} from {version}",
        firmware.version
    );
    bar.finish_and_clear();
    screen.say(&format!("  {version}  {}", firmware.uuid));
    Ok((file, firmware.uuid))
}
