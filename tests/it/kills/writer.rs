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
use hub_tests::hub_process::HubProcess;
use hub_tests::tenant::{ORG, PRODUCT};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::GROUP;

/// Pause between two tries of a call that the node did not answer.
const AGAIN_AFTER: Duration = Duration::from_millis(25);
/// One try of a call.
const TRY_MAX: Duration = Duration::from_secs(10);
/// Longest pause between two commands, milliseconds; every other one follows at once.
const PAUSE_MS_MAX: u64 = 60;
/// One command in this many is a reboot.
const REBOOT_ONE_IN: u32 = 40;
/// One command in this many takes time, up to so many milliseconds.
const NAP_ONE_IN: u32 = 4;
/// See [`NAP_ONE_IN`].
const NAP_MS_MAX: u64 = 30;

/// Whom a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// One device, by its place in the fleet.
    Device(usize),
    /// All of them.
    Group,
}

/// A command that the API accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    pub(super) id: CommandId,
    pub(super) channel: Channel,
}

/// Calls that are repeated through every death of the node.
#[derive(Clone)]
pub(super) struct Caller {
    http: reqwest::Client,
    product: String,
    token: String,
    repeated: Arc<AtomicU64>,
}

impl Caller {
    pub(super) fn new(hub: &HubProcess) -> anyhow::Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder().timeout(TRY_MAX).build()?,
            product: format!("{}/api/v1/orgs/{ORG}/products/{PRODUCT}", hub.api_url()),
            token: hub.token.clone(),
            repeated: Arc::default(),
        })
    }

    /// Tries beyond the first, over all calls.
    pub(super) fn repeated(&self) -> u64 {
        self.repeated.load(Relaxed)
    }

    pub(super) async fn target(&self, uuid: &str) -> anyhow::Result<()> {
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
            let request = self
                .http
                .request(method.clone(), format!("{}/{path}", self.product))
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
pub(super) struct Writer {
    caller: Caller,
    names: Vec<String>,
    channels: Vec<Channel>,
    random: StdRng,
}

impl Writer {
    pub(super) fn new(
        caller: &Caller,
        names: &[String],
        channels: Vec<Channel>,
        seed: u64,
    ) -> Self {
        Self {
            caller: caller.clone(),
            names: names.to_vec(),
            channels,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// What was accepted, in order. The last command is seen through to its acceptance, so that none is in doubt.
    pub(super) async fn run(mut self, enough: CancellationToken) -> anyhow::Result<Vec<Accepted>> {
        let mut accepted = Vec::new();
        while !enough.is_cancelled() {
            let channel = self.channels[self.random.random_range(0..self.channels.len())];
            let path = match channel {
                Channel::Device(device) => format!("devices/{}/commands", self.names[device]),
                Channel::Group => format!("groups/{GROUP}/commands"),
            };
            let body = self.body();
            let answer = self.caller.insist(Method::POST, &path, &body).await?;
            let command: Command = serde_json::from_slice(&answer)?;
            accepted.push(Accepted {
                id: command.id,
                channel,
            });
            if self.random.random() {
                let pause = self.random.random_range(0..=PAUSE_MS_MAX);
                sleep(Duration::from_millis(pause)).await;
            }
        }
        Ok(accepted)
    }

    fn body(&mut self) -> Value {
        if self.random.random_ratio(1, REBOOT_ONE_IN) {
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
