//! Laws under any input: no event panics, the same input gives the same effects, every queue keeps its bound, and no
//! command id runs twice.

use std::collections::HashMap;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::limits::{
    COMMANDS_REMEMBERED_MAX, COMMANDS_WAITING_MAX, GROUPS_MAX, REPORTS_IN_FLIGHT_MAX,
    REPORTS_KEPT_MAX,
};

#[derive(Debug, Clone)]
enum Input {
    Opened,
    Failed,
    Closed(Option<u16>),
    Reply {
        reference: u8,
        ok: bool,
        response: u8,
    },
    Push {
        topic: u8,
        event: u8,
        number: u8,
    },
    Persisted {
        number: u8,
        saved: bool,
    },
    Ended {
        number: u8,
    },
    Update(u8),
    Booted(bool),
    Wait(u32),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        2 => Just(Input::Opened),
        1 => Just(Input::Failed),
        1 => proptest::option::of(prop_oneof![Just(1000_u16), Just(1012), Just(4401), any::<u16>()]).prop_map(Input::Closed),
        6 => (0..40_u8, any::<bool>(), 0..4_u8)
            .prop_map(|(reference, ok, response)| Input::Reply { reference, ok, response }),
        8 => (0..4_u8, 0..10_u8, 0..90_u8).prop_map(|(topic, event, number)| Input::Push { topic, event, number }),
        4 => (0..90_u8, any::<bool>()).prop_map(|(number, saved)| Input::Persisted { number, saved }),
        4 => (0..90_u8).prop_map(|number| Input::Ended { number }),
        2 => (0..6_u8).prop_map(Input::Update),
        1 => any::<bool>().prop_map(Input::Booted),
        4 => (0..120_000_u32).prop_map(Input::Wait),
    ]
}

fn reply(reference: u8, ok: bool, response: u8) -> Event {
    let response = match response {
        0 => json!({ "groups": [GROUP, "group:a:b:c"] }),
        1 => json!({ "retry_after_ms": 5 }),
        2 => json!([]),
        _ => {
            json!({ "groups": (0..200).map(|n| format!("group:a:b:{n}")).collect::<Vec<_>>() })
        }
    };
    let status = if ok { "ok" } else { "error" };
    let payload = json!({ "status": status, "response": response });
    Event::Frame(frame(&json!([
        null,
        reference.to_string(),
        "device",
        "phx_reply",
        payload
    ])))
}

fn push(topic: u8, event: u8, number: u8, machine: &Machine) -> Event {
    let topic = match topic {
        0 => machine.device_topic(),
        1 => GROUP.to_owned(),
        2 => "phoenix".to_owned(),
        _ => "group:a:b:c".to_owned(),
    };
    let names = [
        "identify",
        "reboot",
        "join",
        "leave",
        "reconnect",
        "firmware_update",
        "phx_error",
        "phx_close",
        "logs",
        "x",
    ];
    let payload = json!({
        "id": command_id(u128::from(number)).to_string(), "channel": format!("group:a:b:{number}"), "after_ms": u64::from(number),
        "uuid": if number.is_multiple_of(2) { UUID } else { OTHER }, "url": "https://h/f",
    });
    let payload = if number.is_multiple_of(7) {
        Value::Null
    } else {
        payload
    };
    Event::Frame(frame(&json!([
        null,
        null,
        topic,
        names[usize::from(event) % names.len()],
        payload
    ])))
}

fn event_of(input: Input, machine: &Machine) -> Event {
    let id = |number: u8| command_id(u128::from(number));
    match input {
        Input::Opened => Event::Opened,
        Input::Failed => Event::OpenFailed { retry_after: None },
        Input::Closed(code) => Event::Closed { code },
        Input::Reply {
            reference,
            ok,
            response,
        } => reply(reference, ok, response),
        Input::Push {
            topic,
            event,
            number,
        } => push(topic, event, number, machine),
        Input::Persisted { number, saved } => Event::Persisted {
            id: id(number),
            saved,
        },
        Input::Ended { number } => Event::CommandEnded {
            id: id(number),
            outcome: done(),
        },
        Input::Update(kind) => Event::Update(match kind {
            0 => UpdateEvent::Started,
            1 => UpdateEvent::Installed,
            2 => UpdateEvent::Failed {
                reason: "x".to_owned(),
            },
            _ => UpdateEvent::Progress {
                percent: kind,
                stage: Stage::Updating,
            },
        }),
        Input::Booted(installed) => Event::Booted {
            firmware: installed.then(|| firmware(OTHER, "2.0.0")),
        },
        Input::Wait(_) => Event::Tick,
    }
}

fn bounded(machine: &Machine) {
    assert!(machine.groups.len() <= GROUPS_MAX);
    assert!(machine.queue.len() + machine.unsaved.len() <= COMMANDS_WAITING_MAX + 1);
    assert!(machine.in_flight.len() <= REPORTS_IN_FLIGHT_MAX);
    assert!(machine.ledger.commands().count() <= COMMANDS_REMEMBERED_MAX);
    assert!(machine.ledger.reports().count() <= REPORTS_KEPT_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn total_deterministic_bounded_and_at_most_once(inputs in vec(input(), 1..160), fail_every in 2..9_u32) {
        let make = || Machine::new(Ledger::default(), Some(firmware(UUID, "1.0.0")), Downgrades::Follow, 3);
        let (mut machine, mut twin, mut now) = (make(), make(), Duration::ZERO);
        let (mut starts, mut writes): (HashMap<CommandId, u32>, u32) = (HashMap::new(), 0);
        let mut effects = Vec::new();
        let mut later = Vec::new();
        machine.step(Event::Start, now, &mut effects);
        twin.step(Event::Start, now, &mut Vec::new());
        for input in inputs {
            if let Input::Wait(millis) = input {
                now += Duration::from_millis(u64::from(millis));
            }
            later.push(input);
            while let Some(input) = later.pop() {
                let mut twin_effects = Vec::new();
                effects.clear();
                machine.step(event_of(input.clone(), &machine), now, &mut effects);
                twin.step(event_of(input, &twin), now, &mut twin_effects);
                prop_assert_eq!(&effects, &twin_effects);
                bounded(&machine);
                for effect in &effects {
                    match effect {
                        Effect::Run { id, .. } => *starts.entry(*id).or_default() += 1,
                        Effect::Persist { id, .. } => {
                            writes += 1;
                            let number = u8::try_from(id.0.as_u128()).unwrap();
                            later.push(Input::Persisted { number, saved: writes % fail_every != 0 });
                        }
                        _ => {}
                    }
                }
            }
            // A deadline that has passed must be gone after the step that was given it.
            let mut ticked = Vec::new();
            machine.step(Event::Tick, now, &mut ticked);
            twin.step(Event::Tick, now, &mut Vec::new());
            for effect in ticked {
                if let Effect::Persist { id, .. } = effect {
                    later.push(Input::Persisted { number: u8::try_from(id.0.as_u128()).unwrap(), saved: true });
                }
            }
        }
        // Ids are 90 and fewer than 64 are remembered: an id that was forgotten may come as new. None of the others may.
        let recent: Vec<_> = machine.ledger.commands().map(|command| command.id).collect();
        if starts.len() <= COMMANDS_REMEMBERED_MAX {
            prop_assert!(recent.iter().all(|id| starts.get(id).copied().unwrap_or(0) <= 1));
        }
    }
}
