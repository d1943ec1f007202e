//! A node's lease: whether the others may count on it, and what it does about those that are gone.
//!
//! ```text
//!              renewed                    row gone: entered again, sockets claimed again
//!   Entered ───────────▶ Held ◀──────────────────────────────────────┐
//!                         │ lapsed, then renewed: sockets claimed again │
//!                         └─────────────────────────────────────────────┘
//!                         │ another run has the name
//!                         ▼
//!                      Replaced
//! ```
//! Time is the database's: the machine hears from each renewal whether the lease had lapsed, and judges nothing by its own
//! clock but when to ask again. Rules owned here: a node that was away claims its sockets again before anything else; it
//! marks others as gone only after [`PROOF_RENEWALS`] renewals in a row of its own, so that the first node to come back
//! after an outage of the database does not bury the rest.

use std::time::{Duration, Instant};

use crate::limits::{LEASE_RENEW_EVERY, LEASE_RETRY};

/// Renewals in a row, none of them late, after which a node may say that another one is gone.
pub const PROOF_RENEWALS: u32 = 3;

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Answer to [`Effect::Renew`]: the lease is held for another term.
    Renewed {
        /** It had run out before. */
        lapsed: bool,
    },
    /// Answer to [`Effect::Renew`]: there is no such lease any more; another node said that this one is gone.
    Buried,
    /// Answer to [`Effect::Renew`] or [`Effect::Enter`]: another run of a node with this name holds it.
    Replaced,
    /// Answer to [`Effect::Enter`].
    Entered,
    /// The database did not answer.
    Failed,
    /// A write that gives a connection up was lost, so the database may name devices that are not here.
    Leaked,
    /// The deadline has passed.
    Deadline,
}

/// What the machine asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Extend the lease.
    Renew,
    /// Write the lease anew.
    Enter,
    /// Claim every socket of this node again; those that moved elsewhere meanwhile are over.
    Reclaim,
    /// Give up what the database says is connected here and is not.
    Audit,
    /// Mark the devices of nodes without a lease as gone.
    Reap,
    /// Stop: another run of this node took over.
    Stop,
}

/// The machine of one node's lease.
#[derive(Clone, Debug)]
pub struct Lease {
    streak: u32,
    waiting: bool,
    replaced: bool,
    next: Instant,
}

impl Lease {
    /// A lease that was just written. It is renewed at once, because a renewal also tells who the others are.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            streak: 0,
            waiting: false,
            replaced: false,
            next: now,
        }
    }

    /// Steps the machine.
    pub fn step(&mut self, event: Event, now: Instant, out: &mut Vec<Effect>) {
        if self.replaced {
            return;
        }
        match event {
            Event::Deadline => self.due(now, out),
            Event::Leaked => out.push(Effect::Audit),
            Event::Renewed { lapsed } => {
                self.answered(LEASE_RENEW_EVERY, now);
                if lapsed {
                    self.streak = 0;
                    out.extend([Effect::Reclaim, Effect::Audit]);
                }
                self.streak = self.streak.saturating_add(1);
                if self.is_proven() {
                    out.push(Effect::Reap);
                }
            }
            Event::Buried => {
                self.answered(LEASE_RETRY, now);
                self.streak = 0;
                self.waiting = true;
                out.push(Effect::Enter);
            }
            Event::Entered => {
                self.answered(LEASE_RENEW_EVERY, now);
                out.extend([Effect::Reclaim, Effect::Audit]);
            }
            Event::Failed => {
                self.answered(LEASE_RETRY, now);
                self.streak = 0;
            }
            Event::Replaced => {
                self.replaced = true;
                out.push(Effect::Stop);
            }
        }
    }

    /// When to be stepped with [`Event::Deadline`]; `None` while an answer is awaited or once it is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (!self.waiting && !self.replaced).then_some(self.next)
    }

    /// Whether this node may say that another one is gone.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.streak >= PROOF_RENEWALS
    }

    fn due(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if !self.waiting && self.next <= now {
            self.waiting = true;
            out.push(Effect::Renew);
        }
    }

    fn answered(&mut self, pause: Duration, now: Instant) {
        self.waiting = false;
        self.next = now + pause;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Steps the machine through answers, one per deadline, and gathers what it asks for besides renewing.
    fn run(answers: &[Event]) -> (Lease, Vec<Effect>) {
        let mut now = Instant::now();
        let mut lease = Lease::new(now);
        let mut asked = Vec::new();
        for answer in answers {
            if let Some(at) = lease.deadline() {
                now = at;
                lease.step(Event::Deadline, now, &mut asked);
            }
            lease.step(*answer, now, &mut asked);
        }
        asked.retain(|effect| *effect != Effect::Renew);
        (lease, asked)
    }

    const FINE: Event = Event::Renewed { lapsed: false };
    const LATE: Event = Event::Renewed { lapsed: true };

    #[test]
    fn it_renews_once_per_deadline_and_waits_for_the_answer() {
        let now = Instant::now();
        let (mut lease, mut out) = (Lease::new(now), Vec::new());
        lease.step(Event::Deadline, now, &mut out);
        assert_eq!(out, [Effect::Renew]);
        lease.step(FINE, now, &mut out);
        let due = lease.deadline().unwrap();
        assert_eq!(due, now + LEASE_RENEW_EVERY);
        out.clear();
        lease.step(Event::Deadline, due, &mut out);
        lease.step(Event::Deadline, due, &mut out);
        assert_eq!(out, [Effect::Renew]);
        assert_eq!(lease.deadline(), None);
        lease.step(Event::Failed, due, &mut out);
        assert_eq!(lease.deadline(), Some(due + LEASE_RETRY));
    }

    #[test]
    fn others_are_reaped_after_three_renewals_in_a_row() {
        assert_eq!(run(&[FINE, FINE]).1, []);
        assert_eq!(run(&[FINE, FINE, FINE]).1, [Effect::Reap]);
        assert_eq!(run(&[FINE, FINE, Event::Failed, FINE, FINE]).1, []);
    }

    #[test]
    fn an_outage_of_the_database_buries_nobody() {
        let back = [FINE, FINE, FINE, Event::Failed, Event::Failed, LATE, FINE];
        assert_eq!(run(&back).1, [Effect::Reap, Effect::Reclaim, Effect::Audit]);
    }

    #[test]
    fn a_buried_node_enters_again_and_claims_its_sockets() {
        assert_eq!(
            run(&[Event::Buried, Event::Entered]).1,
            [Effect::Enter, Effect::Reclaim, Effect::Audit]
        );
    }

    #[test]
    fn a_replaced_node_stops_for_good() {
        let (lease, asked) = run(&[Event::Replaced, FINE, FINE, FINE, Event::Buried]);
        assert_eq!(asked, [Effect::Stop]);
        assert_eq!(lease.deadline(), None);
    }

    fn events() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(FINE),
            Just(LATE),
            Just(Event::Buried),
            Just(Event::Entered),
            Just(Event::Failed),
            Just(Event::Leaked),
            Just(Event::Deadline),
            Just(Event::Replaced),
        ]
    }

    proptest! {
        /// Whatever happens: never a reap without three good renewals directly before it, and a late one is always
        /// followed by a claim before a reap.
        #[test]
        fn a_reaper_has_proved_itself(events in prop::collection::vec(events(), 0..60)) {
            let mut now = Instant::now();
            let mut lease = Lease::new(now);
            let mut good = 0;
            for event in events {
                now += Duration::from_millis(700);
                let mut out = Vec::new();
                lease.step(event, now, &mut out);
                match event {
                    FINE => good += 1,
                    LATE => good = 1,
                    Event::Failed | Event::Buried => good = 0,
                    Event::Replaced
                    | Event::Entered
                    | Event::Leaked
                    | Event::Deadline => {}
                }
                prop_assert!(out.len() <= 3);
                if out.contains(&Effect::Reap) {
                    prop_assert!(good >= PROOF_RENEWALS);
                }
            }
        }
    }
}
