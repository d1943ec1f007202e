//! What a device may say, and what it is answered.
//!
//! Rules owned here: joins, leaves and heartbeats are always answered; any other push is answered only to a device that declared
//! acks, and after its commit; a device that declared none is never answered once it has joined, as some clients crash on it; a
//! leave is acknowledged, then the channel is closed; nothing is ever closed that the device did not leave.

use std::time::Instant;

use hub_proto::close::CloseReason;
use hub_proto::event::{
    CommandResult, DeviceEvent, EventError, JoinParams, Progress, ResultStatus, UpdateStatus,
};
use hub_proto::id::{CommandId, GroupId};
use hub_proto::topic::Topic;

use super::channels::is_current;
use super::effect::{Address, Answer, Effect, Note, Push, Report, Subscription};
use super::{InFlight, Inbound, Phase, Recorded, Session};
use crate::command::ExecutionState;
use crate::limits::{PROGRESS_EVERY, REPORTS_IN_FLIGHT_MAX, RETRY_MIN};
use crate::rate::{MalformedRate, Verdict};

/// The progress that means "done".
const COMPLETE: u8 = 100;

impl Session {
    pub(super) fn frame(&mut self, frame: Inbound, now: Instant, out: &mut Vec<Effect>) {
        self.liveness.heard(now);
        if !self.within_rate(now, out) {
            return;
        }
        let Inbound { from, event } = frame;
        match (Topic::parse(&from.topic), event) {
            (Topic::Phoenix, Ok(DeviceEvent::Heartbeat)) => reply(from, Answer::Ok, out),
            (Topic::Phoenix, _) => self.refuse(from, "unknown_event", out),
            (Topic::Device(topic), Ok(DeviceEvent::Join(mut params))) => {
                // Some devices name what they run in the topic alone; where both do, the payload is the fuller word.
                if params.firmware.uuid.is_none() {
                    params.firmware.uuid = topic.firmware;
                }
                self.join_device(from, params, now, out)
            }
            (Topic::Group(_), Ok(DeviceEvent::Join(_))) => self.join_group(from, now, out),
            (Topic::Unknown, Ok(DeviceEvent::Join(_))) => reply(from, error("unknown_topic"), out),
            (_, Ok(DeviceEvent::Leave)) => self.leave(from, now, out),
            (Topic::Unknown, _) => self.refuse(from, "unknown_topic", out),
            (Topic::Device(_) | Topic::Group(_), event) => self.device_push(from, event, now, out),
        }
    }

    fn within_rate(&mut self, now: Instant, out: &mut Vec<Effect>) -> bool {
        match self.rate.message(now) {
            Verdict::Pass => true,
            Verdict::PauseUntil(at) => {
                out.push(Effect::PauseReading(at));
                true
            }
            Verdict::Flood => {
                self.close(CloseReason::PolicyViolation, out);
                false
            }
        }
    }

    /// Pings share the rate of messages: the WebSocket library answers each one that is read.
    pub(super) fn pinged(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.liveness.heard(now);
        self.within_rate(now, out);
    }

    pub(super) fn ponged(&mut self, number: Option<u32>, now: Instant, out: &mut Vec<Effect>) {
        self.liveness.heard(now);
        if let Some(number) = number {
            self.liveness.answered(number);
        }
        if !self.within_rate(now, out) {
            return;
        }
        let Some(number) = number else { return };
        self.proved(number, now, out);
        for id in self.deliveries.ponged(number) {
            let report = Report::Execution {
                command: id,
                state: ExecutionState::Delivered,
                output: None,
                first: true,
                trace: None,
            };
            self.record(report, None, Some(id), out);
        }
        self.refill(out);
    }

    pub(super) fn malformed(
        &mut self,
        to: Option<Address>,
        code: &'static str,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        self.liveness.heard(now);
        if !self.within_rate(now, out) {
            return;
        }
        if let Some(to) = to {
            return self.refuse(to, code, out);
        }
        out.push(Effect::Note(Note::Refused(code)));
        if self.may_answer() {
            let on = Subscription {
                topic: "phoenix".into(),
                join_ref: None,
            };
            out.push(Effect::Push {
                on,
                push: Push::Malformed { code },
            });
        }
        if self
            .malformed_rate
            .get_or_insert_with(|| Box::new(MalformedRate::new(now)))
            .malformed(now)
        {
            self.close(CloseReason::BadRequests, out);
        }
    }

    /// Whether this device may be answered at all outside joins, leaves and heartbeats.
    pub(super) fn may_answer(&self) -> bool {
        self.capabilities.ack || !self.spoken_for
    }

    fn refuse(&self, to: Address, code: &'static str, out: &mut Vec<Effect>) {
        if self.may_answer() && to.reference.is_some() {
            out.push(Effect::Note(Note::Refused(code)));
            reply(to, error(code), out);
        } else {
            out.push(Effect::Note(Note::Ignored(code)));
        }
    }

    fn join_device(
        &mut self,
        from: Address,
        params: Box<JoinParams>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        self.first_join_by = None;
        if let Some(answer) = self.still_barred(now) {
            return reply(from, answer, out);
        }
        if self.channels.device.is_none() && !self.channels.has_room(self.joining.len()) {
            return reply(from, error("too_many_channels"), out);
        }
        self.release(out);
        self.channels.device = None;
        self.spoken_for = true;
        self.capabilities = params.capabilities;
        self.running.uuid = params.firmware.uuid.as_deref().map(Into::into);
        self.running.version = params.firmware.version.as_deref().map(Into::into);
        self.downloading.clone_from(&params.currently_downloading);
        self.attempt = self.number();
        self.phase = Phase::Attaching { join: from };
        out.push(Effect::Attach {
            attempt: self.attempt,
            params,
        });
    }

    fn join_group(&mut self, from: Address, now: Instant, out: &mut Vec<Effect>) {
        let topic = from.topic.to_string();
        let known =
            self.channels.find(&topic).is_some() || self.joining.iter().any(|(t, _)| *t == topic);
        if !known && !self.channels.has_room(self.joining.len()) {
            return reply(from, error("too_many_channels"), out);
        }
        match self.phase {
            Phase::Waiting | Phase::Closed => reply(from, error("not_joined"), out),
            Phase::Attaching { .. } => self.wait_to_join(topic, from),
            Phase::Attached { .. } => match self.membership_of(&topic) {
                Some(group) => self.group_joined(group, from, now, out),
                // The membership may be newer than what is known here: only the store can say no.
                None => {
                    self.wait_to_join(topic, from);
                    self.reconcile(out);
                }
            },
        }
    }

    fn group_joined(&mut self, group: GroupId, from: Address, now: Instant, out: &mut Vec<Effect>) {
        let replaced = self.channels.join_group(group, from.subscription());
        reply(from, Answer::Ok, out);
        if replaced {
            self.send_again(group, now, out);
        }
    }

    fn wait_to_join(&mut self, topic: String, from: Address) {
        self.joining.retain(|(t, _)| *t != topic);
        self.joining.push((topic, from));
    }

    /// Answers the group joins that waited for the store.
    pub(super) fn settle_group_joins(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for (topic, from) in std::mem::take(&mut self.joining) {
            match self.membership_of(&topic) {
                Some(group) => self.group_joined(group, from, now, out),
                None => reply(from, error("not_found"), out),
            }
        }
    }

    fn leave(&mut self, from: Address, now: Instant, out: &mut Vec<Effect>) {
        let joined = self.channels.find(&from.topic).cloned();
        let current = joined
            .as_ref()
            .is_some_and(|s| is_current(s, from.join_ref.as_ref()));
        let topic = from.topic.clone();
        let attaching = match &self.phase {
            Phase::Attaching { join }
                if join.topic == topic
                    && is_current(&join.subscription(), from.join_ref.as_ref()) =>
            {
                Some(join.subscription())
            }
            Phase::Attaching { .. } | Phase::Waiting | Phase::Attached { .. } | Phase::Closed => {
                None
            }
        };
        let waiting = self.joining.iter().position(|(t, join)| {
            **t == *topic && is_current(&join.subscription(), from.join_ref.as_ref())
        });
        reply(from, Answer::Ok, out);
        let left = if let Some(subscription) = attaching {
            self.attempt = self.number();
            self.phase = Phase::Waiting;
            Some(subscription)
        } else if let Some(at) = waiting {
            Some(self.joining.remove(at).1.subscription())
        } else {
            joined.filter(|_| current)
        };
        let Some(left) = left else { return };
        if self
            .channels
            .device
            .as_ref()
            .is_some_and(|d| d.topic == topic)
        {
            self.channels.device = None;
            self.release(out);
        }
        out.push(Effect::Push {
            on: left,
            push: Push::Closed,
        });
        if let Some(group) = self.channels.group_of(&topic) {
            self.end_group_join(group, now, out);
        }
    }

    /// The channel on which the device may report. Groups stay joined while the device joins anew, but until it has,
    /// nothing can be written on its behalf.
    fn spoken_on(&self, topic: &str) -> Option<&Subscription> {
        match self.phase {
            Phase::Attached { .. } => self.channels.find(topic),
            Phase::Waiting | Phase::Attaching { .. } | Phase::Closed => None,
        }
    }

    fn device_push(
        &mut self,
        from: Address,
        event: Result<DeviceEvent, EventError>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let Some(subscription) = self.spoken_on(&from.topic) else {
            return self.refuse(from, "not_joined", out);
        };
        if !is_current(subscription, from.join_ref.as_ref()) {
            return out.push(Effect::Note(Note::Ignored("stale_join_ref")));
        }
        if from.reference.is_some()
            && self.in_flight.iter().any(|f| {
                f.to.as_ref()
                    .is_some_and(|to| to.reference == from.reference)
            })
        {
            return self.refuse(from, "duplicate_ref", out);
        }
        let event = match event {
            Ok(event) => event,
            Err(error) => return self.refuse(from, error.code, out),
        };
        if self.is_about_another_update(&event) {
            return self.other_update(from, &event, out);
        }
        match event {
            DeviceEvent::StatusUpdate(status) => {
                self.flush_progress(out);
                let failed = status.status == UpdateStatus::Failed;
                self.record(Report::Status(status), Some(from), None, out);
                if failed {
                    self.offer_again(out);
                }
            }
            DeviceEvent::Progress(progress) => self.progressed(progress, from, now, out),
            DeviceEvent::UpdateError(error) => {
                self.record(Report::UpdateError(error), Some(from), None, out)
            }
            DeviceEvent::Rebooting => self.record(Report::Rebooting, Some(from), None, out),
            DeviceEvent::CommandAck(ack) => {
                let report = Report::Execution {
                    command: ack.id,
                    state: ExecutionState::Delivered,
                    output: None,
                    first: self.acked(ack.id),
                    trace: ack.trace,
                };
                self.record(report, Some(from), Some(ack.id), out);
            }
            DeviceEvent::CommandResult(result) => self.ended(result, from, out),
            // What only some clients say, and nothing here depends on: heard, and nothing more.
            DeviceEvent::FirmwareValidated
            | DeviceEvent::Network(_)
            | DeviceEvent::CheckUpdateAvailable
            | DeviceEvent::ScriptResult => {
                out.push(Effect::Note(Note::Ignored("not_used")));
            }
            DeviceEvent::Join(_) | DeviceEvent::Leave | DeviceEvent::Heartbeat => {
                self.refuse(from, "bad_request", out)
            }
            DeviceEvent::Unknown => self.refuse(from, "unknown_event", out),
        }
        self.refill(out);
    }

    /// A command ended on the device.
    fn ended(&mut self, result: CommandResult, from: Address, out: &mut Vec<Effect>) {
        let state = match result.status {
            ResultStatus::Succeeded => ExecutionState::Succeeded,
            ResultStatus::Failed => ExecutionState::Failed,
            ResultStatus::Rejected => ExecutionState::Rejected,
        };
        let report = Report::Execution {
            command: result.id,
            state,
            output: result.output,
            first: self.acked(result.id),
            trace: result.trace,
        };
        self.record(report, Some(from), Some(result.id), out);
    }

    /// Telemetry: merged, stored at most every [`PROGRESS_EVERY`], and acknowledged at once because nothing is promised about it.
    fn progressed(
        &mut self,
        progress: Progress,
        from: Address,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let complete = progress.value >= COMPLETE;
        self.progress = Some(progress);
        if complete || self.progress_at.is_none_or(|at| at <= now) {
            self.flush_progress(out);
            self.progress_at = Some(now + PROGRESS_EVERY);
        }
        if self.may_answer() && from.reference.is_some() {
            reply(from, Answer::Ok, out);
        }
    }

    pub(super) fn flush_progress(&mut self, out: &mut Vec<Effect>) {
        if let Some(progress) = self.progress.take() {
            out.push(Effect::Record {
                report: Report::Progress(progress),
                receipt: None,
            });
        }
    }

    /// The device has this command; whether that is news. What cannot be written now is as if never heard: the command is sent
    /// again.
    fn acked(&mut self, id: CommandId) -> bool {
        self.in_flight.len() < REPORTS_IN_FLIGHT_MAX && self.deliveries.acked(id)
    }

    /// Writes a report and remembers to answer it once it is committed.
    fn record(
        &mut self,
        report: Report,
        from: Option<Address>,
        command: Option<CommandId>,
        out: &mut Vec<Effect>,
    ) {
        let to = from.filter(|from| self.may_answer() && from.reference.is_some());
        if self.in_flight.len() >= REPORTS_IN_FLIGHT_MAX {
            if let Some(id) = command {
                self.deliveries.settled(id, false);
                self.deliveries.set_behind();
            }
            if let Some(to) = to {
                reply(
                    to,
                    Answer::Error {
                        reason: "busy",
                        retry_after: Some(RETRY_MIN),
                    },
                    out,
                );
            }
            return out.push(Effect::Note(Note::Ignored("busy")));
        }
        let receipt = self.number();
        self.in_flight.push(InFlight {
            receipt,
            attempt: self.attempt,
            to,
            command,
        });
        out.push(Effect::Record {
            report,
            receipt: Some(receipt),
        });
    }

    pub(super) fn recorded(
        &mut self,
        receipt: u32,
        outcome: Recorded,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let Some(at) = self.in_flight.iter().position(|f| f.receipt == receipt) else {
            return;
        };
        let report = self.in_flight.swap_remove(at);
        if let Some(id) = report.command {
            // What was not written is as due as before, whatever a read says that is under way.
            let written = matches!(outcome, Recorded::Done | Recorded::NotFound);
            self.deliveries.settled(id, self.reconciling && written);
        }
        let answer = match outcome {
            Recorded::Done => Answer::Ok,
            Recorded::NotFound => error("not_found"),
            Recorded::Unavailable(u) => Answer::Error {
                reason: "unavailable",
                retry_after: Some(u.retry_after),
            },
            Recorded::Fenced if report.attempt == self.attempt => {
                return self.close(CloseReason::Superseded, out);
            }
            Recorded::Fenced => Answer::Error {
                reason: "unavailable",
                retry_after: Some(RETRY_MIN),
            },
        };
        let lost = matches!(outcome, Recorded::Unavailable(_)) && report.command.is_some();
        if let Some(to) = report.to {
            reply(to, answer, out);
        }
        if lost {
            // No device says a second time by itself that it has a command, and the store still has it as due.
            self.deliveries.set_behind();
            self.retry_later(now);
        }
        self.refill(out);
    }
}

fn error(reason: &'static str) -> Answer {
    Answer::Error {
        reason,
        retry_after: None,
    }
}

fn reply(to: Address, answer: Answer, out: &mut Vec<Effect>) {
    out.push(Effect::Reply { to, answer });
}
