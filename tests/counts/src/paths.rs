//! The hot paths. Each prepares the same things whatever the number of repetitions, so that a difference holds none of it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hub_core::fanout::{self, Entry, Fanout, Loaded, News};
use hub_core::level::{Level, Membership, Standing};
use hub_core::session::{
    Address, Answer, Attached, Effect, Event, Identity, Inbound, Reconciled, Recorded, Session,
};
use hub_proto::cluster::{CommandBody, HintBody};
use hub_proto::event::DeviceEvent;
use hub_proto::frame::{ReplyStatus, Serializer};
use hub_proto::id::{CommandId, ConnGen, DeviceId, GroupId, Seq};
use hub_proto::time::Timestamp;

/// Sessions that are prepared, and so the most repetitions.
pub(crate) const REPETITIONS_MAX: usize = 600;

/// Runs a path so many times.
type Run = fn(usize);

/// Every path with its name in the kept file.
pub(crate) const ALL: [(&str, Run); 6] = [
    ("decode_heartbeat", decode_heartbeat),
    ("decode_ack", decode_ack),
    ("heartbeat_answered", heartbeat_answered),
    ("command_encoded", command_encoded),
    ("command_to_member", command_to_member),
    ("ack_answered", ack_answered),
];

const GROUP: GroupId = GroupId(9);
const TOPIC: &str = "group:acme:sensor:field";
const HEARTBEAT: &str = r#"[null,"17","phoenix","heartbeat",{}]"#;
const ACK: &str = r#"["2","18","group:acme:sensor:field","command_ack",{"id":"00000000-0000-0000-0000-000000000001"}]"#;

fn decode_heartbeat(times: usize) {
    for _ in 0..times {
        black_box(read(black_box(HEARTBEAT)));
    }
}

fn decode_ack(times: usize) {
    for _ in 0..times {
        black_box(read(black_box(ACK)));
    }
}

/// Text in, step, text of the reply out.
fn heartbeat_answered(times: usize) {
    let mut now = Instant::now();
    let mut session = joined(now);
    for _ in 0..times {
        now += Duration::from_secs(30);
        let out = step(&mut session, Event::Frame(read(black_box(HEARTBEAT))), now);
        assert!(answered(&out), "a heartbeat is answered");
    }
}

/// A hint that carries the body becomes an entry with its frame: once for each command, whatever the number of members.
fn command_encoded(times: usize) {
    let now = Instant::now();
    let mut fanout = followed(now);
    for seq in 1..=times {
        black_box(encoded(&mut fanout, seq, now));
    }
}

/// One entry, one member: step and the member's own frame.
fn command_to_member(times: usize) {
    let now = Instant::now();
    let entry = encoded(&mut followed(now), 1, now);
    let mut members = members(now);
    for member in members.iter_mut().take(times) {
        deliver(member, &entry, now);
    }
}

/// Text in, step, commit, text of the reply out.
fn ack_answered(times: usize) {
    let now = Instant::now();
    let entry = encoded(&mut followed(now), 1, now);
    let mut members = members(now);
    for member in &mut members {
        deliver(member, &entry, now);
    }
    for member in members.iter_mut().take(times) {
        let out = step(member, Event::Frame(read(black_box(ACK))), now);
        let receipt = out.iter().find_map(|effect| {
            if let Effect::Record { receipt, .. } = effect {
                *receipt
            } else {
                None
            }
        });
        let receipt = receipt.expect("an acknowledgement is recorded");
        let outcome = Recorded::Done;
        let out = step(member, Event::Recorded { receipt, outcome }, now);
        assert!(answered(&out), "an acknowledgement is answered");
    }
}

fn read(text: &str) -> Inbound {
    let frame = Serializer::V2.decode_text(text).expect("a frame");
    let event = DeviceEvent::parse(&frame.event, &frame.payload);
    let from = Address {
        join_ref: frame.join_ref,
        reference: frame.reference,
        topic: frame.topic,
    };
    Inbound { from, event }
}

fn step(session: &mut Session, event: Event, now: Instant) -> Vec<Effect> {
    let mut out = Vec::new();
    session.step(event, now, &mut out);
    out
}

/// Writes every `ok`; whether there was one.
fn answered(effects: &[Effect]) -> bool {
    let mut any = false;
    for effect in effects {
        if let Effect::Reply { to, answer } = effect
            && *answer == Answer::Ok
        {
            let (join_ref, reference) = (to.join_ref.as_ref(), to.reference.as_ref());
            let none = std::collections::BTreeMap::<&str, &str>::new();
            let reply =
                Serializer::V2.reply(join_ref, reference, &to.topic, ReplyStatus::Ok, &none);
            black_box(reply);
            any = true;
        }
    }
    any
}

fn deliver(member: &mut Session, entry: &Arc<Entry>, now: Instant) {
    let out = step(member, Event::Entry(entry.clone()), now);
    let frame = out.iter().find_map(|effect| {
        if let Effect::Tail { join_ref, entry } = effect
            && let News::Command { tail, .. } = &entry.news
        {
            return Some(tail.frame(Serializer::V2, join_ref.as_ref()));
        }
        None
    });
    black_box(frame.expect("a member gets the shared frame"));
}

/// A group's channel with one member, read up to its start.
fn followed(now: Instant) -> Fanout<u64> {
    let mut fanout = Fanout::new(GROUP, TOPIC.to_owned());
    let mut out = Vec::new();
    let known = Seq::ZERO;
    fanout.step(fanout::Event::Follow { member: 1, known }, now, &mut out);
    let loaded = Loaded {
        head: Some(Seq::ZERO),
        priority: 0,
        target: None,
        commands: Vec::new(),
        more: false,
        left: fanout::Left::default(),
    };
    fanout.step(fanout::Event::Loaded(loaded), now, &mut out);
    fanout
}

fn encoded(fanout: &mut Fanout<u64>, seq: usize, now: Instant) -> Arc<Entry> {
    let body = CommandBody {
        id: CommandId(uuid::Uuid::from_u128(seq as u128)),
        name: "reboot".into(),
        args_json: r#"{"after":"2 s","reason":"a new configuration","force":false}"#.into(),
        expires_at: Timestamp::from_unix_micros(i64::MAX),
    };
    let hint = fanout::Event::Hint {
        seq: Seq(seq as i64),
        body: Some(HintBody::Command(body)),
    };
    let mut out = Vec::new();
    fanout.step(hint, now, &mut out);
    let entry = out.into_iter().find_map(|effect| {
        if let fanout::Effect::Deliver(entry) = effect {
            Some(entry)
        } else {
            None
        }
    });
    entry.expect("a hint that continues what is known is delivered")
}

fn members(now: Instant) -> Vec<Session> {
    let member = joined(now);
    vec![member; REPETITIONS_MAX]
}

/// A session that joined its device channel and its group's.
fn joined(now: Instant) -> Session {
    let identity = Identity {
        device: DeviceId(7),
        org: "acme".parse().expect("a slug"),
        product: "sensor".parse().expect("a slug"),
    };
    let mut session = Session::new(identity, now);
    let join = r#"["1","1","device:aaaa","phx_join",{"nerves_fw_uuid":"aaaa","capabilities":["ack","groups"]}]"#;
    let out = step(&mut session, Event::Frame(read(join)), now);
    let attempt = out.iter().find_map(|effect| {
        if let Effect::Attach { attempt, .. } = effect {
            Some(*attempt)
        } else {
            None
        }
    });
    let group = Membership {
        group: GROUP,
        name: "field".parse().expect("a slug"),
        priority: 0,
        from_seq: Seq::ZERO,
        head: Seq::ZERO,
        target: None,
    };
    let level = Level {
        standing: Standing::Active,
        head: Seq::ZERO,
        target: None,
        groups: vec![group],
        offers: None,
    };
    let reconciled = Reconciled {
        level,
        pending: Vec::new(),
        more: false,
    };
    let attached = Event::Attached {
        attempt: attempt.expect("the store is asked"),
        outcome: Ok(Attached {
            generation: ConnGen(1),
            reconciled,
        }),
    };
    step(&mut session, attached, now);
    let join = r#"["2","2","group:acme:sensor:field","phx_join",{}]"#;
    let out = step(&mut session, Event::Frame(read(join)), now);
    assert!(answered(&out), "the group's channel is joined");
    session
}
