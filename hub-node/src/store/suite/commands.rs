//! Checks: commands as operators give, read and cancel them.

use std::sync::Arc;

use hub_core::command::ExecutionState::{
    Cancelled, Delivered, Expired, Failed, Queued, Sent, Succeeded,
};
use hub_proto::cluster::HintBody;
use hub_proto::id::{ChannelId, Seq};

use crate::store::Store;
use crate::store::delivery::{DeviceOutcome, DeviceWrite};
use crate::store::records::{Audience, CommandQuery, NewCommand, PageQuery};
use crate::store::suite::world::{NOW, World, all, code, command, later, slug};

pub(in crate::store) async fn same_id_is_the_same_command(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    world.device("e").await;
    let new = command();
    let first = store
        .command_device(world.at("d"), new.clone())
        .await
        .unwrap();
    assert_eq!((first.value.seq, first.changes.len()), (Seq(1), 1));
    assert_eq!(first.changes[0].channel, ChannelId::Device(id));
    let Some(HintBody::Command(body)) = &first.changes[0].body else {
        panic!("no body")
    };
    assert_eq!(
        (body.id, &*body.name, &*body.args_json),
        (new.id, "reboot", r#"{"force":true}"#)
    );
    let again = store
        .command_device(world.at("d"), new.clone())
        .await
        .unwrap();
    assert_eq!((again.value.seq, again.changes.len()), (Seq(1), 0));
    assert_eq!(
        code(store.command_device(world.at("e"), new).await),
        "command_exists"
    );
    let large = NewCommand {
        args: format!("{{\"x\":\"{}\"}}", "y".repeat(5000)),
        ..command()
    };
    let large = store.command_device(world.at("d"), large).await.unwrap();
    assert_eq!(
        (large.value.seq, large.changes[0].body.is_none()),
        (Seq(2), true)
    );
    let audience = Audience::Device {
        product: slug("p"),
        device: slug("d"),
    };
    assert_eq!(
        (large.value.audience, large.value.counts),
        (audience, vec![(Queued, 1)])
    );
}

pub(in crate::store) async fn group_audience_is_exact(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let early = world.device("early").await;
    let late = world.device("late").await;
    world.members("g", 0, &["early"]).await;
    let given = world.to_group("g").await;
    store
        .add_members(world.group("g"), &["late"])
        .await
        .unwrap();
    assert_eq!(given.counts, [(Queued, 1)]);
    let generation = world.attach(late).await.generation;
    let refused = world
        .report(late, generation, given.id, Succeeded, NOW)
        .await;
    assert!(
        matches!(refused, DeviceOutcome::NotFound),
        "not for this member"
    );
    let generation = world.attach(early).await.generation;
    assert!(matches!(
        world
            .report(early, generation, given.id, Delivered, NOW)
            .await,
        DeviceOutcome::Done
    ));
    let both = world.to_group("g").await;
    assert_eq!(both.counts, [(Queued, 2)]);
    world.report(early, generation, both.id, Failed, NOW).await;
    assert_eq!(world.counts(both.id, NOW).await, [(Queued, 1), (Failed, 1)]);
    assert_eq!(
        world.counts(both.id, later(60)).await,
        [(Failed, 1), (Expired, 1)]
    );
    let rows = store
        .executions(
            world.org,
            both.id,
            PageQuery {
                after: None,
                limit: 1,
            },
            NOW,
        )
        .await
        .unwrap();
    assert_eq!((rows.items[0].device, rows.items[0].state), (early, Failed));
    assert_eq!(
        (rows.items[0].output.as_deref(), rows.items[0].at),
        (Some("Failed"), Some(NOW))
    );
    let rows = store
        .executions(
            world.org,
            both.id,
            PageQuery {
                after: rows.next,
                limit: 1,
            },
            NOW,
        )
        .await
        .unwrap();
    assert_eq!(
        (rows.items[0].device, rows.items[0].state, rows.items[0].at),
        (late, Queued, None)
    );
    assert!(rows.next.is_none());
}

pub(in crate::store) async fn states_only_move_forward(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    let given = world.to_device("d").await;
    let joined = world.attach(id).await;
    assert_eq!(joined.reconciled.pending[0].state, Sent);
    assert_eq!(world.counts(given.id, NOW).await, [(Sent, 1)]);
    for (reported, kept) in [
        (Delivered, Delivered),
        (Delivered, Delivered),
        (Succeeded, Succeeded),
        (Failed, Succeeded),
        (Delivered, Succeeded),
        (Queued, Succeeded),
    ] {
        let outcome = world
            .report(id, joined.generation, given.id, reported, NOW)
            .await;
        assert!(matches!(outcome, DeviceOutcome::Done));
        assert_eq!(world.counts(given.id, NOW).await, [(kept, 1)]);
    }
    let rows = store
        .executions(world.org, given.id, all(), NOW)
        .await
        .unwrap()
        .items;
    assert_eq!(rows[0].output.as_deref(), Some("Succeeded"));
}

pub(in crate::store) async fn cancelling_stops_what_was_not_sent(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    let other = world.device("e").await;
    let queued = world.to_device("d").await;
    let cancelled = store
        .cancel_command(world.org, queued.id, NOW)
        .await
        .unwrap();
    assert_eq!(
        (cancelled.value.counts, cancelled.changes.len()),
        (vec![(Cancelled, 1)], 1)
    );
    let again = store
        .cancel_command(world.org, queued.id, later(1))
        .await
        .unwrap();
    assert_eq!(
        (again.value.cancelled_at, again.changes.len()),
        (Some(NOW), 0)
    );
    let joined = world.attach(id).await;
    assert!(joined.reconciled.pending.is_empty());
    let generation = joined.generation;
    let sent = world.to_device("d").await;
    let claim = DeviceWrite::Claim {
        device: id,
        generation,
        commands: vec![queued.id, sent.id],
        at: NOW,
    };
    assert!(matches!(world.write(claim).await, DeviceOutcome::Claimed(ids) if ids == [sent.id]));
    assert_eq!(
        code(store.cancel_command(world.org, sent.id, NOW).await),
        "too_late"
    );
    assert_eq!(world.counts(sent.id, NOW).await, [(Sent, 1)]);
    let expired = world.to_device("d").await;
    assert_eq!(
        code(store.cancel_command(world.org, expired.id, later(60)).await),
        "too_late"
    );

    world.members("g", 0, &["d", "e"]).await;
    let group = world.to_group("g").await;
    world.report(id, generation, group.id, Delivered, NOW).await;
    let cancelled = store
        .cancel_command(world.org, group.id, NOW)
        .await
        .unwrap();
    assert_eq!(cancelled.value.counts, [(Delivered, 1), (Cancelled, 1)]);
    assert!(world.attach(other).await.reconciled.pending.is_empty());
    let generation = world.attach(id).await.generation;
    world.report(id, generation, group.id, Succeeded, NOW).await;
    assert_eq!(
        world.counts(group.id, NOW).await,
        [(Succeeded, 1), (Cancelled, 1)]
    );
    // the other one had it after all: an acknowledgement says little, a result counts
    let generation = world.attach(other).await.generation;
    world
        .report(other, generation, group.id, Delivered, NOW)
        .await;
    assert_eq!(
        world.counts(group.id, NOW).await,
        [(Succeeded, 1), (Cancelled, 1)]
    );
    world
        .report(other, generation, group.id, Succeeded, NOW)
        .await;
    assert_eq!(world.counts(group.id, NOW).await, [(Succeeded, 2)]);
}

pub(in crate::store) async fn late_results_amend_expiry(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    let id = world.device("d").await;
    let given = world.to_device("d").await;
    let generation = world.attach(id).await.generation;
    assert_eq!(world.counts(given.id, later(60)).await, [(Expired, 1)]);
    let row = store
        .executions(world.org, given.id, all(), later(61))
        .await
        .unwrap()
        .items
        .remove(0);
    assert_eq!((row.state, row.at), (Expired, Some(later(60))));
    assert!(matches!(
        world
            .report(id, generation, given.id, Delivered, later(61))
            .await,
        DeviceOutcome::Done
    ));
    assert_eq!(world.counts(given.id, later(61)).await, [(Expired, 1)]);
    world
        .report(id, generation, given.id, Failed, later(62))
        .await;
    assert_eq!(world.counts(given.id, later(63)).await, [(Failed, 1)]);
    // nothing expired is due or may be claimed
    let other = world.to_device("d").await;
    let claim = DeviceWrite::Claim {
        device: id,
        generation,
        commands: vec![other.id],
        at: later(60),
    };
    assert!(matches!(world.write(claim).await, DeviceOutcome::Claimed(ids) if ids.is_empty()));
}

pub(in crate::store) async fn lists_are_newest_first(store: Arc<dyn Store>) {
    let world = World::new(&store, "a").await;
    world.device("d").await;
    world.device("e").await;
    world.members("g", 0, &["d", "e"]).await;
    let mut given = Vec::new();
    for _ in 0..3 {
        given.push(world.to_group("g").await);
        world.to_device("d").await;
    }
    let of = CommandQuery::Group(world.group("g"));
    let first = store
        .commands(
            world.org,
            of,
            PageQuery {
                after: None,
                limit: 2,
            },
            NOW,
        )
        .await
        .unwrap();
    let ids: Vec<_> = first.items.iter().map(|command| command.id).collect();
    assert_eq!(ids, [given[2].id, given[1].id]);
    assert!(
        first
            .items
            .iter()
            .all(|command| command.counts == [(Queued, 2)])
    );
    let rest = store
        .commands(
            world.org,
            of,
            PageQuery {
                after: first.next,
                limit: 2,
            },
            NOW,
        )
        .await
        .unwrap();
    assert_eq!(
        (rest.items[0].id, rest.items.len(), rest.next),
        (given[0].id, 1, None)
    );
    let own = CommandQuery::Device(world.at("d"));
    assert_eq!(
        store
            .commands(world.org, own, all(), NOW)
            .await
            .unwrap()
            .items
            .len(),
        3
    );
}
