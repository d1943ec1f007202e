//! The twenty wire rules: what existing clients need, each on a real node, with sockets that behave as those clients do.
//!
//! The clients go by the names of the rules: A1 speaks V1 behind a bare `?`, A2 never names its join, A4 is the newest
//! and strictest. What no client would notice is not asserted.

mod channels;
mod connection;
mod framing;
mod refs;

use hub_tests::pki::Leaf;
use hub_tests::raw_ws::{Message, RawWs};
use hub_tests::sandbox::Sandbox;
use hub_tests::wait::PATIENCE;
use serde_json::{Value, json};

use crate::acts::{connect_to, legacy};

/// What A1 asks for.
const BARE: &str = "/socket/websocket?";
/// What newer clients ask for.
const V2: &str = "/socket/websocket?vsn=2.0.0";
/// Both framings, as the oldest and the newest client ask for them.
const DIALECTS: [&str; 2] = [BARE, V2];

/// A message with refs of any type.
fn message(
    (join_ref, reference): (Value, Value),
    topic: &str,
    event: &str,
    payload: Value,
) -> Message {
    Message {
        join_ref,
        reference,
        topic: topic.to_owned(),
        event: event.to_owned(),
        payload,
    }
}

/// Sends a message and gives the reply to it.
async fn ask(socket: &mut RawWs, question: &Message) -> anyhow::Result<Message> {
    socket.send(question).await?;
    socket
        .expect_reply(&question.topic, &question.reference, PATIENCE)
        .await
}

/// A device that declares nothing, joined on `device` in this framing under the ref `"1"`.
async fn joined_as(
    sandbox: &Sandbox,
    leaf: &Leaf,
    target: &str,
    payload: Value,
) -> anyhow::Result<RawWs> {
    let mut socket = connect_to(sandbox, leaf, target).await?;
    let join = message((json!("1"), json!("1")), "device", "phx_join", payload);
    let reply = ask(&mut socket, &join).await?;
    anyhow::ensure!(reply.status() == Some("ok"), "{reply:?}");
    Ok(socket)
}

/// The same with what the oldest clients say of themselves.
async fn joined_legacy(sandbox: &Sandbox, leaf: &Leaf, target: &str) -> anyhow::Result<RawWs> {
    joined_as(sandbox, leaf, target, legacy()).await
}
