//! Many writes of many sockets with few statements.
//!
//! Owns the order: the writes of one device are carried out as they came. Those of different devices do not touch each other, so a
//! round takes one write of each device, and those of the frequent kinds share their statements.

use super::Db;
use hub_proto::id::{ChannelId, CommandId, ConnGen, DeviceId, Seq};
use hub_proto::time::Timestamp;

use super::owners::Owners;
use super::reports::Said;
use super::sessions::End;
use super::{contests, offers, reports, sessions, updates};
use crate::store::StoreResult;
use crate::store::delivery::{Attach, DeviceOutcome, DeviceWrite, UpdateReport};

/// At most one write of each device, by kind, each with its place in the batch.
#[derive(Default)]
struct Round<'a> {
    joins: Vec<(usize, &'a Attach)>,
    ends: Vec<(usize, End)>,
    reports: Vec<(usize, Said<'a>)>,
    rare: Vec<(usize, Rare<'a>)>,
}

/// A write that shares nothing.
struct Rare<'a> {
    device: DeviceId,
    generation: ConnGen,
    what: What<'a>,
}

enum What<'a> {
    Alive,
    Update(&'a UpdateReport, Timestamp),
    Claim(&'a [CommandId], Timestamp),
    Offered(ChannelId, Seq, Timestamp),
}

/// Carries out writes that are sorted by device; the outcomes are in their order. After an error the transaction is of no use.
/// `now` is the database's.
pub(super) async fn apply(
    db: &mut Db,
    writes: &[&DeviceWrite],
    now: i64,
) -> StoreResult<Vec<DeviceOutcome>> {
    let devices: Vec<i64> = writes.iter().map(|write| device_of(write).0).collect();
    let mut owners = Owners::hold(db, &devices).await?;
    let mut placed = Vec::with_capacity(writes.len());
    for round in rounds(writes) {
        carry_out(db, round, &mut owners, now, &mut placed).await?;
    }
    placed.sort_by_key(|(place, _)| *place);
    Ok(placed.into_iter().map(|(_, outcome)| outcome).collect())
}

/// Whom a write is about.
pub(super) fn device_of(write: &DeviceWrite) -> DeviceId {
    match write {
        DeviceWrite::Attach(join) => join.device,
        DeviceWrite::Detach { device, .. }
        | DeviceWrite::Alive { device, .. }
        | DeviceWrite::Update { device, .. }
        | DeviceWrite::Claim { device, .. }
        | DeviceWrite::Execution { device, .. }
        | DeviceWrite::Offered { device, .. } => *device,
    }
}

/// The first round takes the first write of each device, and so on.
fn rounds<'a>(writes: &[&'a DeviceWrite]) -> Vec<Round<'a>> {
    let mut rounds: Vec<Round<'a>> = Vec::new();
    let (mut before, mut nth) = (None, 0);
    for (place, write) in writes.iter().enumerate() {
        let device = device_of(write);
        nth = if before == Some(device) { nth + 1 } else { 0 };
        before = Some(device);
        if nth == rounds.len() {
            rounds.push(Round::default());
        }
        if let Some(round) = rounds.get_mut(nth) {
            round.take(place, write);
        }
    }
    rounds
}

impl<'a> Round<'a> {
    fn take(&mut self, place: usize, write: &'a DeviceWrite) {
        let (device, generation, what) = match write {
            DeviceWrite::Attach(join) => return self.joins.push((place, join)),
            &DeviceWrite::Detach {
                device,
                generation,
                at,
            } => {
                let end = End {
                    device,
                    generation,
                    at,
                };
                return self.ends.push((place, end));
            }
            &DeviceWrite::Execution {
                device,
                generation,
                ref report,
                at,
            } => {
                let said = Said {
                    device,
                    generation,
                    report,
                    at,
                };
                return self.reports.push((place, said));
            }
            DeviceWrite::Alive { device, generation } => (device, generation, What::Alive),
            DeviceWrite::Update {
                device,
                generation,
                report,
                at,
            } => (device, generation, What::Update(report, *at)),
            DeviceWrite::Claim {
                device,
                generation,
                commands,
                at,
            } => (device, generation, What::Claim(commands, *at)),
            DeviceWrite::Offered {
                device,
                generation,
                channel,
                revision,
                at,
            } => (device, generation, What::Offered(*channel, *revision, *at)),
        };
        let rare = Rare {
            device: *device,
            generation: *generation,
            what,
        };
        self.rare.push((place, rare));
    }
}

async fn carry_out(
    db: &mut Db,
    round: Round<'_>,
    owners: &mut Owners,
    now: i64,
    placed: &mut Vec<(usize, DeviceOutcome)>,
) -> StoreResult<()> {
    let (places, joins): (Vec<_>, Vec<_>) = round.joins.into_iter().unzip();
    let joined = sessions::attach(db, &joins, owners, now).await?;
    placed.extend(places.into_iter().zip(joined));
    let (places, ends): (Vec<_>, Vec<_>) = round.ends.into_iter().unzip();
    let ended = sessions::detach(db, &ends, owners).await?;
    placed.extend(places.into_iter().zip(ended));
    let (places, reports): (Vec<_>, Vec<_>) = round.reports.into_iter().unzip();
    let reported = reports::executions(db, &reports, owners).await?;
    placed.extend(places.into_iter().zip(reported));
    for (place, rare) in round.rare {
        placed.push((place, alone(db, rare, owners, now).await?));
    }
    Ok(())
}

async fn alone(
    db: &mut Db,
    write: Rare<'_>,
    owners: &Owners,
    now: i64,
) -> StoreResult<DeviceOutcome> {
    let (device, generation) = (write.device, write.generation);
    if let Err(stop) = owners.fence(device, generation) {
        return Ok(stop);
    }
    match write.what {
        What::Alive => contests::alive(db, device, generation, now).await,
        What::Update(report, at) => updates::report(db, device, generation, report, at).await,
        What::Claim(commands, at) => reports::claim(db, device, commands, at).await,
        What::Offered(channel, revision, at) => {
            offers::offered(db, device, (channel, revision), at).await
        }
    }
}
