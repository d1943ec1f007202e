//! Two live holders of one identity: who stays, and what the other one hears.
//!
//! A network that drops connections makes a device take itself over again and again; so do two devices with a copy of one
//! key. What tells them apart is the holder: asked with a ping, the lost socket of the first kind is silent, and a living
//! device answers. Rules owned here: only a pong to the question itself counts as an answer, and only in time; a newcomer
//! whose identity is held hears `duplicate_identity` at once for as long as it was told to stay away.

use std::time::Instant;

use hub_proto::id::ConnGen;

use super::Session;
use super::effect::{Answer, Effect, Report};
use crate::limits::{CHALLENGE_MAX, DUPLICATE_RETRY};

/// What a session remembers of contests; most never have one.
#[derive(Clone, Debug, Default)]
pub(super) struct Contest {
    /// The number of the ping that asks, and until when its pong counts.
    asked: Option<(u32, Instant)>,
    /// No join before this.
    barred_until: Option<Instant>,
}

impl Session {
    /// Asks the peer whether it is there, if the question is meant for this join and is not being asked already.
    pub(super) fn challenged(&mut self, generation: ConnGen, now: Instant, out: &mut Vec<Effect>) {
        let asking = |contest: &Contest| contest.asked.is_some_and(|(_, by)| now < by);
        if self.generation() != Some(generation) || self.contest.as_deref().is_some_and(asking) {
            return;
        }
        let number = self.number();
        self.contest.get_or_insert_default().asked = Some((number, now + CHALLENGE_MAX));
        out.push(Effect::Ping(number));
    }

    /// A pong: perhaps the answer to the question.
    pub(super) fn proved(&mut self, number: u32, now: Instant, out: &mut Vec<Effect>) {
        let Some(contest) = &mut self.contest else {
            return;
        };
        if contest
            .asked
            .take_if(|(asked, _)| *asked == number)
            .is_some_and(|(_, by)| now <= by)
        {
            out.push(Effect::Record {
                report: Report::Alive,
                receipt: None,
            });
        }
    }

    /// Bars further joins on this socket; the answer to the one that was refused.
    pub(super) fn barred(&mut self, now: Instant) -> Answer {
        self.contest.get_or_insert_default().barred_until = Some(now + DUPLICATE_RETRY);
        Answer::Error {
            reason: "duplicate_identity",
            retry_after: Some(DUPLICATE_RETRY),
        }
    }

    /// The answer to a join that comes too early.
    pub(super) fn still_barred(&self, now: Instant) -> Option<Answer> {
        let until = self.contest.as_ref()?.barred_until?;
        (now < until).then(|| Answer::Error {
            reason: "duplicate_identity",
            retry_after: Some(until - now),
        })
    }
}
