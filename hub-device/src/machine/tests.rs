//! The device's rules, one test each, and the laws of the machine.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names the effects it looks at"
)]

mod laws;
mod order;

use std::time::Duration;

use hub_proto::{
    event::DeviceEvent,
    frame::{Frame, Payload, Serializer},
    id::CommandId,
};
use serde_json::{Value, json};

use super::{Downgrades, Effect, Event, Machine, Outgoing, Stage, UpdateEvent};
use crate::{
    firmware::Firmware,
    ledger::{CommandStatus, Ledger, Outcome, Record},
    limits::{
        HEARTBEAT_INTERVAL, JOIN_REPLY_WAIT, JOIN_SILENCES_MAX, REBOOT_GRACE, RECONNECT_CAP,
        REJOIN_CAP, RESULTS_KEPT_MAX,
    },
};

const UUID: &str = "11111111-1111-5111-8111-111111111111";
const OTHER: &str = "22222222-2222-5222-8222-222222222222";
const GROUP: &str = "group:acme:sensor:canary";

fn firmware(uuid: &str, version: &str) -> Firmware {
    Firmware {
        uuid: uuid.to_owned(),
        version: version.to_owned(),
        ..Firmware::default()
    }
}

fn frame(text: &Value) -> Frame {
    Serializer::V2.decode_text(&text.to_string()).unwrap()
}

fn command_id(number: u128) -> CommandId {
    CommandId(uuid::Uuid::from_u128(number))
}

fn done() -> Outcome {
    Outcome::new(CommandStatus::Succeeded, "")
}

/// A machine and the world around it: disk writes succeed, everything else is up to the test.
struct World {
    machine: Machine,
    now: Duration,
    disk_full: bool,
    journal: Vec<Record>,
}

impl World {
    fn new(installed: Option<Firmware>) -> Self {
        Self::with(Ledger::default(), installed)
    }

    fn with(ledger: Ledger, installed: Option<Firmware>) -> Self {
        let machine = Machine::new(ledger, installed, Downgrades::Follow, 1);
        Self {
            machine,
            now: Duration::ZERO,
            disk_full: false,
            journal: Vec::new(),
        }
    }

    /// A device that runs `UUID` and has joined with these groups.
    fn online(groups: &[&str]) -> Self {
        let mut world = Self::new(Some(firmware(UUID, "1.0.0")));
        world.connect(groups);
        world
    }

    fn connect(&mut self, groups: &[&str]) -> Vec<Effect> {
        self.feed(Event::Start);
        self.join(groups)
    }

    fn join(&mut self, groups: &[&str]) -> Vec<Effect> {
        let join = sent(&self.feed(Event::Opened)).remove(0);
        self.reply(&join, "ok", json!({ "groups": groups }))
    }

    fn feed(&mut self, event: Event) -> Vec<Effect> {
        let mut all = Vec::new();
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut effects = Vec::new();
            self.machine.step(event, self.now, &mut effects);
            for effect in &effects {
                match effect {
                    Effect::Persist { id, records } => {
                        if !self.disk_full {
                            self.journal.extend(records.clone());
                        }
                        events.push(Event::Persisted {
                            id: *id,
                            saved: !self.disk_full,
                        });
                    }
                    Effect::Record(record) => self.journal.push(record.clone()),
                    _ => {}
                }
            }
            all.extend(effects);
        }
        all
    }

    fn hear(&mut self, message: Value) -> Vec<Effect> {
        self.feed(Event::Frame(frame(&message)))
    }

    fn push(&mut self, topic: &str, event: &str, payload: Value) -> Vec<Effect> {
        self.hear(json!([null, null, topic, event, payload]))
    }

    fn device(&mut self, event: &str, payload: Value) -> Vec<Effect> {
        let topic = self.machine.device_topic();
        self.push(&topic, event, payload)
    }

    fn reply(&mut self, to: &Outgoing, status: &str, response: Value) -> Vec<Effect> {
        let join_ref = to.join_ref.map(|reference| reference.to_string());
        let payload = json!({ "status": status, "response": response });
        self.hear(json!([
            join_ref,
            to.reference.to_string(),
            to.topic,
            "phx_reply",
            payload
        ]))
    }

    fn wait(&mut self, pause: Duration) -> Vec<Effect> {
        self.now += pause;
        self.feed(Event::Tick)
    }

    fn offer(&mut self, uuid: &str) -> Vec<Effect> {
        self.device(
            "firmware_update",
            json!({ "id": OTHER, "uuid": uuid, "url": "https://hub/f", "version": "2.0.0" }),
        )
    }
}

fn sent(effects: &[Effect]) -> Vec<Outgoing> {
    effects
        .iter()
        .filter_map(|effect| {
            if let Effect::Send(frame) = effect {
                Some(frame.clone())
            } else {
                None
            }
        })
        .collect()
}

fn events(effects: &[Effect]) -> Vec<String> {
    sent(effects)
        .iter()
        .map(|frame| frame.event.to_string())
        .collect()
}

fn runs(effects: &[Effect]) -> usize {
    effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Run { .. }))
        .count()
}

#[test]
fn joins_with_its_firmware_in_the_topic_and_its_capabilities() {
    let mut world = World::new(Some(firmware(UUID, "1.0.0")));
    assert_eq!(world.feed(Event::Start), [Effect::Connect]);
    let join = sent(&world.feed(Event::Opened)).remove(0);
    assert_eq!(
        (join.topic.as_str(), &*join.event),
        (format!("device:{UUID}").as_str(), "phx_join")
    );
    assert_eq!(join.join_ref, Some(join.reference));
    assert_eq!(join.payload["capabilities"], json!(["ack", "groups"]));
    assert_eq!(join.payload["nerves_fw_uuid"], UUID);
}

#[test]
fn a_device_with_nothing_installed_joins_the_bare_topic() {
    let mut world = World::new(None);
    world.feed(Event::Start);
    let join = sent(&world.feed(Event::Opened)).remove(0);
    assert_eq!(join.topic, "device");
    assert!(join.payload.get("nerves_fw_uuid").is_none());
}

#[test]
fn follows_the_group_list_and_its_changes() {
    let mut world = World::new(Some(firmware(UUID, "1.0.0")));
    let joins = sent(&world.connect(&[GROUP, "group:acme:sensor:b", "phoenix"]));
    assert_eq!(
        joins.len(),
        2,
        "one join for each group channel and none for what is no group"
    );
    world.reply(&joins[0], "ok", json!({}));
    assert_eq!(
        world.machine.joined_groups().collect::<Vec<_>>(),
        [joins[0].topic.as_str()]
    );

    let leave = sent(&world.device("leave", json!({ "channel": joins[0].topic }))).remove(0);
    assert_eq!(
        (&*leave.event, leave.join_ref),
        ("phx_leave", joins[0].join_ref)
    );
    assert_eq!(
        world.machine.joined_groups().count(),
        0,
        "nothing is taken from a channel that is being left"
    );
    let again = sent(&world.device("join", json!({ "channel": joins[0].topic }))).remove(0);
    assert_eq!(&*again.event, "phx_join");
    assert_ne!(again.reference, joins[0].reference);
    world.reply(&leave, "ok", json!({}));
    world.reply(&again, "ok", json!({}));
    assert_eq!(
        world.machine.joined_groups().count(),
        1,
        "a late reply to the leave does not undo the new join"
    );
}

#[test]
fn rejoins_with_a_new_reference_after_phx_error_and_after_an_unasked_close() {
    for event in ["phx_error", "phx_close"] {
        let mut world = World::new(Some(firmware(UUID, "1.0.0")));
        world.feed(Event::Start);
        let join = sent(&world.feed(Event::Opened)).remove(0);
        world.reply(&join, "ok", json!({ "groups": [] }));
        let reference = join.reference.to_string();
        world.hear(json!([reference, reference, join.topic, event, {}]));
        assert!(!world.machine.is_online());
        let again = sent(&world.wait(REJOIN_CAP))
            .into_iter()
            .find(|frame| frame.event == "phx_join")
            .unwrap();
        assert!(again.reference > join.reference && again.join_ref == Some(again.reference));
        world.reply(&again, "ok", json!({ "groups": [] }));
        // The old join's error comes late: it names a reference that is no longer alive.
        world.hear(json!([reference, reference, join.topic, "phx_error", {}]));
        assert!(world.machine.is_online());
    }
}

#[test]
fn a_join_error_is_retried_on_the_same_socket_when_the_hub_said() {
    let mut world = World::new(Some(firmware(UUID, "1.0.0")));
    world.feed(Event::Start);
    let join = sent(&world.feed(Event::Opened)).remove(0);
    world.reply(
        &join,
        "error",
        json!({ "reason": "unavailable", "retry_after_ms": 7_000 }),
    );
    assert_eq!(
        events(&world.wait(Duration::from_millis(6_999)))
            .iter()
            .filter(|name| *name == "phx_join")
            .count(),
        0
    );
    let effects = world.wait(Duration::from_millis(1));
    assert!(
        !effects.contains(&Effect::Disconnect) && events(&effects).contains(&"phx_join".to_owned())
    );
}

#[test]
fn a_hub_that_never_answers_joins_costs_the_socket() {
    let mut world = World::new(None);
    world.feed(Event::Start);
    world.feed(Event::Opened);
    let effects: Vec<_> = (0..JOIN_SILENCES_MAX)
        .flat_map(|_| world.wait(JOIN_REPLY_WAIT))
        .collect();
    assert!(effects.contains(&Effect::Disconnect));
}

#[test]
fn heartbeats_and_gives_up_a_socket_that_does_not_answer_them() {
    let mut world = World::online(&[]);
    let beat = sent(&world.wait(HEARTBEAT_INTERVAL)).remove(0);
    assert_eq!(
        (beat.topic.as_str(), &*beat.event, beat.join_ref),
        ("phoenix", "heartbeat", None)
    );
    world.reply(&beat, "ok", json!({}));
    assert_eq!(events(&world.wait(HEARTBEAT_INTERVAL)), ["heartbeat"]);
    let effects = world.wait(HEARTBEAT_INTERVAL);
    assert!(effects.contains(&Effect::Disconnect));
    assert!(world.wait(RECONNECT_CAP).contains(&Effect::Connect));
}

#[test]
fn reconnect_keeps_the_socket_until_its_time_and_waits_the_rest_if_closed_before() {
    let mut world = World::online(&[]);
    world.device("reconnect", json!({ "after_ms": 5_000 }));
    assert!(world.machine.is_online());
    let effects = world.wait(Duration::from_secs(5));
    assert!(effects.starts_with(&[Effect::Disconnect, Effect::Connect]));

    let mut world = World::online(&[]);
    world.device("reconnect", json!({ "after_ms": 5_000 }));
    world.feed(Event::Closed { code: Some(1012) });
    assert!(world.wait(Duration::from_millis(4_999)).is_empty());
    assert_eq!(world.wait(Duration::from_millis(1)), [Effect::Connect]);
}

#[test]
fn failed_dials_wait_longer_and_follow_retry_after() {
    let mut world = World::new(None);
    world.feed(Event::Start);
    world.feed(Event::OpenFailed {
        retry_after: Some(Duration::from_secs(120)),
    });
    assert!(world.wait(Duration::from_secs(119)).is_empty());
    assert_eq!(world.wait(Duration::from_secs(1)), [Effect::Connect]);
    world.feed(Event::OpenFailed { retry_after: None });
    assert!(world.machine.deadline().unwrap() <= world.now + Duration::from_secs(2));
}

#[test]
fn a_command_is_on_disk_before_its_ack_and_its_start_before_it_runs() {
    let mut world = World::online(&[]);
    let id = command_id(1);
    let effects = world.device("identify", json!({ "id": id.to_string(), "times": 3 }));
    let order: Vec<&str> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Persist { .. } => Some("persist"),
            Effect::Send(frame) => Some(if frame.event == "command_ack" {
                "ack"
            } else {
                "other"
            }),
            Effect::Run { args, .. } => Some(if args == &json!({ "times": 3 }) {
                "run"
            } else {
                "wrong"
            }),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["persist", "ack", "persist", "run"]);
    let result = sent(&world.feed(Event::CommandEnded {
        id,
        outcome: done(),
    }))
    .remove(0);
    assert_eq!(
        (&*result.event, &result.payload["status"]),
        ("command_result", &json!("succeeded"))
    );
}

#[test]
fn a_repeat_is_acked_with_its_stored_result_and_never_run() {
    let mut world = World::online(&[]);
    let id = command_id(1);
    let payload = json!({ "id": id.to_string() });
    world.device("identify", payload.clone());
    let again = world.device("identify", payload.clone());
    assert_eq!(
        (events(&again), runs(&again)),
        (vec!["command_ack".to_owned()], 0)
    );
    let result = sent(&world.feed(Event::CommandEnded {
        id,
        outcome: done(),
    }))
    .remove(0);
    world.reply(&result, "ok", json!({}));
    let again = world.device("identify", payload.clone());
    assert_eq!(
        (events(&again), runs(&again)),
        (
            vec!["command_ack".to_owned(), "command_result".to_owned()],
            0
        )
    );
    // The same after a restart of the program: the journal remembers.
    let mut world = World::with(Ledger::replay(world.journal), Some(firmware(UUID, "1.0.0")));
    world.connect(&[]);
    let again = world.device("identify", payload);
    assert_eq!(runs(&again), 0);
    assert_eq!(
        events(&again),
        ["command_ack"],
        "the kept report went out with the join"
    );
}

#[test]
fn commands_run_one_by_one_in_the_order_they_came() {
    let mut world = World::online(&[]);
    let first = world.device("identify", json!({ "id": command_id(1).to_string() }));
    let second = world.device("logs", json!({ "id": command_id(2).to_string() }));
    assert_eq!((runs(&first), runs(&second)), (1, 0));
    assert_eq!(events(&second), ["command_ack"]);
    let next = world.feed(Event::CommandEnded {
        id: command_id(1),
        outcome: done(),
    });
    assert!(
        next.iter()
            .any(|effect| matches!(effect, Effect::Run { id, .. } if *id == command_id(2)))
    );
}

#[test]
fn after_a_crash_a_waiting_command_runs_and_a_started_one_does_not() {
    let mut world = World::online(&[]);
    world.device("identify", json!({ "id": command_id(1).to_string() }));
    world.device("logs", json!({ "id": command_id(2).to_string() }));
    let mut world = World::with(Ledger::replay(world.journal), Some(firmware(UUID, "1.0.0")));
    let effects = world.connect(&[]);
    let results = sent(&effects)
        .into_iter()
        .filter(|frame| frame.event == "command_result")
        .collect::<Vec<_>>();
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].payload["status"], "failed");
    assert_eq!(
        runs(&effects),
        0,
        "what waits started with the program, before the connection"
    );
    assert_eq!(world.machine.running_command, Some(command_id(2)));
}

#[test]
fn a_full_disk_acks_nothing_and_the_next_send_counts_as_new() {
    let mut world = World::online(&[]);
    world.disk_full = true;
    let payload = json!({ "id": command_id(1).to_string() });
    let refused = world.device("identify", payload.clone());
    assert!(events(&refused).is_empty() && runs(&refused) == 0);
    world.disk_full = false;
    let taken = world.device("identify", payload);
    assert_eq!(
        (events(&taken), runs(&taken)),
        (vec!["command_ack".to_owned()], 1)
    );
}

#[test]
fn a_group_command_counts_once_with_its_device_copy() {
    let mut world = World::new(Some(firmware(UUID, "1.0.0")));
    let join = sent(&world.connect(&[GROUP])).remove(0);
    world.reply(&join, "ok", json!({}));
    let payload = json!({ "id": command_id(1).to_string() });
    let first = world.push(GROUP, "identify", payload.clone());
    let second = world.device("identify", payload.clone());
    assert_eq!((runs(&first), runs(&second)), (1, 0));
    let elsewhere = world.push(
        "group:acme:sensor:other",
        "identify",
        json!({ "id": command_id(2).to_string() }),
    );
    assert_eq!(
        runs(&elsewhere),
        0,
        "a channel that is not joined delivers nothing"
    );
}

#[test]
fn a_device_whose_results_find_no_hearing_accepts_no_more_than_it_can_report() {
    let mut world = World::online(&[]);
    let give = |world: &mut World, number| {
        let id = command_id(number);
        let effects = world.device("identify", json!({ "id": id.to_string() }));
        let acked = events(&effects).contains(&"command_ack".to_owned());
        let result = acked.then(|| {
            let outcome = done();
            world.feed(Event::CommandEnded { id, outcome })
        });
        (acked, result.unwrap_or_default())
    };
    let mut sent_results = Vec::new();
    for number in 1..=RESULTS_KEPT_MAX as u128 {
        let (acked, effects) = give(&mut world, number);
        assert!(acked, "{number}");
        sent_results.extend(sent(&effects));
    }
    let next = RESULTS_KEPT_MAX as u128 + 1;
    assert!(!give(&mut world, next).0, "there is no room for its result");
    assert_eq!(world.machine.ledger.reports().count(), RESULTS_KEPT_MAX);
    let result = sent_results
        .iter()
        .find(|frame| frame.event == "command_result")
        .unwrap();
    world.reply(result, "ok", json!({}));
    assert!(give(&mut world, next).0, "sent again, it is taken");
}

#[test]
fn reports_go_out_again_until_the_hub_replies() {
    let mut world = World::online(&[]);
    let id = command_id(1);
    world.device("identify", json!({ "id": id.to_string() }));
    let first = sent(&world.feed(Event::CommandEnded {
        id,
        outcome: done(),
    }))
    .remove(0);
    let resent = world.wait(Duration::from_secs(31));
    assert!(events(&resent).contains(&"command_result".to_owned()));
    world.feed(Event::Closed { code: None });
    world.wait(RECONNECT_CAP);
    let rejoined = sent(&world.join(&[]));
    let report = rejoined
        .iter()
        .find(|frame| frame.event == "command_result")
        .unwrap();
    assert_eq!(report.payload, first.payload);
    world.reply(
        report,
        "error",
        json!({ "reason": "unavailable", "retry_after_ms": 1_000 }),
    );
    let later = sent(&world.wait(Duration::from_secs(1)));
    let report = later
        .iter()
        .find(|frame| frame.event == "command_result")
        .unwrap();
    world.reply(report, "ok", json!({}));
    assert_eq!(world.machine.ledger.reports().count(), 0);
}

#[test]
fn an_offer_of_what_runs_or_is_on_its_way_changes_nothing() {
    let mut world = World::online(&[]);
    assert!(
        !world
            .offer(UUID)
            .iter()
            .any(|effect| matches!(effect, Effect::StartUpdate(_) | Effect::Send(_)))
    );
    let taken = world.offer(OTHER);
    assert!(
        taken
            .iter()
            .any(|effect| matches!(effect, Effect::StartUpdate(_)))
    );
    assert_eq!(events(&taken), ["status_update"]);
    assert!(
        !world
            .offer(OTHER)
            .iter()
            .any(|effect| matches!(effect, Effect::StartUpdate(_) | Effect::CancelUpdate))
    );
    assert!(
        world.offer(UUID).contains(&Effect::CancelUpdate),
        "the target is what runs again"
    );
}

#[test]
fn another_offer_replaces_a_download() {
    let mut world = World::online(&[]);
    world.offer(OTHER);
    let effects = world.offer("33333333-3333-5333-8333-333333333333");
    let cancel = effects
        .iter()
        .position(|effect| *effect == Effect::CancelUpdate)
        .unwrap();
    let start = effects
        .iter()
        .position(|effect| matches!(effect, Effect::StartUpdate(_)))
        .unwrap();
    assert!(cancel < start);
}

#[test]
fn an_older_offer_is_refused_where_the_device_was_told_to() {
    let mut world = World::new(Some(firmware(UUID, "3.0.0")));
    world.machine.downgrades = Downgrades::Refuse;
    world.connect(&[]);
    let refusal = sent(&world.offer(OTHER)).remove(0);
    assert_eq!(refusal.payload["status"], "ignored");
}

#[test]
fn an_update_reports_its_steps_and_restarts_on_the_new_firmware() {
    let mut world = World::online(&[]);
    world.offer(OTHER);
    assert_eq!(
        sent(&world.feed(Event::Update(UpdateEvent::Started)))[0].payload["status"],
        "started"
    );
    let completed = world.feed(Event::Update(UpdateEvent::Installed));
    let report = sent(&completed).remove(0);
    assert_eq!(report.payload["status"], "completed");
    assert!(
        !completed.contains(&Effect::Reboot),
        "the report's reply is waited for"
    );
    let restart = world.reply(&report, "ok", json!({}));
    assert_eq!(events(&restart), ["rebooting"]);
    assert!(restart.ends_with(&[Effect::Disconnect, Effect::Reboot]));
    assert_eq!(
        world.feed(Event::Booted {
            firmware: Some(firmware(OTHER, "2.0.0"))
        }),
        [Effect::Connect]
    );
    assert_eq!(
        sent(&world.feed(Event::Opened))[0].topic,
        format!("device:{OTHER}")
    );
}

#[test]
fn a_restart_on_other_firmware_is_a_failed_update() {
    let mut world = World::online(&[]);
    world.offer(OTHER);
    world.feed(Event::Update(UpdateEvent::Installed));
    world.wait(REBOOT_GRACE);
    world.feed(Event::Booted {
        firmware: Some(firmware(UUID, "1.0.0")),
    });
    let rejoined = sent(&world.join(&[]));
    assert!(
        rejoined
            .iter()
            .any(|frame| frame.payload["status"] == "failed")
    );
    assert!(
        !world
            .offer(OTHER)
            .iter()
            .any(|effect| matches!(effect, Effect::StartUpdate(_)))
    );
}

#[test]
fn a_restart_does_not_wait_for_ever() {
    let mut world = World::online(&[]);
    world.offer(OTHER);
    world.feed(Event::Update(UpdateEvent::Installed));
    assert!(world.wait(REBOOT_GRACE).contains(&Effect::Reboot));
}

#[test]
fn progress_goes_out_at_most_twice_a_second_and_newest_first() {
    let mut world = World::online(&[]);
    world.offer(OTHER);
    let mut values = Vec::new();
    for percent in 0..=100 {
        let event = UpdateEvent::Progress {
            percent,
            stage: Stage::Downloading,
        };
        let effects = [
            world.feed(Event::Update(event)),
            world.wait(Duration::from_millis(20)),
        ]
        .concat_effects();
        values.extend(
            sent(&effects)
                .into_iter()
                .filter(|frame| frame.event == "fwup_progress"),
        );
    }
    assert!(
        values.len() <= 6,
        "101 values within two seconds became {}",
        values.len()
    );
    assert!(values.is_sorted_by_key(|frame| frame.payload["value"].as_u64()));
}

#[test]
fn a_failed_firmware_waits_before_it_is_tried_again() {
    let mut world = World::online(&[]);
    world.offer(OTHER);
    let failed = world.feed(Event::Update(UpdateEvent::Failed {
        reason: "the url is no longer valid".to_owned(),
    }));
    assert_eq!(events(&failed), ["status_update", "firmware_update_error"]);
    assert_eq!(
        sent(&failed)[1].payload["errors"],
        json!(["the url is no longer valid"])
    );
    let deferred = world.offer(OTHER);
    assert!(
        !deferred
            .iter()
            .any(|effect| matches!(effect, Effect::StartUpdate(_)))
    );
    assert!(
        world
            .wait(Duration::from_secs(5))
            .iter()
            .any(|effect| matches!(effect, Effect::StartUpdate(_)))
    );
}

#[test]
fn a_reboot_command_reports_first_and_leaves_waiting_commands_for_later() {
    let mut world = World::online(&[]);
    world.device("reboot", json!({ "id": command_id(1).to_string() }));
    world.device("identify", json!({ "id": command_id(2).to_string() }));
    let effects = world.feed(Event::CommandEnded {
        id: command_id(1),
        outcome: done(),
    });
    assert_eq!(runs(&effects), 0);
    let result = sent(&effects).remove(0);
    let restart = world.reply(&result, "ok", json!({}));
    assert!(restart.contains(&Effect::Reboot));
    let booted = world.feed(Event::Booted {
        firmware: Some(firmware(UUID, "1.0.0")),
    });
    assert_eq!(runs(&booted), 1);
}

trait Concat {
    fn concat_effects(self) -> Vec<Effect>;
}

impl<const N: usize> Concat for [Vec<Effect>; N] {
    fn concat_effects(self) -> Vec<Effect> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn the_hub_understands_everything_the_device_says() {
    let mut world = World::new(Some(firmware(UUID, "1.0.0")));
    let mut effects = world.connect(&[GROUP]);
    effects.extend(world.device("identify", json!({ "id": command_id(1).to_string() })));
    effects.extend(world.feed(Event::CommandEnded {
        id: command_id(1),
        outcome: done(),
    }));
    effects.extend(world.offer(OTHER));
    effects.extend(world.feed(Event::Update(UpdateEvent::Started)));
    effects.extend(world.feed(Event::Update(UpdateEvent::Progress {
        percent: 5,
        stage: Stage::Updating,
    })));
    effects.extend(world.feed(Event::Update(UpdateEvent::Failed {
        reason: "x".to_owned(),
    })));
    effects.extend(world.device("firmware_update", json!({ "uuid": OTHER })));
    effects.extend(world.wait(HEARTBEAT_INTERVAL));
    effects.extend(world.offer(OTHER));
    effects.extend(world.feed(Event::Update(UpdateEvent::Installed)));
    effects.extend(world.wait(REBOOT_GRACE));
    let frames = sent(&effects);
    for name in [
        "command_ack",
        "command_result",
        "status_update",
        "fwup_progress",
        "firmware_update_error",
        "rebooting",
    ] {
        assert!(
            frames.iter().any(|frame| frame.event == name),
            "{name} was not said"
        );
    }
    for frame in frames {
        let payload = Payload::Json(serde_json::value::to_raw_value(&frame.payload).unwrap());
        let event = DeviceEvent::parse(&frame.event, &payload);
        assert!(
            !matches!(event, Err(_) | Ok(DeviceEvent::Unknown)),
            "{} {}: {event:?}",
            frame.event,
            frame.payload
        );
    }
}
