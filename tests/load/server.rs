//! The node that is measured: the real program on a directory of its own, started and ended by pid.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use hub_cli::{Client, ClientOptions, PageOf};
use hub_node::pki::{Authority, registration_proof};
use hub_node::store::records::Role;
use hub_node::{Config, token};
use hub_proto::api::{AuthorityCreate, GroupCreate, MembersAdd, ProductCreate, Provisioning};
use hub_proto::slug::Slug;
use hub_tests::process::{Launch, Program};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::device;
use crate::gauge::Gauge;
use crate::limits::{START_MAX, STOP_MAX};

/// The org of the run.
pub(crate) const ORG: &str = "load";
/// Its product.
pub(crate) const PRODUCT: &str = "load";
/// Its group, which holds all devices.
pub(crate) const GROUP: &str = "everyone";
/// Days the server's certificate is valid.
const DAYS: u32 = 2;

/// What a node needs, in a directory that outlives several starts of it.
pub(crate) struct Site {
    dir: PathBuf,
    program: PathBuf,
    log: String,
    token: String,
    devices: Authority,
    starts: u32,
    shared: Option<Shared>,
}

/// What the nodes of a cluster share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) database_url: String,
    /// Empty for none: then nodes find each other's changes by polling alone.
    pub(crate) redis_url: String,
    /// A file that holds their secret.
    pub(crate) cluster_key: PathBuf,
}

/// A running node.
pub(crate) struct Server {
    program: Program,
    /// Where devices connect.
    pub(crate) hub: SocketAddr,
    /// A client of the API, with an admin's token.
    pub(crate) api: Client,
    /// Reads what the node costs.
    pub(crate) gauge: Gauge,
}

/// The log line of a node that is ready.
#[derive(Deserialize)]
struct Ready {
    fields: ReadyFields,
}

#[derive(Deserialize)]
struct ReadyFields {
    device: SocketAddr,
    api: SocketAddr,
}

impl Site {
    /// Makes certificates and a token in an empty directory.
    ///
    /// # Errors
    /// When any of it cannot be made.
    pub(crate) async fn make(
        dir: &Path,
        program: PathBuf,
        log: String,
        shared: Option<&Shared>,
    ) -> anyhow::Result<Self> {
        let now = OffsetDateTime::now_utc();
        let root = Authority::generate("load servers", now)?;
        let server = root.server(&["localhost".to_owned()], DAYS, now)?;
        let devices = Authority::generate("load devices", now)?;
        let write = |file: &str, pem: &str| std::fs::write(dir.join(file), pem);
        write("server.pem", &server.certificate_pem)?;
        write("server-key.pem", &server.key_pem)?;
        write("server-ca.pem", &root.certificate().certificate_pem)?;
        write("ca.pem", &devices.certificate().certificate_pem)?;
        write("ca-key.pem", &devices.certificate().key_pem)?;
        let state_dir = dir.join("state");
        std::fs::create_dir(&state_dir)?;
        let config = Config {
            state_dir,
            database_url: shared.map_or(String::new(), |shared| shared.database_url.clone()),
            ..Config::default()
        };
        let (org, name): (Slug, Slug) = (ORG.parse()?, "load".parse()?);
        let token = token::mint(&config, Some(&org), Role::Admin, &name, None).await?;
        Ok(Self {
            dir: dir.to_owned(),
            program,
            log,
            token,
            devices,
            starts: 0,
            shared: shared.cloned(),
        })
    }

    /// Starts the node on what is there.
    ///
    /// # Errors
    /// When it is not ready in time; the message holds the end of its log.
    pub(crate) async fn start(&mut self) -> anyhow::Result<Server> {
        self.starts += 1;
        let any = "127.0.0.1:0";
        let mut launch = Launch::new(&self.program)
            .arg("run")
            .arg("--state-dir")
            .arg(self.dir.join("state"))
            .arg(format!("--device-listen={any}"))
            .arg(format!("--api-listen={any}"))
            .arg(format!("--admin-listen={any}"))
            // what is measured is the node, and not what it is told to bear
            .args([
                "--handshakes-per-second=100000",
                "--lb-grace-s=0",
                "--drain-window-s=0",
            ])
            .arg("--device-certificate")
            .arg(self.dir.join("server.pem"))
            .arg("--device-key")
            .arg(self.dir.join("server-key.pem"))
            .arg("--log-json")
            .arg(format!("--log={}", self.log));
        if let Some(shared) = &self.shared {
            launch = launch
                .arg(format!("--node-name=node-{}", self.starts))
                .arg("--cluster-key")
                .arg(&shared.cluster_key)
                .env("HUB_DATABASE_URL", &shared.database_url)
                .env("HUB_REDIS_URL", &shared.redis_url);
        }
        let mut program = launch.start(self.dir.join(format!("node-{}.log", self.starts)))?;
        let ready = program.said("\"message\":\"ready\"", START_MAX).await?;
        let Ready { fields } = serde_json::from_str(&ready)
            .with_context(|| format!("the node said something else: {ready}"))?;
        let api = Client::new(&ClientOptions {
            url: format!("http://{}", fields.api),
            token: self.token.clone(),
            ca_pem: None,
        })?;
        let gauge = Gauge::new(program.pid())?;
        Ok(Server {
            program,
            hub: fields.device,
            api,
            gauge,
        })
    }

    /// Makes the product and the group, and registers the authority, which may provision `quota` devices.
    ///
    /// # Errors
    /// The API's.
    pub(crate) async fn furnish(&self, api: &Client, quota: u32) -> anyhow::Result<()> {
        let product: Slug = PRODUCT.parse()?;
        let body = ProductCreate {
            name: product.clone(),
        };
        api.create_product(ORG, &body).await?;
        let registration = api.create_registration(ORG).await?;
        let now = OffsetDateTime::now_utc();
        let body = AuthorityCreate {
            certificate_pem: self.devices.certificate().certificate_pem.clone(),
            verification_pem: registration_proof(&self.devices, &registration.code, now)?,
            provision: Some(Provisioning { product, quota }),
        };
        api.create_authority(ORG, &body).await?;
        let body = GroupCreate {
            name: GROUP.parse()?,
            priority: 0,
        };
        api.create_group(ORG, PRODUCT, &body).await?;
        Ok(())
    }
}

/// Makes the devices of these numbers members of the group, beside those below them.
///
/// # Errors
/// The API's; devices that it does not know.
pub(crate) async fn add_members(api: &Client, numbers: Range<u32>) -> anyhow::Result<()> {
    /// Devices of one call; the hub takes 10,000.
    const PER_CALL: usize = 5_000;
    let devices = numbers.end;
    let names: Vec<Slug> = numbers
        .map(|number| device::name(number).parse())
        .collect::<Result<_, _>>()?;
    for some in names.chunks(PER_CALL) {
        let devices = some.to_vec();
        api.add_members(ORG, PRODUCT, GROUP, &MembersAdd { devices })
            .await?;
    }
    let members = api.group(ORG, PRODUCT, GROUP).await?.members;
    ensure!(
        members == u64::from(devices),
        "the group has {members} members instead of {devices}"
    );
    Ok(())
}

impl Server {
    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// How many devices are connected.
    ///
    /// # Errors
    /// The API's.
    pub(crate) async fn connected(&self) -> anyhow::Result<u64> {
        let mut connected = 0;
        let mut page = PageOf::default();
        loop {
            let connections = self.api.connections(ORG, &page).await?;
            connected += connections.items.len() as u64;
            match connections.next_cursor {
                Some(next) => page.cursor = Some(next),
                None => return Ok(connected),
            }
        }
    }

    /// Stops the node as an operator would, and waits for its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.program.stop(STOP_MAX).await.map(drop)
    }
}

/// Writes a fresh secret of a cluster into a folder, for its owner alone.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn cluster_key(dir: &Path) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = dir.join("cluster.key");
    let bytes: [u8; 32] = rand::random();
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    Ok(path)
}
