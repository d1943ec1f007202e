//! Members of a group that stop reading: the others get everything, the node's memory stays bounded, and nothing is lost.
//!
//! The node is a process of its own, so that its memory is its own. Commands are as large as they may be: what fills buffers is
//! bytes. The machine's own part, who counts as slow, is tested beside the session.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use hub_cli::Client;
use hub_core::limits::{ACK_MAX, SENDS_MAX};
use hub_proto::api::CommandCreate;
use hub_tests::hub_process::HubProcess;
use hub_tests::raw_ws::RawWs;
use hub_tests::tenant::{self, ORG, PRODUCT};
use hub_tests::tls::{TlsDialer, Version};
use hub_tests::wait::{self, PATIENCE};
use serde_json::json;
use tokio::task::JoinSet;

use crate::acts::{acking, topic_of};

const GROUP: &str = "everyone";
/// Members that read and acknowledge.
const BRISK: usize = 21;
/// Members that stop reading.
const SLOW: usize = 3;
/// Eight times what may be on its way to one device.
const COMMANDS: usize = 256;
/// Just below what arguments may have.
const TEXT_BYTES: usize = 16_000;
/// The kernel's receive buffer of a slow member, which it rounds up.
const RECEIVE_BUFFER_BYTES: u32 = 4_096;
/// A socket on which nothing is acknowledged is over by then, on a machine with others on it.
const GIVEN_UP_MAX: Duration = Duration::from_secs(ACK_MAX.as_secs() * SENDS_MAX as u64 + 30);
/// Patience with all commands together.
const ALL_MAX: Duration = Duration::from_secs(240);
/// What the node may take for all of it: full outboxes, the database's caches, reads under way. Half of what it would be
/// if every member had a copy of every command.
const GROWTH_BYTES_MAX: usize = (BRISK + SLOW) * COMMANDS * TEXT_BYTES / 2;

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_reading_harms_nobody_and_loses_nothing() -> anyhow::Result<()> {
    let hub = HubProcess::start().await?;
    let names: Vec<String> = (0..BRISK + SLOW).map(|n| format!("member-{n}")).collect();
    let mut dialers = Vec::new();
    for name in &names {
        let leaf = hub.devices.device(name)?;
        tenant::pin(&hub.api, name, &leaf).await?;
        let dialer = TlsDialer::new(hub.server_root.der(), Some(&leaf), Version::Tls13)?;
        dialers.push(dialer);
    }
    let members: Vec<&str> = names.iter().map(String::as_str).collect();
    tenant::group(&hub.api, GROUP, 0, &members).await?;

    let slow_dialers = dialers.split_off(BRISK);
    let mut brisk = JoinSet::new();
    for dialer in dialers {
        let mut member = Member::join(&dialer, hub.device_addr()).await?;
        brisk.spawn(async move { member.takes(COMMANDS).await });
    }
    let mut slow = Vec::new();
    for (dialer, name) in slow_dialers.into_iter().zip(&names[BRISK..]) {
        let dialer = dialer.receiving_at_most(RECEIVE_BUFFER_BYTES);
        let member = Member::join(&dialer, hub.device_addr()).await?;
        slow.push(is_slow(member, dialer, &hub.api, name));
    }
    let before = hub.peak_memory_bytes()?;

    let commands = async {
        let mut sent = Vec::new();
        for _ in 0..COMMANDS {
            sent.push(command(&hub.api).await?);
        }
        Ok(sent)
    };
    let (sent, slow) = tokio::try_join!(commands, try_join_all(slow))?;
    for heard in slow {
        ensure!(heard == sent, "a slow member lacks something");
    }
    while let Some(heard) = brisk.join_next().await {
        ensure!(heard?? == sent, "a member that reads lacks something");
    }
    let growth = hub.peak_memory_bytes()?.saturating_sub(before);
    ensure!(growth < GROWTH_BYTES_MAX, "the node grew by {growth} bytes");
    Ok(())
}

/// Reads nothing until the hub has given it up, sees why, comes back and takes all it missed.
async fn is_slow(
    mut member: Member,
    dialer: TlsDialer,
    api: &Client,
    name: &str,
) -> anyhow::Result<Vec<String>> {
    wait::until(&format!("{name} is given up"), GIVEN_UP_MAX, async || {
        let device = api.device(ORG, PRODUCT, name).await.ok()?;
        device.connection.is_none().then_some(())
    })
    .await?;
    let reason = member.socket.expect_close(4408, PATIENCE).await?;
    ensure!(reason == "slow_consumer", "{reason}");
    let mut back = Member::join(&dialer, member.hub).await?;
    back.takes(COMMANDS).await
}

/// Gives a large command to the group; its id.
async fn command(api: &Client) -> anyhow::Result<String> {
    let body = CommandCreate {
        name: "logs".parse()?,
        args: Some(serde_json::value::to_raw_value(
            &json!({"text": "x".repeat(TEXT_BYTES)}),
        )?),
        ttl_s: None,
    };
    let command = api.command_group(ORG, PRODUCT, GROUP, &body).await?;
    Ok(command.id.to_string())
}

/// A device that has joined its own channel and the group's.
struct Member {
    socket: RawWs,
    hub: SocketAddr,
}

impl Member {
    async fn join(dialer: &TlsDialer, hub: SocketAddr) -> anyhow::Result<Self> {
        let mut socket = RawWs::open(dialer, hub).await?;
        for (topic, payload) in [("device", acking()), (&topic_of(GROUP), json!({}))] {
            let reply = socket.join(topic, payload, PATIENCE).await?;
            ensure!(reply.status() == Some("ok"), "{reply:?}");
        }
        Ok(Self { socket, hub })
    }

    /// Takes and acknowledges so many commands; their ids, in the order in which each came first.
    async fn takes(&mut self, commands: usize) -> anyhow::Result<Vec<String>> {
        let mut heard: Vec<String> = Vec::new();
        while heard.len() < commands {
            let push = self.socket.expect_push("logs", ALL_MAX).await?;
            let id = push.payload["id"].as_str().context("no id")?.to_owned();
            let ack = json!({ "id": id });
            let socket = &mut self.socket;
            let (topic, join_ref) = (&push.topic, &push.join_ref);
            let reference = socket.push(join_ref, topic, "command_ack", ack).await?;
            let reply = socket.expect_reply(topic, &reference, PATIENCE).await?;
            ensure!(reply.status() == Some("ok"), "{reply:?}");
            if !heard.contains(&id) {
                heard.push(id);
            }
        }
        Ok(heard)
    }
}
