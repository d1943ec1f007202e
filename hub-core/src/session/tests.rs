//! The rules of one socket, told as the frames that go in and the effects that come out.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for one kind of effect among all"
)]

mod contest;
mod delivery;
mod endings;
mod joins;
mod laws;
mod levels;
mod lossy;
mod membership;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hub_proto::event::{CommandAck, FirmwareMetadata, JoinParams};
use hub_proto::frame::Ref;
use hub_proto::id::{ChannelId, FirmwareId};
use hub_proto::time::Timestamp;

use super::*;
use crate::command::ExecutionState;
use crate::level::{Membership, Target};

const DEVICE: DeviceId = DeviceId(7);
const TOPIC: &str = "device:aaaa";

/// A session with its clock.
struct Bench {
    session: Session,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let identity = Identity {
            device: DEVICE,
            org: "acme".parse().unwrap(),
            product: "sensor".parse().unwrap(),
        };
        Self {
            session: Session::new(identity, now),
            now,
        }
    }

    /// A session whose device joined and was given this level.
    fn joined(capabilities: Capabilities, level: Level) -> Self {
        let mut bench = Self::new();
        let out = bench.step(join(TOPIC, Some("1"), Some("1"), capabilities));
        let attempt = attempt_of(&out);
        bench.attach(attempt, level, vec![]);
        bench
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        self.session.step(event, self.now, &mut out);
        out
    }

    fn attach(&mut self, attempt: u32, level: Level, pending: Vec<PendingCommand>) -> Vec<Effect> {
        let reconciled = Reconciled {
            level,
            pending,
            more: false,
        };
        self.step(Event::Attached {
            attempt,
            outcome: Ok(Attached {
                generation: ConnGen(3),
                reconciled,
            }),
        })
    }

    fn reconciled(&mut self, level: Level, pending: Vec<PendingCommand>) -> Vec<Effect> {
        self.step(Event::Reconciled(Ok(Reconciled {
            level,
            pending,
            more: false,
        })))
    }

    fn after(&mut self, pause: Duration) -> Vec<Effect> {
        self.now += pause;
        self.step(Event::Deadline)
    }

    fn push(&mut self, reference: &str, event: DeviceEvent) -> Vec<Effect> {
        self.step(frame(TOPIC, Some("1"), Some(reference), event))
    }
}

fn text(text: Option<&str>) -> Option<Ref> {
    text.map(|text| Ref::text(text).unwrap())
}

fn address(topic: &str, join_ref: Option<&str>, reference: Option<&str>) -> Address {
    Address {
        join_ref: text(join_ref),
        reference: text(reference),
        topic: topic.into(),
    }
}

fn subscription(topic: &str, join_ref: &str) -> Subscription {
    Subscription {
        topic: topic.into(),
        join_ref: text(Some(join_ref)),
    }
}

fn frame(
    topic: &str,
    join_ref: Option<&str>,
    reference: Option<&str>,
    event: DeviceEvent,
) -> Event {
    Event::Frame(Inbound {
        from: address(topic, join_ref, reference),
        event: Ok(event),
    })
}

fn params(capabilities: Capabilities) -> JoinParams {
    let firmware = FirmwareMetadata {
        uuid: Some("aaaa".into()),
        version: Some("1.0.0".into()),
        ..FirmwareMetadata::default()
    };
    JoinParams {
        firmware,
        capabilities,
        ..JoinParams::default()
    }
}

fn join(
    topic: &str,
    join_ref: Option<&str>,
    reference: Option<&str>,
    capabilities: Capabilities,
) -> Event {
    frame(
        topic,
        join_ref,
        reference,
        DeviceEvent::Join(Box::new(params(capabilities))),
    )
}

const ACK: Capabilities = Capabilities {
    ack: true,
    groups: true,
};
const LEGACY: Capabilities = Capabilities {
    ack: false,
    groups: false,
};

fn attempt_of(effects: &[Effect]) -> u32 {
    effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Attach { attempt, .. } => Some(*attempt),
            _ => None,
        })
        .expect("an attach")
}

fn receipt_of(effects: &[Effect]) -> u32 {
    effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Record { receipt, .. } => *receipt,
            _ => None,
        })
        .expect("a receipt")
}

fn level() -> Level {
    Level {
        standing: Standing::Active,
        head: Seq(10),
        target: None,
        groups: vec![],
        offers: None,
    }
}

fn target(uuid: &str, revision: i64) -> Arc<Target> {
    Arc::new(Target {
        firmware: FirmwareId(1),
        revision: Seq(revision),
        uuid: uuid.into(),
        version: "2.0.0".into(),
        product: "sensor".into(),
        platform: "demo".into(),
        architecture: "generic".into(),
        size: 1,
        sha256: [0; 32],
    })
}

fn member(group: i64, name: &str, priority: i32, target: Option<Arc<Target>>) -> Membership {
    Membership {
        group: GroupId(group),
        name: name.parse().unwrap(),
        priority,
        from_seq: Seq(0),
        head: Seq(5),
        target,
    }
}

fn command(n: u128, channel: ChannelId, seq: i64, state: ExecutionState) -> PendingCommand {
    PendingCommand {
        id: CommandId(uuid::Uuid::from_u128(n)),
        channel,
        seq: Seq(seq),
        name: "reboot".into(),
        args: "{}".into(),
        expires_at: Timestamp::from_unix_micros(i64::MAX),
        state,
    }
}

fn own(n: u128, seq: i64) -> PendingCommand {
    command(n, ChannelId::Device(DEVICE), seq, ExecutionState::Sent)
}

fn ok(topic: &str, join_ref: Option<&str>, reference: Option<&str>) -> Effect {
    Effect::Reply {
        to: address(topic, join_ref, reference),
        answer: Answer::Ok,
    }
}

fn error(
    topic: &str,
    join_ref: Option<&str>,
    reference: Option<&str>,
    reason: &'static str,
) -> Effect {
    Effect::Reply {
        to: address(topic, join_ref, reference),
        answer: Answer::Error {
            reason,
            retry_after: None,
        },
    }
}

fn has(effects: &[Effect], wanted: &Effect) -> bool {
    effects.contains(wanted)
}

fn ack(n: u128) -> DeviceEvent {
    DeviceEvent::CommandAck(CommandAck {
        id: CommandId(uuid::Uuid::from_u128(n)),
        trace: None,
    })
}
