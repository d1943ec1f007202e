//! The ways of commands over one socket, as they are counted and traced: sent, and what the device answers once it is committed.

use std::time::{Duration, SystemTime};

use hub_core::command::ExecutionState;
use hub_core::limits::JOURNEYS_PER_SOCKET_MAX;
use hub_core::session::Report;
use hub_proto::id::CommandId;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanContext, Status, TraceContextExt as _};
use opentelemetry_sdk::trace::Span;

use crate::telemetry::metrics::{Metrics, word};
use crate::telemetry::traces::{self, Traces};

/// A command on its way, in a trace that is kept.
struct Journey {
    command: CommandId,
    /// Of its delivery, which goes on below it when the device says more.
    push: SpanContext,
    /// Until the device has acknowledged.
    open: Option<Span>,
}

impl Drop for Journey {
    fn drop(&mut self) {
        if let Some(open) = &mut self.open {
            open.set_status(Status::error("not acknowledged on this socket"));
        }
    }
}

/// The traced commands of a socket. Most sockets have none, ever.
#[derive(Default)]
pub(super) struct Journeys(Vec<Journey>);

impl Journeys {
    /// A command is handed to the socket.
    pub(super) fn sent(&mut self, traces: &Traces, command: CommandId, name: &str, device: &str) {
        let mut all = self.0.iter_mut();
        if let Some(journey) = all.find(|journey| journey.command == command) {
            if let Some(open) = &mut journey.open {
                open.add_event("sent again", Vec::new());
            }
            return;
        }
        let Some(span) = traces.pushed(command, name, device) else {
            return;
        };
        if self.0.len() >= JOURNEYS_PER_SOCKET_MAX {
            self.0.remove(0);
        }
        self.0.push(Journey {
            command,
            push: span.span_context().clone(),
            open: Some(span),
        });
    }

    /// The device said something final or not about a command: the span of its delivery, if that is still open, and where it is.
    fn heard(&mut self, command: CommandId, last: bool) -> (Option<Span>, Option<SpanContext>) {
        let all = &mut self.0;
        let Some(at) = all.iter().position(|journey| journey.command == command) else {
            return (None, None);
        };
        if last {
            let mut journey = all.remove(at);
            return (journey.open.take(), Some(journey.push.clone()));
        }
        let journey = &mut all[at];
        (journey.open.take(), Some(journey.push.clone()))
    }
}

/// A device's word on a command, until it is committed.
pub(super) struct Word {
    command: CommandId,
    state: ExecutionState,
    first: bool,
    /// Of the delivery, when this ends it.
    push: Option<Span>,
    /// Of this word.
    answer: Option<Span>,
}

impl Word {
    /// The word that is in a report, if it is about a command.
    pub(super) fn of(
        report: &Report,
        journeys: &mut Journeys,
        traces: &Traces,
        device: &str,
    ) -> Option<Self> {
        let Report::Execution {
            command,
            state,
            first,
            trace,
            ..
        } = report
        else {
            return None;
        };
        let delivered = *state == ExecutionState::Delivered;
        let failed = matches!(state, ExecutionState::Failed | ExecutionState::Rejected);
        let (mut push, below) = journeys.heard(*command, !delivered);
        if let Some(push) = &mut push {
            push.add_event("acknowledged", Vec::new());
        }
        let name = if delivered {
            "ack device.command"
        } else {
            "result device.command"
        };
        let mut answer = traces.answered(*command, device, name, below.as_ref(), failed);
        if let Some(answer) = &mut answer {
            answer.set_attribute(KeyValue::new("hub.execution.state", word(*state)));
            if failed {
                answer.set_status(Status::error(word(*state)));
            }
            if let Some(own) = trace {
                let own = traces::remote(own).span().span_context().clone();
                answer.add_link(own, Vec::new());
            }
        }
        Some(Self {
            command: *command,
            state: *state,
            first: *first,
            push,
            answer,
        })
    }

    /// It is in the store now.
    pub(super) fn committed(mut self, metrics: &Metrics) {
        metrics.executed(self.state);
        if let Some(after) = self.delivered_after() {
            let within = self.push.as_ref().map(Span::span_context);
            metrics.delivered(after, within);
        }
        self.push = None;
        self.answer = None;
    }

    /// From the command's acceptance to now, if this was the first the device said about it. Clocks of nodes may differ: what
    /// would be negative counts as nothing.
    fn delivered_after(&self) -> Option<Duration> {
        if !self.first {
            return None;
        }
        let accepted = accepted_at(self.command)?;
        Some(
            SystemTime::now()
                .duration_since(accepted)
                .unwrap_or_default(),
        )
    }
}

impl Drop for Word {
    fn drop(&mut self) {
        for span in [&mut self.push, &mut self.answer].into_iter().flatten() {
            span.set_status(Status::error("not committed"));
        }
    }
}

/// When the API accepted a command: its id says so.
fn accepted_at(command: CommandId) -> Option<SystemTime> {
    let (seconds, nanos) = command.0.get_timestamp()?.to_unix();
    Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_when_its_command_was_accepted() {
        let id = CommandId(uuid::Uuid::now_v7());
        let ago = SystemTime::now().duration_since(accepted_at(id).unwrap());
        assert!(ago.unwrap() < Duration::from_secs(60));
        assert_eq!(accepted_at(CommandId(uuid::Uuid::nil())), None);
    }
}
