//! The order of commands when the device cannot take them all, and the settings of a machine.

use std::time::Duration;

use super::*;
use crate::{backoff::Window, limits::COMMANDS_WAITING_MAX};

fn send(world: &mut World, number: u128) -> bool {
    let payload = json!({ "id": command_id(number).to_string() });
    let effects = world.device("identify", payload);
    events(&effects).contains(&"command_ack".to_owned())
}

fn end(world: &mut World, number: u128) {
    world.feed(Event::CommandEnded {
        id: command_id(number),
        outcome: done(),
    });
}

/// One command runs, as many as may wait do, and the next was sent back. Gives its number.
fn full(world: &mut World) -> u128 {
    let taken = COMMANDS_WAITING_MAX as u128 + 1;
    for number in 1..=taken {
        assert!(send(world, number), "{number}");
    }
    assert!(!send(world, taken + 1));
    taken + 1
}

#[test]
fn a_command_that_was_sent_back_keeps_its_place() {
    let mut world = World::online(&[]);
    let first = full(&mut world);
    for number in 1..=3 {
        end(&mut world, number);
    }
    assert!(
        !send(&mut world, first + 1),
        "there is room, and not its turn"
    );
    assert!(send(&mut world, first));
    assert!(
        !send(&mut world, first + 2),
        "the one before it was sent back"
    );
    assert!(send(&mut world, first + 1));
    assert!(send(&mut world, first + 2));
}

#[test]
fn a_new_connection_starts_with_the_oldest_again() {
    let mut world = World::online(&[]);
    let first = full(&mut world);
    end(&mut world, 1);
    world.feed(Event::Closed { code: None });
    world.wait(RECONNECT_CAP);
    world.join(&[]);
    assert!(
        send(&mut world, first + 1),
        "the first one is not wanted any more"
    );
}

#[test]
fn a_command_that_the_disk_refused_keeps_its_place() {
    let mut world = World::online(&[]);
    world.disk_full = true;
    assert!(!send(&mut world, 1));
    world.disk_full = false;
    assert!(!send(&mut world, 2));
    assert!(send(&mut world, 1));
    assert!(send(&mut world, 2));
}

#[test]
fn pauses_between_connections_follow_the_settings() {
    let cap = Duration::from_millis(100);
    let base = Duration::from_millis(20);
    let mut world = World::online(&[]);
    world.machine = world.machine.with_reconnect(Window { base, cap });
    for _ in 0..20 {
        world.feed(Event::Closed { code: None });
        assert!(world.wait(cap).contains(&Effect::Connect));
        world.join(&[]);
    }
}
