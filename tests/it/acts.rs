//! What operators and devices do in many tests: one line each, over the public API and a real socket.

use hub_proto::api::{CommandCreate, ExecutionState, TargetSet, UpdateState};
use hub_proto::id::CommandId;
use hub_tests::pki::Leaf;
use hub_tests::raw_ws::{Message, RawWs, Received, Upgrade};
use hub_tests::sandbox::{ORG, PRODUCT, Sandbox};
use hub_tests::tls::{TlsDialer, Version};
use hub_tests::wait::{self, PATIENCE};
use serde_json::{Value, json};

/// A firmware that no hub has: what devices run before they are offered anything.
pub(crate) const RUNNING: &str = "8a5c1cd0-0f7c-4a8e-9a0e-2f2f6d5f4f4c";

/// The join payload of a device that declares nothing.
pub(crate) fn legacy() -> Value {
    json!({
        "nerves_fw_uuid": RUNNING,
        "nerves_fw_version": "1.0.0",
        "nerves_fw_product": PRODUCT,
        "nerves_fw_platform": "demo",
        "nerves_fw_architecture": "generic",
    })
}

/// The join payload of a device that acknowledges, and joins its groups.
pub(crate) fn acking() -> Value {
    acking_on(RUNNING)
}

/// The same, running another firmware.
pub(crate) fn acking_on(uuid: &str) -> Value {
    let mut payload = legacy();
    payload["nerves_fw_uuid"] = json!(uuid);
    payload["capabilities"] = json!(["ack", "groups"]);
    payload
}

/// The topic of a group of the sandbox's product.
pub(crate) fn topic_of(group: &str) -> String {
    format!("group:{ORG}:{PRODUCT}:{group}")
}

/// A dialer with this certificate, or none, over this TLS version.
pub(crate) fn dialer(
    sandbox: &Sandbox,
    leaf: Option<&Leaf>,
    version: Version,
) -> anyhow::Result<TlsDialer> {
    TlsDialer::new(sandbox.server_root.der(), leaf, version)
}

/// An upgraded socket whose request names this path and query.
pub(crate) async fn connect_to(
    sandbox: &Sandbox,
    leaf: &Leaf,
    target: &str,
) -> anyhow::Result<RawWs> {
    let dialer = dialer(sandbox, Some(leaf), Version::Tls13)?;
    let mut socket = RawWs::dial(&dialer, sandbox.node.device_addr()).await?;
    socket.upgrade(&Upgrade::to(target)).await?;
    Ok(socket)
}

/// A new device whose socket has joined `device` with this payload; the reply tells its join ref.
pub(crate) async fn joined(
    sandbox: &Sandbox,
    name: &str,
    payload: Value,
) -> anyhow::Result<(RawWs, Message)> {
    let leaf = sandbox.device(name).await?;
    let mut socket = sandbox.connect(&leaf).await?;
    let reply = socket.join("device", payload, PATIENCE).await?;
    anyhow::ensure!(reply.status() == Some("ok"), "{reply:?}");
    Ok((socket, reply))
}

/// Joins a group's channel, which must be granted; its join ref.
pub(crate) async fn join_group(socket: &mut RawWs, group: &str) -> anyhow::Result<Value> {
    let reply = socket.join(&topic_of(group), json!({}), PATIENCE).await?;
    anyhow::ensure!(reply.status() == Some("ok"), "{reply:?}");
    Ok(reply.join_ref)
}

fn command(name: &str, args: &Value) -> anyhow::Result<CommandCreate> {
    Ok(CommandCreate {
        name: name.parse()?,
        args: Some(serde_json::value::to_raw_value(args)?),
        ttl_s: None,
    })
}

/// Gives a command to a device.
pub(crate) async fn command_device(
    sandbox: &Sandbox,
    device: &str,
    name: &str,
    args: Value,
) -> anyhow::Result<CommandId> {
    let body = command(name, &args)?;
    let api = &sandbox.api;
    Ok(api.command_device(ORG, PRODUCT, device, &body).await?.id)
}

/// Gives a command to a group.
pub(crate) async fn command_group(
    sandbox: &Sandbox,
    group: &str,
    name: &str,
    args: Value,
) -> anyhow::Result<CommandId> {
    let body = command(name, &args)?;
    let api = &sandbox.api;
    Ok(api.command_group(ORG, PRODUCT, group, &body).await?.id)
}

/// How far a command is on a device, as the API says at this moment, and what the device answered.
pub(crate) async fn execution(
    sandbox: &Sandbox,
    id: CommandId,
    device: &str,
) -> anyhow::Result<(ExecutionState, Option<String>)> {
    let all = sandbox.api.executions(ORG, id, &Default::default()).await?;
    let mut items = all.items.into_iter();
    let found = items.find(|execution| &*execution.device == device);
    let found = found.ok_or_else(|| anyhow::anyhow!("{device} has no part in {id}"))?;
    Ok((found.state, found.output))
}

/// Waits until a command is in this state on a device.
pub(crate) async fn until_state(
    sandbox: &Sandbox,
    id: CommandId,
    device: &str,
    state: ExecutionState,
) -> anyhow::Result<()> {
    wait::until(&format!("{id} {state:?}"), PATIENCE, async || {
        let (now, _) = execution(sandbox, id, device).await.ok()?;
        (now == state).then_some(())
    })
    .await
}

/// Waits until the API shows an update of this device that `wanted` accepts.
pub(crate) async fn until_update(
    sandbox: &Sandbox,
    device: &str,
    what: &str,
    wanted: impl Fn(&UpdateState) -> bool,
) -> anyhow::Result<UpdateState> {
    wait::until(what, PATIENCE, async || {
        let device = sandbox.api.device(ORG, PRODUCT, device).await.ok()?;
        device.update.filter(&wanted)
    })
    .await
}

/// Sets or clears a device's own target.
pub(crate) async fn target_device(
    sandbox: &Sandbox,
    device: &str,
    uuid: Option<&str>,
) -> anyhow::Result<()> {
    let body = target(uuid)?;
    let api = &sandbox.api;
    api.target_device(ORG, PRODUCT, device, &body).await?;
    Ok(())
}

/// Sets or clears a group's target.
pub(crate) async fn target_group(
    sandbox: &Sandbox,
    group: &str,
    uuid: Option<&str>,
) -> anyhow::Result<()> {
    let body = target(uuid)?;
    let api = &sandbox.api;
    api.target_group(ORG, PRODUCT, group, &body).await?;
    Ok(())
}

fn target(uuid: Option<&str>) -> anyhow::Result<TargetSet> {
    let firmware = uuid.map(str::parse).transpose()?;
    Ok(TargetSet {
        firmware,
        allow_downgrade: true,
    })
}

/// Checks that a device has not been told anything that the test has not taken yet.
///
/// What operators did before reaches the socket on the same way as the command given here, and before it.
pub(crate) async fn hears_nothing(
    sandbox: &Sandbox,
    socket: &mut RawWs,
    device: &str,
) -> anyhow::Result<()> {
    command_device(sandbox, device, "marker", json!({})).await?;
    socket.expect_push("marker", PATIENCE).await?;
    let told = socket.before_heartbeat(PATIENCE).await?;
    anyhow::ensure!(told.is_empty(), "{device} was told {told:?}");
    Ok(())
}

/// Every text message received so far, in order of arrival, as JSON.
pub(crate) fn texts(socket: &RawWs) -> Vec<Value> {
    let record = socket.record().iter();
    record
        .filter_map(|received| match received {
            Received::Text(text) => serde_json::from_str(text).ok(),
            Received::Binary(_)
            | Received::Ping(_)
            | Received::Pong(_)
            | Received::Close(..)
            | Received::End(_) => None,
        })
        .collect()
}

/// Whether this event was received, in either framing.
pub(crate) fn heard(socket: &RawWs, event: &str) -> bool {
    let is_it = |message: &Value| message[3] == event || message["event"] == event;
    texts(socket).iter().any(is_it)
}
