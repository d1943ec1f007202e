//! Is the database gone for everybody, or is this node cut off?
//!
//! A node without its database cannot tell by itself. It asks the other nodes: one that has the database for as long as
//! [`ISOLATED_AFTER`] means that this node is cut off, and its devices are better off elsewhere. While nobody has it, or nobody
//! answers, every socket is held: to send devices away would only make them knock in vain.

use std::time::{Duration, Instant};

use crate::limits::{ISOLATED_AFTER, PEERS_ASKED_EVERY};

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The database went away.
    Away,
    /// The database is back.
    Back,
    /// Answer to [`Effect::Ask`]: whether any other node said that it has the database.
    Answered {
        /** At least one yes. */
        yes: bool,
    },
    /// The deadline has passed.
    Deadline,
}

/// What the machine asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask the other nodes whether they have the database.
    Ask,
    /// This node is cut off: say so, and send the devices away.
    Isolated,
    /// It no longer is.
    Rejoined,
}

/// The machine of one node.
#[derive(Clone, Debug, Default)]
pub struct Isolation {
    ask_at: Option<Instant>,
    /// Since when others have had the database without a break.
    others_since: Option<Instant>,
    isolated: bool,
}

impl Isolation {
    /// Steps the machine.
    pub fn step(&mut self, event: Event, now: Instant, out: &mut Vec<Effect>) {
        match event {
            Event::Away => {
                if self.ask_at.is_none() {
                    self.ask_at = Some(now);
                }
            }
            Event::Back => {
                if std::mem::take(self).isolated {
                    out.push(Effect::Rejoined);
                }
            }
            Event::Answered { yes } if self.ask_at.is_some() => {
                self.others_since = yes.then(|| self.others_since.unwrap_or(now));
                let since = self
                    .others_since
                    .map(|at| now.saturating_duration_since(at));
                if since.is_some_and(|since| since >= ISOLATED_AFTER) && !self.isolated {
                    self.isolated = true;
                    out.push(Effect::Isolated);
                }
            }
            Event::Answered { .. } | Event::Deadline => {}
        }
        if let Some(at) = self.ask_at.filter(|at| *at <= now) {
            self.ask_at = Some(at.max(now) + PEERS_ASKED_EVERY);
            out.push(Effect::Ask);
        }
    }

    /// When to be stepped with [`Event::Deadline`]; `None` while the database is there.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.ask_at
    }

    /// How long an answer may take: the next question must not overtake it.
    #[must_use]
    pub fn patience() -> Duration {
        PEERS_ASKED_EVERY / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks every round; what each round answered, and when the machine said something.
    fn rounds(answers: &[bool]) -> Vec<(u64, Effect)> {
        let start = Instant::now();
        let (mut machine, mut said) = (Isolation::default(), Vec::new());
        let mut now = start;
        let mut step = |machine: &mut Isolation, event, now: Instant| {
            let mut out = Vec::new();
            machine.step(event, now, &mut out);
            let at = now.duration_since(start).as_secs();
            said.extend(out.into_iter().map(|effect| (at, effect)));
        };
        step(&mut machine, Event::Away, now);
        for yes in answers {
            step(&mut machine, Event::Answered { yes: *yes }, now);
            now = machine.deadline().unwrap();
            step(&mut machine, Event::Deadline, now);
        }
        step(&mut machine, Event::Back, now);
        assert_eq!(machine.deadline(), None);
        said.retain(|(_, effect)| *effect != Effect::Ask);
        said
    }

    #[test]
    fn others_that_have_it_for_half_a_minute_mean_that_this_node_is_cut_off() {
        let isolated = rounds(&[true; 8]);
        let at = ISOLATED_AFTER.as_secs();
        assert_eq!(isolated[0], (at, Effect::Isolated));
        assert_eq!(isolated[1].1, Effect::Rejoined);
        assert_eq!(isolated.len(), 2);
    }

    #[test]
    fn an_outage_for_all_and_a_flicker_send_nobody_away() {
        assert_eq!(rounds(&[false; 50]), []);
        assert_eq!(rounds(&[true, true, true, false].repeat(9)), []);
    }

    #[test]
    fn nobody_is_asked_while_the_database_is_there() {
        let (mut machine, mut out) = (Isolation::default(), Vec::new());
        machine.step(Event::Answered { yes: true }, Instant::now(), &mut out);
        machine.step(Event::Back, Instant::now(), &mut out);
        machine.step(Event::Deadline, Instant::now(), &mut out);
        assert!(out.is_empty() && machine.deadline().is_none());
    }
}
