//! The judgement at the end: what the API accepted, against what it says became of it, against what the devices did.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use super::writer::Accepted;
use crate::reference::Setup;
use crate::tenant::ORG;
use crate::wait;
use hub_cli::{Client, PageOf};
use hub_proto::api::page::PAGE_ITEMS_MAX;
use hub_proto::api::{Execution, ExecutionState};
use hub_proto::id::CommandId;

/// What was found; everything but the first two should be nothing.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Commands that the API accepted.
    accepted: usize,
    /// What they should have done, one for each device of their audience, by the state it ended in.
    states: BTreeMap<String, usize>,
    /// Wanted effects that never came, or never came to an end.
    lost: Vec<String>,
    /// Effects that came more than once.
    doubled: Vec<String>,
    /// Effects that came after one of a later command of the same channel.
    inverted: Vec<String>,
    /// Effects and executions nobody asked for.
    strange: Vec<String>,
}

impl Verdict {
    /// Commands that the API accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted
    }

    /// What they should have done, one for each device of their audience.
    #[must_use]
    pub fn effects_wanted(&self) -> usize {
        self.states.values().sum()
    }

    /// Wanted effects that never came, or never came to an end.
    #[must_use]
    pub fn lost(&self) -> &[String] {
        &self.lost
    }

    /// Effects that came more than once.
    #[must_use]
    pub fn doubled(&self) -> &[String] {
        &self.doubled
    }

    /// Effects that came after one of a later command of the same channel.
    #[must_use]
    pub fn inverted(&self) -> &[String] {
        &self.inverted
    }

    /// Effects and executions nobody asked for.
    #[must_use]
    pub fn strange(&self) -> &[String] {
        &self.strange
    }

    /// Whether nothing was lost, doubled, inverted or made up.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let found = [&self.lost, &self.doubled, &self.inverted, &self.strange];
        found.iter().all(|found| found.is_empty())
    }

    /// Fails with what was found, if anything.
    ///
    /// # Panics
    /// When anything was.
    pub fn assert_clean(&self) {
        for (what, found) in [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("inverted", &self.inverted),
            ("strange", &self.strange),
        ] {
            assert!(found.is_empty(), "{what}: {found:#?}");
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "accepted commands {}, executions {:?}, lost {}, doubled {}, inversions {}, strange {}",
            self.accepted,
            self.states,
            self.lost.len(),
            self.doubled.len(),
            self.inverted.len(),
            self.strange.len()
        )
    }
}

/// Waits until every execution of every accepted command is over, then compares. `accepted` holds one list for each writer.
pub async fn check(
    api: &Client,
    names: &[String],
    devices: &[Setup],
    accepted: &[Vec<Accepted>],
    within: Duration,
) -> anyhow::Result<Verdict> {
    let mut verdict = Verdict::default();
    let deadline = tokio::time::Instant::now() + within;
    for command in accepted.iter().flatten() {
        verdict.accepted += 1;
        let audience: Vec<&str> = command
            .audience
            .iter()
            .map(|at| names[*at].as_str())
            .collect();
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let over = wait::until("the end of a command", left, async || {
            let executions = executions(api, command.id).await.ok()?;
            executions
                .iter()
                .all(|execution| is_over(execution.state))
                .then_some(executions)
        });
        let executions = match over.await {
            Ok(executions) => executions,
            Err(_) => executions(api, command.id).await?,
        };
        verdict.executions(command, &audience, &executions);
    }
    for (at, (name, setup)) in names.iter().zip(devices).enumerate() {
        let effects = setup.effects()?;
        let wanted: Vec<Vec<&Accepted>> = accepted
            .iter()
            .map(|list| list.iter().filter(|c| c.audience.contains(&at)).collect())
            .collect();
        verdict.effects(name, &effects, &wanted);
    }
    Ok(verdict)
}

impl Verdict {
    /// The API must know exactly the audience, and an end for each.
    fn executions(&mut self, command: &Accepted, audience: &[&str], executions: &[Execution]) {
        let mut found: Vec<&str> = executions.iter().map(|e| &*e.device).collect();
        let mut wanted = audience.to_vec();
        found.sort_unstable();
        wanted.sort_unstable();
        if found != wanted {
            self.strange
                .push(format!("{command:?}: has executions for {found:?}"));
        }
        for execution in executions {
            *self
                .states
                .entry(format!("{:?}", execution.state))
                .or_default() += 1;
            if !is_over(execution.state) {
                self.lost.push(format!(
                    "{command:?}: still {:?} on {}",
                    execution.state, execution.device
                ));
            }
        }
    }

    /// The device must have done exactly what was wanted, once, and each channel's in its order.
    fn effects(&mut self, name: &str, effects: &[CommandId], wanted: &[Vec<&Accepted>]) {
        let mut places: HashMap<CommandId, usize> = HashMap::new();
        for (at, id) in effects.iter().enumerate() {
            if places.insert(*id, at).is_some() {
                self.doubled.push(format!("{id} on {name}"));
            }
        }
        for list in wanted {
            let mut last = None;
            for command in list {
                let place = places.remove(&command.id);
                if place.is_none() {
                    self.lost.push(format!("{command:?}: no effect on {name}"));
                }
                if place.is_some() && place < last {
                    self.inverted
                        .push(format!("{command:?} on {name}: {place:?} after {last:?}"));
                }
                last = last.max(place);
            }
        }
        self.strange
            .extend(places.keys().map(|id| format!("{id} on {name}")));
    }
}

/// Nothing expires here and every command succeeds on every device, so success is the one end there is.
fn is_over(state: ExecutionState) -> bool {
    match state {
        ExecutionState::Succeeded => true,
        ExecutionState::Queued
        | ExecutionState::Sent
        | ExecutionState::Delivered
        | ExecutionState::Failed
        | ExecutionState::Rejected
        | ExecutionState::Expired
        | ExecutionState::Cancelled => false,
    }
}

async fn executions(api: &Client, id: CommandId) -> anyhow::Result<Vec<Execution>> {
    // as many as a page holds, which is as many as a trial has devices
    let all = PageOf {
        limit: Some(PAGE_ITEMS_MAX),
        cursor: None,
    };
    let page = api.executions(ORG, id, &all).await?;
    Ok(page.items)
}

#[cfg(test)]
mod tests {
    use hub_proto::id::DeviceId;
    use uuid::Uuid;

    use super::*;
    use crate::trials::writer::Channel;

    fn command(number: u128) -> Accepted {
        Accepted {
            id: CommandId(Uuid::from_u128(number)),
            channel: Channel::Device(0),
            audience: [0].into(),
        }
    }

    /// The verdict on a device that was to do `wanted`, in this order, and did `done`.
    fn of(wanted: &[u128], done: &[u128]) -> [usize; 4] {
        let wanted: Vec<_> = wanted.iter().map(|number| command(*number)).collect();
        let done: Vec<_> = done.iter().map(|number| command(*number).id).collect();
        let mut verdict = Verdict::default();
        verdict.effects("s0", &done, &[wanted.iter().collect(), Vec::new()]);
        counts(&verdict)
    }

    fn counts(verdict: &Verdict) -> [usize; 4] {
        let Verdict {
            accepted: _,
            states: _,
            lost,
            doubled,
            inverted,
            strange,
        } = verdict;
        [lost, doubled, inverted, strange].map(Vec::len)
    }

    #[test]
    fn the_checker_sees_each_kind_of_damage_on_a_device() {
        assert_eq!(of(&[1, 2, 3], &[1, 2, 3]), [0, 0, 0, 0]);
        assert_eq!(of(&[1, 2, 3], &[1, 3]), [1, 0, 0, 0]);
        assert_eq!(of(&[1, 2], &[1, 2, 2]), [0, 1, 0, 0]);
        assert_eq!(of(&[1, 2, 3], &[2, 1, 3]), [0, 0, 1, 0]);
        assert_eq!(of(&[1], &[1, 9]), [0, 0, 0, 1]);
    }

    #[test]
    fn the_checker_sees_what_the_api_lost_or_made_up() {
        let execution = |device: &str, state| Execution {
            device_id: DeviceId(1),
            device: device.parse().unwrap(),
            state,
            output: None,
            at: None,
        };
        let judge = |executions: &[Execution]| {
            let mut verdict = Verdict::default();
            verdict.executions(&command(1), &["s0"], executions);
            counts(&verdict)
        };
        let over = ExecutionState::Succeeded;
        assert_eq!(judge(&[execution("s0", over)]), [0, 0, 0, 0]);
        assert_eq!(
            judge(&[execution("s0", ExecutionState::Sent)]),
            [1, 0, 0, 0]
        );
        assert_eq!(judge(&[]), [0, 0, 0, 1]);
        assert_eq!(
            judge(&[execution("s0", over), execution("s1", over)]),
            [0, 0, 0, 1]
        );
    }
}
