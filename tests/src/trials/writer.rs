//! The load: commands to devices and to the group, each repeated under its key until it is accepted.
//!
//! Owns what "accepted" means here: the API answered 2xx. One writer gives its commands one after the other, and a channel has one
//! writer, so the order in which it collects ids is the order of acceptance in each of its channels.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, bail};
use hub_proto::api::{Command, Problem};
use hub_proto::id::CommandId;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::tenant::{ORG, PRODUCT};

/// Pause between two tries of a call that the node did not answer.
const AGAIN_AFTER: Duration = Duration::from_millis(25);
/// One try of a call.
const TRY_MAX: Duration = Duration::from_secs(10);
/// One command in this many is a reboot.
const REBOOT_ONE_IN: u32 = 40;
/// One command in this many takes time, up to so many milliseconds.
const NAP_ONE_IN: u32 = 4;
/// See [`NAP_ONE_IN`].
const NAP_MS_MAX: u64 = 30;

/// Whom a command is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// One device, by its place in the fleet.
    Device(usize),
    /// The group of all devices, [`GROUP`].
    Group,
    /// The group whose members come and go, [`SHIFT`]; its writer also moves them.
    Shift,
}

/// The group that all devices are in.
pub const GROUP: &str = "fleet";
/// The group whose members come and go.
pub const SHIFT: &str = "shift";

/// A command that the API accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its id.
    pub id: CommandId,
    /// Whom it was given to.
    pub channel: Channel,
    /// The places of the devices it is for.
    pub audience: Arc<[usize]>,
}

/// How hard a writer writes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Longest pause between two commands, milliseconds.
    pub pause_ms_max: u64,
    /// One command in this many follows at once; 1 for all.
    pub at_once_one_in: u32,
    /// Whether devices are told to reboot, too.
    pub reboots: bool,
}

/// Calls that are repeated, on one node after the other, through every fault.
#[derive(Clone)]
pub struct Caller {
    http: reqwest::Client,
    /// Where the product is on each node's API.
    products: Arc<[String]>,
    token: String,
    next: Arc<AtomicU64>,
    repeated: Arc<AtomicU64>,
    accepted: Arc<AtomicU64>,
}

impl Caller {
    /// A caller of these nodes' APIs.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(apis: &[String], token: &str) -> anyhow::Result<Self> {
        let product = |api: &String| format!("{api}/api/v1/orgs/{ORG}/products/{PRODUCT}");
        Ok(Self {
            http: reqwest::Client::builder().timeout(TRY_MAX).build()?,
            products: apis.iter().map(product).collect(),
            token: token.to_owned(),
            next: Arc::default(),
            repeated: Arc::default(),
            accepted: Arc::default(),
        })
    }

    /// Tries beyond the first, over all calls.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Relaxed)
    }

    /// Commands that were accepted, over all writers.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Sets the target of [`GROUP`].
    ///
    /// # Errors
    /// A refusal that will not pass.
    pub async fn target(&self, uuid: &str) -> anyhow::Result<()> {
        let path = format!("groups/{GROUP}/target");
        self.insist(
            Method::PUT,
            &path,
            &json!({ "firmware": uuid, "allow_downgrade": true }),
        )
        .await?;
        Ok(())
    }

    /// Makes one call until it is answered with a success. What its tries share is the idempotency key.
    async fn insist(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Vec<u8>> {
        let key = Uuid::now_v7().to_string();
        loop {
            let turn = self.next.fetch_add(1, Relaxed) as usize % self.products.len();
            let request = self
                .http
                .request(method.clone(), format!("{}/{path}", self.products[turn]))
                .bearer_auth(&self.token)
                .header("idempotency-key", &key)
                .json(body);
            // A lost answer and a lost call look the same from here, and both are tried again.
            if let Ok(response) = request.send().await {
                let status = response.status();
                if let Ok(answer) = response.bytes().await {
                    if status.is_success() {
                        return Ok(answer.to_vec());
                    }
                    refused(status, &answer).with_context(|| format!("{method} {path}"))?;
                }
            }
            self.repeated.fetch_add(1, Relaxed);
            sleep(AGAIN_AFTER).await;
        }
    }
}

impl Caller {
    /// Deletes something until it is gone; gone already is as good, for the answer to an earlier try may have been lost.
    async fn insist_gone(&self, path: &str) -> anyhow::Result<()> {
        loop {
            let turn = self.next.fetch_add(1, Relaxed) as usize % self.products.len();
            let url = format!("{}/{path}", self.products[turn]);
            let request = self.http.delete(url).bearer_auth(&self.token);
            if let Ok(response) = request.send().await {
                let status = response.status();
                if let Ok(answer) = response.bytes().await {
                    if status.is_success() || status == StatusCode::NOT_FOUND {
                        return Ok(());
                    }
                    refused(status, &answer).with_context(|| format!("DELETE {path}"))?;
                }
            }
            self.repeated.fetch_add(1, Relaxed);
            sleep(AGAIN_AFTER).await;
        }
    }
}

/// Whether a refusal asks for another try; anything else is a fault of the node.
fn refused(status: StatusCode, answer: &[u8]) -> anyhow::Result<()> {
    let problem: Problem = serde_json::from_slice(answer)?;
    let passing =
        status == StatusCode::SERVICE_UNAVAILABLE || problem.code == "idempotency_in_progress";
    if !passing {
        bail!("{status}: {problem:?}");
    }
    Ok(())
}

/// Gives commands until told to stop.
pub struct Writer {
    caller: Caller,
    names: Vec<String>,
    channels: Vec<Channel>,
    pace: Pace,
    random: StdRng,
    /// Members of [`SHIFT`] now.
    shift: Vec<usize>,
}

impl Writer {
    /// A writer to these channels, none of which has another writer.
    #[must_use]
    pub fn new(
        caller: &Caller,
        names: &[String],
        channels: Vec<Channel>,
        pace: Pace,
        seed: u64,
    ) -> Self {
        Self {
            caller: caller.clone(),
            names: names.to_vec(),
            channels,
            pace,
            random: StdRng::seed_from_u64(seed),
            shift: Vec::new(),
        }
    }

    /// What was accepted, in order. The last command is seen through to its acceptance, so that none is in doubt.
    ///
    /// # Errors
    /// A refusal that will not pass.
    pub async fn run(mut self, enough: CancellationToken) -> anyhow::Result<Vec<Accepted>> {
        let mut accepted = Vec::new();
        while !enough.is_cancelled() {
            let channel = self.channels[self.random.random_range(0..self.channels.len())];
            let (path, audience) = match channel {
                Channel::Device(device) => (
                    format!("devices/{}/commands", self.names[device]),
                    [device].into(),
                ),
                Channel::Group => (
                    format!("groups/{GROUP}/commands"),
                    (0..self.names.len()).collect(),
                ),
                Channel::Shift => {
                    self.move_one().await?;
                    (
                        format!("groups/{SHIFT}/commands"),
                        self.shift.as_slice().into(),
                    )
                }
            };
            let body = self.body();
            let answer = self.caller.insist(Method::POST, &path, &body).await?;
            let command: Command = serde_json::from_slice(&answer)?;
            self.caller.accepted.fetch_add(1, Relaxed);
            accepted.push(Accepted {
                id: command.id,
                channel,
                audience,
            });
            if !self.random.random_ratio(1, self.pace.at_once_one_in) {
                let pause = self.random.random_range(0..=self.pace.pause_ms_max);
                let _ = timeout(Duration::from_millis(pause), enough.cancelled()).await;
            }
        }
        Ok(accepted)
    }

    /// Some device enters or leaves [`SHIFT`].
    async fn move_one(&mut self) -> anyhow::Result<()> {
        let device = self.random.random_range(0..self.names.len());
        let name = &self.names[device];
        let members = format!("groups/{SHIFT}/members");
        match self.shift.iter().position(|member| *member == device) {
            Some(at) => {
                let path = format!("{members}/{name}");
                self.caller.insist_gone(&path).await?;
                self.shift.remove(at);
            }
            None => {
                let body = json!({ "devices": [name] });
                self.caller.insist(Method::POST, &members, &body).await?;
                self.shift.push(device);
            }
        }
        Ok(())
    }

    fn body(&mut self) -> Value {
        if self.pace.reboots && self.random.random_ratio(1, REBOOT_ONE_IN) {
            return json!({ "name": "reboot" });
        }
        if self.random.random_ratio(1, NAP_ONE_IN) {
            let millis = self.random.random_range(0..=NAP_MS_MAX);
            return json!({ "name": "nap", "args": { "ms": millis } });
        }
        if self.random.random() {
            return json!({ "name": "identify" });
        }
        let times: u16 = self.random.random();
        json!({ "name": "blink", "args": { "times": times } })
    }
}
