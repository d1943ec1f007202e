//! Bad input on a whole node: every case of the catalogue that an open port can be shown, by its number.
//!
//! Each test starts a node with one well-behaved neighbour, does harm, and asks two things: was the answer the right one, and does
//! the neighbour still get a command? Where a rule is pure, its finer cases are tested next to it; the table says where.
//!
//! | cases | what | here | and next to the rule |
//! |---|---|---|---|
//! | 1–8 | TCP and TLS | `tcp_tls` | `hub-node/src/edge/tls/tests.rs` |
//! | 9–14, 16–24 | device certificates | `certificates` | `hub-node/src/identity/{path,verdicts,certificate}/tests.rs` |
//! | 15 | stale revocation lists | comes with revocation lists | |
//! | 25, 26 | registering authorities | `certificates` | `hub-node/src/identity/registration/tests.rs` |
//! | 27, 28, 30, 31 | trusted load balancers | come with that listener | |
//! | 29, 32–37 | HTTP before the upgrade | `http` | `hub-node/src/edge/head/tests.rs` |
//! | 38, 39 | secrets instead of certificates | come with that listener | |
//! | 40–52 | WebSocket frames | `websocket` | `hub-node/src/edge/frame_meter.rs`, `hub-core/src/rate.rs` |
//! | 53–75 | messages | `messages` | `hub-proto/tests/it/bad_input.rs`, `hub-core/src/session/tests` |
//! | 76–83 | names | `names` | `hub-node/src/api/tests/cases.rs`, `hub-proto/tests/it/names.rs` |
//! | 84, 85 | foreign ids | `hub-core/src/session/tests/joins.rs` | `hub-node/src/api/tests/cases.rs` |
//! | 90, 91, 93–95 | firmware | `firmware` | `hub-firmware/src`, `hub-node/src/edge/{download,signed_url,range}` |
//! | 92 | downgrades | `firmware`, on the node and on the device | `hub-device/src/machine/tests.rs` |
//! | 96 | hints | `hub-proto/tests/it/cluster.rs` | |

mod certificates;
mod firmware;
mod http;
mod messages;
mod names;
mod tcp_tls;
mod websocket;

use std::time::Duration;

use hub_proto::api::{Command, CommandCreate};
use hub_tests::pki::Leaf;
use hub_tests::raw_ws::{Message, RawWs};
use hub_tests::sandbox::{ORG, PRODUCT, Sandbox};
use hub_tests::wait::PATIENCE;
use serde_json::{Value, json};

/// Between two commands to the neighbour while harm is done.
const NEIGHBOUR_EVERY: Duration = Duration::from_secs(2);
/// How late a deadline of the node may be met: its sweep, and a machine with others on it.
const LATE: Duration = Duration::from_secs(5);

/// A node with a device that will do harm and a neighbour that does none.
struct Scene {
    hub: Sandbox,
    /// The certificate of the device `rogue`.
    rogue: Leaf,
    neighbour: Joined,
}

impl Scene {
    async fn start() -> anyhow::Result<Self> {
        Self::on(Sandbox::start().await?).await
    }

    async fn on(hub: Sandbox) -> anyhow::Result<Self> {
        let rogue = hub.device("rogue").await?;
        let neighbour = hub.device("neighbour").await?;
        let neighbour = Joined::open(&hub, &neighbour).await?;
        Ok(Self {
            hub,
            rogue,
            neighbour,
        })
    }

    /// The rogue, upgraded and not joined.
    async fn rogue(&self) -> anyhow::Result<RawWs> {
        self.hub.connect(&self.rogue).await
    }

    /// The rogue, joined.
    async fn joined(&self) -> anyhow::Result<Joined> {
        Joined::open(&self.hub, &self.rogue).await
    }

    /// The neighbour gets a command, acknowledges it and is answered.
    async fn neighbour_is_served(&mut self) -> anyhow::Result<()> {
        serve(&self.hub, &mut self.neighbour).await
    }

    /// Waits for `harm` to end while the neighbour is served again and again.
    async fn while_served<T>(
        &mut self,
        harm: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let Self { hub, neighbour, .. } = self;
        let service = async {
            let mut turns = tokio::time::interval(NEIGHBOUR_EVERY);
            loop {
                turns.tick().await;
                serve(hub, neighbour).await?;
            }
        };
        let done = tokio::select! {
            done = harm => done?,
            broken = service => return broken,
        };
        self.neighbour_is_served().await?;
        Ok(done)
    }
}

async fn serve(hub: &Sandbox, neighbour: &mut Joined) -> anyhow::Result<()> {
    let sent = command(hub, "neighbour", "identify", &json!({})).await?;
    let sent = json!(sent.id.to_string());
    loop {
        let push = neighbour.socket.expect_push("identify", PATIENCE).await?;
        let id = &push.payload["id"];
        let reply = neighbour.ask("command_ack", json!({ "id": id })).await?;
        assert_eq!(reply.status(), Some("ok"), "{reply:?}");
        // Service that was broken off has left an earlier one.
        if *id == sent {
            return Ok(());
        }
    }
}

/// Sends a command to a device.
async fn command(hub: &Sandbox, device: &str, name: &str, args: &Value) -> anyhow::Result<Command> {
    let body = CommandCreate {
        name: name.parse()?,
        args: Some(serde_json::value::to_raw_value(args)?),
        ttl_s: None,
    };
    Ok(hub.api.command_device(ORG, PRODUCT, device, &body).await?)
}

/// What a device of these tests says when it joins: it can acknowledge, so it is answered.
fn hello() -> Value {
    json!({"nerves_fw_version": "1.0.0", "capabilities": ["ack"]})
}

/// A socket that has joined its device channel.
struct Joined {
    socket: RawWs,
    join_ref: Value,
}

impl Joined {
    async fn open(hub: &Sandbox, leaf: &Leaf) -> anyhow::Result<Self> {
        Self::join(hub.connect(leaf).await?).await
    }

    async fn join(mut socket: RawWs) -> anyhow::Result<Self> {
        let reply = socket.join("device", hello(), PATIENCE).await?;
        assert_eq!(reply.status(), Some("ok"), "{reply:?}");
        Ok(Self {
            socket,
            join_ref: reply.join_ref,
        })
    }

    /// Pushes on the device channel and waits for the reply.
    async fn ask(&mut self, event: &str, payload: Value) -> anyhow::Result<Message> {
        let reference = self
            .socket
            .push(&self.join_ref, "device", event, payload)
            .await?;
        self.socket
            .expect_reply("device", &reference, PATIENCE)
            .await
    }

    /// The socket is still there and still answered.
    async fn is_kept(&mut self) -> anyhow::Result<()> {
        self.socket.before_heartbeat(PATIENCE).await.map(drop)
    }

    /// Sends this text and expects an error reply with this reason to this ref; the socket is kept.
    async fn refused(
        &mut self,
        text: &str,
        (topic, reference): (&str, Value),
        reason: &str,
    ) -> anyhow::Result<()> {
        self.socket.send_text(text).await?;
        let reply = self
            .socket
            .expect_reply(topic, &reference, PATIENCE)
            .await?;
        assert_eq!(reply.status(), Some("error"), "{text:.200}");
        assert_eq!(reply.response()["reason"], reason, "{text:.200}");
        self.is_kept().await
    }
}
