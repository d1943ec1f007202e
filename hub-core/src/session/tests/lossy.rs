//! A bus that drops, repeats, reorders and delays: whatever it does, the device ends up with the same commands in the same order.
//!
//! The world around the two machines is a model: a store that is right, a poll that finds what moved, and answers that take time.
//! `HUB_SEEDS` runs more worlds than the suite does.

use std::collections::{BTreeMap, BTreeSet};

use hub_proto::cluster::CommandBody;

use super::*;
use crate::fanout::{self, Fanout, Loaded};

/// Worlds of one run.
const SEEDS: u64 = 2_000;
/// Commands that are given in each.
const COMMANDS: u128 = 24;
/// The group the device is in.
const GROUP: GroupId = GroupId(1);
/// A bus message is lost once in so many, and comes twice as often.
const LOST_ONE_IN: u64 = 3;
/// The latest a bus message comes.
const LATE_MS: u64 = 5_000;
/// The latest an answer of store or device comes.
const ANSWER_MS: u64 = 300;
/// The device sends a ping this often.
const HEARTBEAT_MS: u64 = 20_000;
/// The whole of it, and the calm at its end.
const WORLD_MS: u64 = 60_000;

/// Something that happens later.
#[derive(Debug)]
enum Later {
    Given(ChannelId),
    Hint(ChannelId, Seq, Option<HintBody>),
    Poll,
    Heartbeat,
    ToSession(Box<Event>),
    ToGroup(Box<fanout::Event<u8>>),
    Acked(CommandId),
    Received(CommandId),
}

struct World {
    state: u64,
    now_ms: u64,
    start: Instant,
    later: BTreeMap<(u64, u64), Later>,
    count: u64,
    session: Session,
    group: Fanout<u8>,
    /// Every command, by channel; its position is its place.
    store: BTreeMap<ChannelId, Vec<PendingCommand>>,
    polled: BTreeMap<ChannelId, usize>,
    acked: BTreeSet<CommandId>,
    received: Vec<CommandId>,
    given: u128,
}

fn own_channel() -> ChannelId {
    ChannelId::Device(DEVICE)
}

impl World {
    fn new(seed: u64) -> Self {
        let bench = Bench::new();
        let mut world = Self {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            now_ms: 0,
            start: bench.now,
            later: BTreeMap::new(),
            count: 0,
            session: bench.session,
            group: Fanout::new(GROUP, "group:acme:sensor:field".into()),
            store: [
                (own_channel(), Vec::new()),
                (ChannelId::Group(GROUP), Vec::new()),
            ]
            .into(),
            polled: BTreeMap::new(),
            acked: BTreeSet::new(),
            received: Vec::new(),
            given: 0,
        };
        for _ in 0..COMMANDS {
            let channel = if world.random(2) == 0 {
                own_channel()
            } else {
                ChannelId::Group(GROUP)
            };
            let at = world.random(WORLD_MS / 3);
            world.after(at, Later::Given(channel));
        }
        world.after(2_000, Later::Poll);
        world.after(HEARTBEAT_MS, Later::Heartbeat);
        world.tell(join(TOPIC, Some("1"), Some("1"), ACK));
        world
    }

    /// A number below `below`; xorshift is random enough here.
    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.now_ms)
    }

    fn after(&mut self, wait_ms: u64, what: Later) {
        self.count += 1;
        self.later.insert((self.now_ms + wait_ms, self.count), what);
    }

    fn answer(&mut self, what: Later) {
        let wait = self.random(ANSWER_MS);
        self.after(wait, what);
    }

    fn run(mut self) -> Self {
        while let Some(((at, _), what)) = self.later.pop_first() {
            // the session's own deadlines, as a sweep finds them
            while self.now_ms < at {
                self.now_ms = (self.now_ms + 250).min(at);
                if self.session.deadline().is_some_and(|due| due <= self.now()) {
                    self.tell(Event::Deadline);
                }
            }
            if self.now_ms > WORLD_MS {
                break;
            }
            self.happen(what);
        }
        self
    }

    fn happen(&mut self, what: Later) {
        match what {
            Later::Given(channel) => self.give(channel),
            Later::Hint(own, seq, body) if own == own_channel() => {
                self.tell(Event::Hint { seq, body });
            }
            Later::Hint(_, seq, body) => self.tell_group(fanout::Event::Hint { seq, body }),
            Later::Poll => self.poll(),
            Later::Heartbeat => {
                self.tell(Event::Pinged);
                self.after(HEARTBEAT_MS, Later::Heartbeat);
            }
            Later::ToSession(event) => self.tell(*event),
            Later::ToGroup(event) => self.tell_group(*event),
            Later::Acked(id) => drop(self.acked.insert(id)),
            Later::Received(id) => {
                if !self.received.contains(&id) {
                    self.received.push(id);
                }
                let event = DeviceEvent::CommandAck(CommandAck { id });
                self.tell(frame(TOPIC, Some("1"), None, event));
            }
        }
    }

    /// A command is committed, and announced on a bus that may do anything.
    fn give(&mut self, channel: ChannelId) {
        self.given += 1;
        let list = self.store.get_mut(&channel).unwrap();
        let seq = i64::try_from(list.len()).unwrap() + 1;
        let given = command(self.given, channel, seq, ExecutionState::Queued);
        list.push(given.clone());
        let body = CommandBody {
            id: given.id,
            name: given.name,
            args_json: given.args,
            expires_at: given.expires_at,
        };
        for _ in 0..2 {
            if self.random(LOST_ONE_IN) > 0 {
                let late = self.random(LATE_MS);
                let body = Some(HintBody::Command(body.clone()));
                self.after(late, Later::Hint(channel, Seq(seq), body));
            }
        }
    }

    fn poll(&mut self) {
        let moved: Vec<(ChannelId, usize)> = self
            .store
            .iter()
            .map(|(channel, list)| (*channel, list.len()))
            .filter(|(channel, head)| self.polled.insert(*channel, *head) != Some(*head))
            .collect();
        for (channel, head) in moved {
            let seq = Seq(i64::try_from(head).unwrap());
            self.happen(Later::Hint(channel, seq, None));
        }
        let pause = 1_500 + self.random(1_000);
        self.after(pause, Later::Poll);
    }

    /// What the store says now; it is heard later.
    fn read(&self) -> Reconciled {
        let head = |channel| Seq(i64::try_from(self.store[&channel].len()).unwrap());
        let membership = Membership {
            head: head(ChannelId::Group(GROUP)),
            ..member(1, "field", 0, None)
        };
        let due = |command: &&PendingCommand| !self.acked.contains(&command.id);
        let mut pending: Vec<_> = self.store.values().flatten().filter(due).cloned().collect();
        pending.sort_by_key(|command| command.id);
        let more = pending.len() > 32;
        pending.truncate(32);
        Reconciled {
            level: Level {
                head: head(own_channel()),
                groups: vec![membership],
                ..level()
            },
            pending,
            more,
        }
    }

    fn tell(&mut self, event: Event) {
        let (mut out, now) = (Vec::new(), self.now());
        self.session.step(event, now, &mut out);
        for effect in out {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        let reply = |event| Later::ToSession(Box::new(event));
        match effect {
            Effect::Attach { attempt, .. } => {
                let attached = Attached {
                    generation: ConnGen(1),
                    reconciled: self.read(),
                };
                let outcome = Ok(attached);
                self.answer(reply(Event::Attached { attempt, outcome }));
            }
            Effect::Reconcile => {
                let read = self.read();
                self.answer(reply(Event::Reconciled(Ok(read))));
            }
            Effect::Claim(ids) => self.answer(reply(Event::Claimed(Ok(ids)))),
            Effect::Record { report, receipt } => {
                if let Report::Execution { command, .. } = report {
                    // committed before it is answered
                    self.happen(Later::Acked(command));
                }
                if let Some(receipt) = receipt {
                    let outcome = Recorded::Done;
                    self.answer(reply(Event::Recorded { receipt, outcome }));
                }
            }
            Effect::Follow { known, .. } => {
                self.tell_group(fanout::Event::Follow { member: 1, known });
            }
            Effect::Push {
                push: Push::Command(command),
                ..
            } => self.after(20, Later::Received(command.id)),
            Effect::Tail { entry, .. } => {
                if let fanout::News::Command { command, .. } = &entry.news {
                    self.after(20, Later::Received(command.id));
                }
            }
            _ => {}
        }
    }

    fn tell_group(&mut self, event: fanout::Event<u8>) {
        let (mut out, now) = (Vec::new(), self.now());
        self.group.step(event, now, &mut out);
        for effect in out {
            match effect {
                fanout::Effect::Deliver(entry) => self.tell(Event::Entry(entry)),
                fanout::Effect::Followed { head, .. } => {
                    self.tell(Event::Followed { group: GROUP, head });
                }
                fanout::Effect::Load { after } => {
                    let list = &self.store[&ChannelId::Group(GROUP)];
                    let loaded = Loaded {
                        head: Some(Seq(i64::try_from(list.len()).unwrap())),
                        priority: 0,
                        target: None,
                        commands: list.iter().filter(|c| c.seq > after).cloned().collect(),
                        more: false,
                    };
                    self.answer(Later::ToGroup(Box::new(fanout::Event::Loaded(loaded))));
                }
                fanout::Effect::Empty => {}
            }
        }
    }

    /// Everything given was received, in the order of its channel, and is settled.
    fn check(&self, seed: u64) {
        for (channel, list) in &self.store {
            let wanted: Vec<_> = list.iter().map(|command| command.id).collect();
            let of_channel = |id: &&CommandId| wanted.contains(id);
            let got: Vec<_> = self.received.iter().filter(of_channel).copied().collect();
            assert_eq!(got, wanted, "{channel} in world {seed}");
        }
        assert_eq!(self.acked.len() as u128, COMMANDS, "world {seed}");
        assert!(!self.session.is_closed(), "world {seed}");
    }
}

#[test]
fn a_lossy_bus_gives_the_same_final_state() {
    let more = std::env::var("HUB_SEEDS").ok();
    let seeds = more.and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for seed in 1..=seeds {
        World::new(seed).run().check(seed);
    }
}
