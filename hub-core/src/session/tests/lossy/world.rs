//! The world around the session and its group's channel: what is said arrives later, or never, and some of it twice.

mod device;

use std::collections::{BTreeMap, VecDeque};

use hub_proto::cluster::CommandBody;
use hub_proto::event::{CommandResult, ResultStatus};

use super::store::{GROUP, Store, group_channel, own_channel};
use super::*;
use crate::fanout::{self, Fanout};
use crate::limits::RETRY_MIN;

/// The topic of the group's channel.
const GROUP_TOPIC: &str = "group:acme:sensor:field";
/// A bus message is lost once in so many, and comes twice as often.
const LOST_ONE_IN: u64 = 3;
/// The latest a bus message comes.
const LATE_MS: u64 = 5_000;
/// The latest a read is answered.
const ANSWER_MS: u64 = 300;
/// In a world whose store fails, one answer in so many is that it is away.
const AWAY_ONE_IN: u64 = 10;
/// A frame's way to the device.
const WIRE_MS: u64 = 20;
/// A frame's way from a device that is read slowly: its joins and leaves are stale when they come.
const SLOW_WIRE_MS: u64 = 2_000;
/// A message's way between two actors.
const MAILBOX_MS: u64 = 1;
/// A command takes the device so long.
const WORK_MS: u64 = 30;
/// The device sends a ping this often.
const HEARTBEAT_MS: u64 = 20_000;
/// The whole of it, with the calm at its end.
const WORLD_MS: u64 = 180_000;

/// Something that happens later.
#[derive(Debug)]
enum Later {
    Given(ChannelId),
    MembershipTurned,
    ChannelDied,
    Hint(ChannelId, Seq, Option<HintBody>),
    Poll,
    Heartbeat,
    ToSession(Box<Event>),
    ToGroup(Box<fanout::Event<u8>>),
    Committed(Option<CommandId>, Option<u32>),
    ToDevice(Box<Effect>),
    Done(CommandId),
    FromDevice(Box<Event>),
    Read,
}

/// One world.
pub(super) struct World {
    state: u64,
    now_ms: u64,
    start: Instant,
    later: BTreeMap<(u64, u64), Later>,
    count: u64,
    session: Session,
    group: Fanout<u8>,
    store: Store,
    polled: BTreeMap<ChannelId, Seq>,
    /// Longest way of a write to its commit; writes keep their order.
    commit_ms: u64,
    committing_ms: u64,
    fails: bool,
    /// A frame's way from the device to the node.
    wire_ms: u64,
    paused: Instant,
    from_device: VecDeque<Event>,
    received: Vec<CommandId>,
    /// The device's join of the group's channel.
    group_ref: Option<u64>,
    next_ref: u64,
}

impl World {
    /// A world in which everything follows from its seed.
    pub(super) fn new(seed: u64) -> Self {
        let bench = Bench::new();
        let mut world = Self {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            now_ms: 0,
            start: bench.now,
            later: BTreeMap::new(),
            count: 0,
            session: bench.session,
            group: Fanout::new(GROUP, GROUP_TOPIC.into()),
            store: Store::default(),
            polled: BTreeMap::new(),
            commit_ms: 0,
            committing_ms: 0,
            fails: false,
            wire_ms: WIRE_MS,
            paused: bench.now,
            from_device: VecDeque::new(),
            received: Vec::new(),
            group_ref: None,
            next_ref: 10,
        };
        world.plan();
        world
    }

    fn plan(&mut self) {
        self.commit_ms = self.one_of(&[1, 300, 3_000]);
        self.fails = self.random(2) == 0;
        self.wire_ms = self.one_of(&[WIRE_MS, SLOW_WIRE_MS]);
        let span = self.one_of(&[1_000, 20_000]);
        let (commands, turns) = (self.one_of(&[24, 120]), self.one_of(&[0, 1, 12]));
        self.store.turn_membership();
        for _ in 0..commands {
            let at = self.random(span);
            let channel = [own_channel(), group_channel()][usize::from(self.random(2) == 0)];
            self.after(at, Later::Given(channel));
        }
        for _ in 0..turns {
            let at = self.random(span);
            self.after(at, Later::MembershipTurned);
        }
        let at = self.random(2 * span);
        self.after(at, Later::ChannelDied);
        self.after(2_000, Later::Poll);
        self.after(HEARTBEAT_MS, Later::Heartbeat);
        self.say(join(TOPIC, Some("1"), Some("1"), ACK));
    }

    /// A number below `below`; xorshift is random enough here.
    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    fn one_of(&mut self, choice: &[u64]) -> u64 {
        let at = self.random(choice.len() as u64);
        choice[usize::try_from(at).unwrap()]
    }

    fn store_is_away(&mut self) -> bool {
        self.fails && self.random(AWAY_ONE_IN) == 0
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.now_ms)
    }

    fn after(&mut self, wait_ms: u64, what: Later) {
        self.count += 1;
        self.later.insert((self.now_ms + wait_ms, self.count), what);
    }

    fn answer(&mut self, event: Event) {
        let wait = self.random(ANSWER_MS);
        self.after(wait, Later::ToSession(Box::new(event)));
    }

    pub(super) fn run(mut self) -> Self {
        while let Some(((at, _), what)) = self.later.pop_first() {
            // deadlines, as a sweep finds them
            while self.now_ms < at {
                self.now_ms = (self.now_ms + 250).min(at);
                if self.session.deadline().is_some_and(|due| due <= self.now()) {
                    self.tell(Event::Deadline);
                }
                if self.group.deadline().is_some_and(|due| due <= self.now()) {
                    self.tell_group(fanout::Event::Deadline);
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
            Later::Given(channel) => {
                let given = self.store.give(channel);
                let body = HintBody::Command(CommandBody {
                    id: given.id,
                    name: given.name,
                    args_json: given.args,
                    expires_at: given.expires_at,
                });
                self.announce(channel, given.seq, Some(&body));
            }
            Later::MembershipTurned => {
                for (channel, seq) in self.store.turn_membership() {
                    self.announce(channel, seq, None);
                }
            }
            Later::ChannelDied => {
                self.group = Fanout::new(GROUP, GROUP_TOPIC.into());
                self.tell(Event::Refollow(GROUP));
            }
            Later::Hint(own, seq, body) if own == own_channel() => {
                self.tell(Event::Hint { seq, body });
            }
            Later::Hint(_, seq, body) => self.tell_group(fanout::Event::Hint { seq, body }),
            Later::Poll => self.poll(),
            Later::Heartbeat => {
                self.say(Event::Pinged);
                self.after(HEARTBEAT_MS, Later::Heartbeat);
            }
            Later::ToSession(event) => self.tell(*event),
            Later::ToGroup(event) => self.tell_group(*event),
            Later::Committed(command, receipt) => self.commit(command, receipt),
            Later::ToDevice(effect) => self.device_hears(*effect),
            Later::Done(id) => self.say(frame(
                TOPIC,
                Some("1"),
                None,
                DeviceEvent::CommandResult(CommandResult {
                    id,
                    status: ResultStatus::Succeeded,
                    output: None,
                    trace: None,
                }),
            )),
            Later::FromDevice(event) => {
                self.from_device.push_back(*event);
                self.read();
            }
            Later::Read => self.read(),
        }
    }

    /// Says on the bus, which may do anything, that a channel moved.
    fn announce(&mut self, channel: ChannelId, seq: Seq, body: Option<&HintBody>) {
        for _ in 0..2 {
            if self.random(LOST_ONE_IN) > 0 {
                let late = self.random(LATE_MS);
                self.after(late, Later::Hint(channel, seq, body.cloned()));
            }
        }
    }

    fn poll(&mut self) {
        for channel in [own_channel(), group_channel()] {
            let seq = self.store.head(channel);
            if self.polled.insert(channel, seq) != Some(seq) {
                self.happen(Later::Hint(channel, seq, None));
            }
        }
        let pause = 1_500 + self.random(1_000);
        self.after(pause, Later::Poll);
    }

    fn commit(&mut self, command: Option<CommandId>, receipt: Option<u32>) {
        let away = self.store_is_away();
        if !away {
            self.store.committed.extend(command);
        }
        let outcome = if away {
            Recorded::Unavailable(Unavailable {
                retry_after: RETRY_MIN,
            })
        } else {
            Recorded::Done
        };
        if let Some(receipt) = receipt {
            self.tell(Event::Recorded { receipt, outcome });
        }
    }

    fn tell(&mut self, event: Event) {
        let (mut out, now) = (Vec::new(), self.now());
        if std::env::var("HUB_TRACE").is_ok() {
            println!("{:6} S< {event:?}", self.now_ms);
        }
        self.session.step(event, now, &mut out);
        for effect in out {
            if std::env::var("HUB_TRACE").is_ok() {
                println!("{:6} S> {effect:?}", self.now_ms);
            }
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        let away = || Unavailable {
            retry_after: RETRY_MIN,
        };
        match effect {
            Effect::Attach { attempt, .. } => {
                let outcome = Ok(Attached {
                    generation: ConnGen(1),
                    reconciled: self.store.read(),
                });
                self.answer(Event::Attached { attempt, outcome });
            }
            Effect::Reconcile => {
                let read = self.store.read();
                let outcome = if self.store_is_away() {
                    Err(away())
                } else {
                    Ok(read)
                };
                self.answer(Event::Reconciled(outcome));
            }
            Effect::Claim(ids) => {
                let outcome = if self.store_is_away() {
                    Err(away())
                } else {
                    Ok(ids)
                };
                self.answer(Event::Claimed(outcome));
            }
            Effect::Record { report, receipt } => {
                let command = match report {
                    Report::Execution { command, .. } => Some(command),
                    _ => None,
                };
                let wait = self.random(self.commit_ms);
                self.committing_ms = self.committing_ms.max(self.now_ms + wait);
                self.after(
                    self.committing_ms - self.now_ms,
                    Later::Committed(command, receipt),
                );
            }
            Effect::Follow { known, .. } => {
                let event = fanout::Event::Follow { member: 1, known };
                self.after(MAILBOX_MS, Later::ToGroup(Box::new(event)));
            }
            Effect::Unfollow(_) => {
                self.after(
                    MAILBOX_MS,
                    Later::ToGroup(Box::new(fanout::Event::Unfollow(1))),
                );
            }
            Effect::Push { .. } | Effect::Tail { .. } | Effect::Reply { .. } => {
                self.after(WIRE_MS, Later::ToDevice(Box::new(effect)));
            }
            Effect::PauseReading(at) => self.paused = at,
            Effect::Close(reason) => panic!("closed: {reason:?}"),
            _ => {}
        }
    }

    fn tell_group(&mut self, event: fanout::Event<u8>) {
        let (mut out, now) = (Vec::new(), self.now());
        self.group.step(event, now, &mut out);
        for effect in out {
            match effect {
                fanout::Effect::Deliver(entry) => {
                    if self.group.members().len() > 0 {
                        let event = Event::Entry(entry);
                        self.after(MAILBOX_MS, Later::ToSession(Box::new(event)));
                    }
                }
                fanout::Effect::Followed { head, .. } => {
                    let event = Event::Followed { group: GROUP, head };
                    self.after(MAILBOX_MS, Later::ToSession(Box::new(event)));
                }
                fanout::Effect::Load { after } => {
                    let loaded = self.store.group_changes(after);
                    let event = if self.store_is_away() {
                        fanout::Event::LoadFailed
                    } else {
                        fanout::Event::Loaded(loaded)
                    };
                    let wait = self.random(ANSWER_MS);
                    self.after(wait, Later::ToGroup(Box::new(event)));
                }
                fanout::Effect::Empty => {}
            }
        }
    }

    /// Everything that was for the device was received, in the order of its channel, and is settled; nothing else was.
    pub(super) fn check(&self, seed: u64) {
        let mut all = 0;
        for channel in [own_channel(), group_channel()] {
            let wanted = self.store.wanted(channel);
            let of_channel = |id: &&CommandId| wanted.contains(id);
            let got: Vec<_> = self.received.iter().filter(of_channel).copied().collect();
            assert_eq!(got, wanted, "{channel} in world {seed}");
            all += wanted.len();
        }
        assert_eq!(self.received.len(), all, "for nobody here in world {seed}");
        assert_eq!(self.store.committed.len(), all, "world {seed}");
    }
}
