//! Reports that must not be lost: sent again until the hub replies.
//!
//! Owns: the hub replies after its commit, so only an ok reply ends a report; a lost socket means sending again after the
//! next join; an error reply with a time means later, one without means the hub will never take it.

use std::time::Duration;

use serde_json::Value;

use super::{Effect, Machine, Outgoing, hub_delay, note};
use crate::{
    ledger::Record,
    limits::{REPORT_REPLY_WAIT, REPORT_RESEND_CAP, REPORTS_IN_FLIGHT_MAX},
};

/// A report sent on this connection.
#[derive(Debug)]
pub(super) struct InFlight {
    key: u64,
    reference: u64,
    due: Duration,
    sends: u32,
}

impl Machine {
    /// Keeps a report and sends it as soon as there is a joined channel.
    pub(super) fn keep_report(&mut self, event: &str, payload: Value, effects: &mut Vec<Effect>) {
        let report = self.ledger.draft(event, payload);
        self.record(Record::Kept(report), effects);
    }

    /// Whether the reply belonged to a report.
    pub(super) fn on_report_reply(
        &mut self,
        reference: u64,
        accepted: bool,
        response: &Value,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(at) = self
            .in_flight
            .iter()
            .position(|sent| sent.reference == reference)
        else {
            return false;
        };
        match hub_delay(response, "retry_after_ms") {
            Some(pause) if !accepted => {
                if let Some(sent) = self.in_flight.get_mut(at) {
                    sent.due = now + pause;
                }
            }
            Some(_) | None => {
                let key = self.in_flight.swap_remove(at).key;
                if !accepted {
                    let event = self
                        .ledger
                        .report(key)
                        .map(|report| report.event.clone())
                        .unwrap_or_default();
                    note(effects, &event, "report refused by the hub");
                }
                self.record(Record::Replied { key }, effects);
            }
        }
        true
    }

    /// Sends what has not been sent on this connection and what has waited too long for its reply.
    pub(super) fn settle_reports(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Some(join_ref) = self.device_join_ref().filter(|_| self.link.is_open()) else {
            return;
        };
        let ledger = &self.ledger;
        self.in_flight
            .retain(|sent| ledger.report(sent.key).is_some());
        let fresh: Vec<u64> = ledger
            .reports()
            .map(|report| report.key)
            .filter(|key| self.in_flight.iter().all(|sent| sent.key != *key))
            .take(REPORTS_IN_FLIGHT_MAX.saturating_sub(self.in_flight.len()))
            .collect();
        let unsent = fresh.into_iter().map(|key| InFlight {
            key,
            reference: 0,
            due: now,
            sends: 0,
        });
        self.in_flight.extend(unsent);
        for at in 0..self.in_flight.len() {
            let reference = self.next_ref;
            let Some(sent) = self.in_flight.get_mut(at).filter(|sent| sent.due <= now) else {
                continue;
            };
            let factor = 1_u32.checked_shl(sent.sends).unwrap_or(u32::MAX);
            sent.due = now
                + REPORT_REPLY_WAIT
                    .saturating_mul(factor)
                    .min(REPORT_RESEND_CAP);
            sent.sends = sent.sends.saturating_add(1);
            sent.reference = reference;
            let Some(report) = self.ledger.report(sent.key) else {
                continue;
            };
            let (event, payload) = (report.event.clone().into(), report.payload.clone());
            self.next_ref = reference.wrapping_add(1);
            let topic = self.device_topic();
            effects.push(Effect::Send(Outgoing {
                join_ref: Some(join_ref),
                reference,
                topic,
                event,
                payload,
            }));
        }
    }

    pub(super) fn reports_deadline(&self) -> Option<Duration> {
        self.device_join_ref()?;
        self.in_flight.iter().map(|sent| sent.due).min()
    }
}
