//! Carries out what the session asks, in order. Decides nothing.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use hub_core::command::ExecutionState;
use hub_core::fanout::{Entry, News};
use hub_core::level::Target;
use hub_core::limits::DOWNLOAD_URL_TTL;
use hub_core::session::{
    Address, Answer, Effect, Push, Reconciled, Recorded, Report, Subscription, Unavailable,
};
use hub_proto::close::CloseReason;
use hub_proto::event::UpdateStatus;
use hub_proto::frame::{Ref, ReplyStatus};
use hub_proto::id::{ChannelId, CommandId, ConnGen, GroupId, Seq};
use hub_proto::push::{
    Empty, ErrorBody, FirmwareUpdate, GroupJoin, GroupLeave, JoinReply, Reconnect, command_payload,
    names,
};
use hub_proto::tail::Tail;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::io::Outgoing;
use super::journeys::Word;
use super::{Message, State};
use crate::actors::groups;
use crate::context::wall_clock;
use crate::edge::signed_url::Grant;
use crate::store::delivery::{DeviceOutcome, DeviceWrite, ExecutionReport, UpdateReport};
use crate::telemetry::metrics::Dropped;

impl State {
    pub(super) fn perform(&mut self, effects: Vec<Effect>, now: Instant) {
        for effect in effects {
            match effect {
                Effect::Reply { to, answer } => self.reply(&to, answer, now),
                Effect::Push { on, push } => self.push(&on, push, now),
                Effect::Tail { join_ref, entry } => self.tail(join_ref.as_ref(), &entry, now),
                Effect::Ping(number) => {
                    self.send(Outgoing::Ping(number.to_be_bytes()), now);
                }
                Effect::Attach { attempt, params } => self.attach(attempt, *params),
                Effect::Reconcile => self.reconcile(),
                Effect::Claim(commands) => self.claim(commands),
                Effect::Record { report, receipt } => self.record(report, receipt),
                Effect::Follow { group, known } => self.follow(group, known),
                Effect::Unfollow(group) => {
                    let _ = self.context.groups.cast(groups::Message::Unfollow {
                        group,
                        socket: self.handle.clone(),
                    });
                }
                Effect::PauseReading(until) => self.io.pause(until),
                Effect::Note(note) => debug!(device = %self.identity.device_name, ?note),
                Effect::Close(reason) => {
                    info!(device = %self.identity.device_name, reason = reason.reason(), "closing");
                    self.guard.closed(reason);
                    self.io.close(reason, now);
                }
            }
        }
    }

    /// Takes part in a group's fan-out, unless the socket was given up on the way here: what is followed then would
    /// never be unfollowed, and nobody knows the topic any more.
    fn follow(&self, group: GroupId, known: Seq) {
        let Some(topic) = self.session.group_topic(group) else {
            return;
        };
        let _ = self.context.groups.cast(groups::Message::Follow {
            group,
            known,
            topic,
            socket: self.handle.clone(),
        });
    }

    fn send(&mut self, message: Outgoing, now: Instant) {
        if let Err(lost) = self.io.send(message, now) {
            warn!(device = %self.identity.device_name, lost, "reads too slowly, closing");
            self.context
                .metrics
                .outbound_dropped(Dropped::SlowConsumer, lost);
            self.guard.closed(CloseReason::SlowConsumer);
            self.release(now);
        }
    }

    fn send_text(&mut self, text: String, now: Instant) {
        self.send(Outgoing::Text(text), now);
    }

    fn reply(&mut self, to: &Address, answer: Answer, now: Instant) {
        let (join_ref, reference) = (to.join_ref.as_ref(), to.reference.as_ref());
        let text = match answer {
            Answer::Ok => {
                self.serializer
                    .reply(join_ref, reference, &to.topic, ReplyStatus::Ok, &Empty {})
            }
            Answer::Groups(groups) => {
                let groups = groups.into_iter().map(String::into_boxed_str).collect();
                self.serializer.reply(
                    join_ref,
                    reference,
                    &to.topic,
                    ReplyStatus::Ok,
                    &JoinReply { groups },
                )
            }
            Answer::Error {
                reason,
                retry_after,
            } => {
                let retry_after_ms =
                    retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
                let body = ErrorBody {
                    retry_after_ms,
                    ..ErrorBody::new(reason)
                };
                self.serializer
                    .reply(join_ref, reference, &to.topic, ReplyStatus::Error, &body)
            }
        };
        self.send_text(text, now);
    }

    fn push(&mut self, on: &Subscription, push: Push, now: Instant) {
        let (serializer, join_ref, topic) = (self.serializer, on.join_ref.as_ref(), &*on.topic);
        let text = match push {
            Push::Join { channel } => serializer.push(
                join_ref,
                topic,
                names::JOIN,
                &GroupJoin {
                    channel: channel.into(),
                },
            ),
            Push::Leave { channel } => serializer.push(
                join_ref,
                topic,
                names::LEAVE,
                &GroupLeave {
                    channel: channel.into(),
                },
            ),
            Push::Offer { channel, target } => {
                let offer = self.offer(channel, &target);
                serializer.push(join_ref, topic, names::FIRMWARE_UPDATE, &offer)
            }
            Push::Command(command) => {
                self.sent(command.id, &command.name);
                // The payload is JSON text already: a tail of its own for this one member.
                let tail = Tail::new(
                    topic,
                    &command.name,
                    &command_payload(command.id, &command.args),
                );
                return self.send_tail(&tail, join_ref, now);
            }
            Push::Reconnect { after } => {
                let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                serializer.push(join_ref, topic, names::RECONNECT, &Reconnect { after_ms })
            }
            Push::Closed => serializer.channel_close(join_ref, topic),
            Push::Malformed { code } => {
                serializer.push(join_ref, topic, names::ERROR, &ErrorBody::new(code))
            }
        };
        self.send_text(text, now);
    }

    fn tail(&mut self, join_ref: Option<&Ref>, entry: &Arc<Entry>, now: Instant) {
        if let News::Command { command, tail } = &entry.news {
            self.sent(command.id, &command.name);
            self.send_tail(tail, join_ref, now);
        }
    }

    fn sent(&mut self, command: CommandId, name: &str) {
        self.context.metrics.executed(ExecutionState::Sent);
        let device = self.identity.device_name.as_str();
        self.journeys
            .sent(&self.context.traces, command, name, device);
    }

    fn send_tail(&mut self, tail: &Tail, join_ref: Option<&Ref>, now: Instant) {
        let (own, shared) = tail.parts(self.serializer, join_ref);
        self.send(Outgoing::Shared(own, shared), now);
    }

    /// An offer with a fresh link.
    fn offer(&self, channel: ChannelId, target: &Target) -> FirmwareUpdate {
        let uuid = Uuid::try_parse(&target.uuid).unwrap_or_default();
        let grant = Grant {
            org: self.identity.org,
            device: self.identity.device,
            uuid,
        };
        let url = self.context.links.sign(&grant, SystemTime::now());
        FirmwareUpdate {
            id: FirmwareUpdate::id_of(self.identity.device, channel, target.revision),
            url: url.into(),
            uuid: target.uuid.clone(),
            version: target.version.clone(),
            product: target.product.clone(),
            platform: target.platform.clone(),
            architecture: target.architecture.clone(),
            size: target.size,
            sha256: target.sha256,
            expires_at: Some(wall_clock().saturating_add(DOWNLOAD_URL_TTL)),
        }
    }

    fn reconcile(&self) {
        let (context, actor) = (self.context.clone(), self.actor.clone());
        let (device, certificate) = (self.identity.device, self.identity.certificate);
        tokio::spawn(async move {
            let outcome: Result<Reconciled, Unavailable> = match context.reads.acquire().await {
                Ok(_permit) => context
                    .store
                    .reconcile(device, certificate, wall_clock())
                    .await
                    .map_err(|error| {
                        debug!(%error, %device, "could not read what a device lacks");
                        context.unavailable()
                    }),
                Err(_) => Err(context.unavailable()),
            };
            let _ = actor.cast(Message::Reconciled(Box::new(outcome)));
        });
    }

    fn claim(&self, commands: Vec<CommandId>) {
        let Some(generation) = self.guard.generation() else {
            return;
        };
        let write = DeviceWrite::Claim {
            device: self.identity.device,
            generation,
            commands,
            at: wall_clock(),
        };
        let (actor, context) = (self.actor.clone(), self.context.clone());
        self.context.writes.submit(write, move |outcome| {
            let message = match outcome {
                Some(DeviceOutcome::Claimed(granted)) => Message::Claimed(Ok(granted)),
                Some(DeviceOutcome::Fenced) => Message::Superseded {
                    by: ConnGen(generation.0.saturating_add(1)),
                },
                Some(
                    DeviceOutcome::Done
                    | DeviceOutcome::Attached { .. }
                    | DeviceOutcome::Contested(_)
                    | DeviceOutcome::Duplicate
                    | DeviceOutcome::NotFound
                    | DeviceOutcome::Failed,
                )
                | None => Message::Claimed(Err(context.unavailable())),
            };
            let _ = actor.cast(message);
        });
    }

    fn record(&mut self, report: Report, receipt: Option<u32>) {
        let generation = if let Report::Detach(generation) = &report {
            self.guard.detached();
            Some(*generation)
        } else {
            self.guard.generation()
        };
        let Some(generation) = generation else { return };
        let device = self.identity.device_name.as_str();
        let word = Word::of(&report, &mut self.journeys, &self.context.traces, device);
        let write = self.write(report, generation);
        let Some(receipt) = receipt else {
            return self.context.writes.submit_unanswered(write);
        };
        let (actor, context) = (self.actor.clone(), self.context.clone());
        self.context.writes.submit(write, move |outcome| {
            let outcome = match outcome {
                Some(
                    DeviceOutcome::Done
                    | DeviceOutcome::Claimed(_)
                    | DeviceOutcome::Attached { .. }
                    | DeviceOutcome::Contested(_)
                    | DeviceOutcome::Duplicate,
                ) => Recorded::Done,
                Some(DeviceOutcome::Fenced) => Recorded::Fenced,
                Some(DeviceOutcome::NotFound) => Recorded::NotFound,
                Some(DeviceOutcome::Failed) | None => Recorded::Unavailable(context.unavailable()),
            };
            if let (Recorded::Done, Some(word)) = (outcome, word) {
                word.committed(&context.metrics);
            }
            let _ = actor.cast(Message::Recorded { receipt, outcome });
        });
    }

    fn write(&self, report: Report, generation: ConnGen) -> DeviceWrite {
        let (device, at) = (self.identity.device, wall_clock());
        let update = |status: &str, progress, error: Option<Box<str>>| DeviceWrite::Update {
            device,
            generation,
            report: UpdateReport {
                status: status.into(),
                progress,
                error,
            },
            at,
        };
        match report {
            Report::Detach(_) => DeviceWrite::Detach {
                device,
                generation,
                at,
            },
            Report::Alive => DeviceWrite::Alive { device, generation },
            Report::Status(status) => update(status.status.as_str(), None, status.reason),
            Report::Progress(progress) => {
                update(progress.status().as_str(), Some(progress.value), None)
            }
            Report::UpdateError(error) => {
                let text = error.errors.join("\n");
                update(UpdateStatus::Failed.as_str(), None, Some(text.into()))
            }
            Report::Rebooting => update("rebooting", None, None),
            Report::Execution {
                command,
                state,
                output,
                first: _,
                trace: _,
            } => DeviceWrite::Execution {
                device,
                generation,
                report: ExecutionReport {
                    command,
                    state,
                    output,
                },
                at,
            },
            Report::Offered { channel, revision } => DeviceWrite::Offered {
                device,
                generation,
                channel,
                revision,
                at,
            },
        }
    }
}
