//! A join on its way through the store: asks, and where the device is contested, waits for its holder and asks again.

use std::sync::Arc;

use hub_core::level::Standing;
use hub_core::limits::{CONTEST_MAX, CONTEST_ROUNDS_MAX};
use hub_core::session::{self, Unattached};
use hub_proto::event::JoinParams;
use hub_proto::id::ConnGen;
use ractor::{ActorRef, ActorStatus};
use tracing::{info, warn};

use super::{Granted, Message, State};
use crate::context::{Context, wall_clock};
use crate::store::delivery::{Attach, Contest, DeviceOutcome, DeviceWrite};

/// A join of one socket.
#[derive(Clone)]
struct Join {
    attach: Attach,
    attempt: u32,
    /// Times the holder was asked.
    rounds: u32,
    context: Arc<Context>,
    actor: ActorRef<Message>,
}

impl State {
    /// Asks the store to make this socket the device's.
    pub(super) fn attach(&self, attempt: u32, params: JoinParams) {
        let attach = Attach {
            device: self.identity.device,
            certificate: self.identity.certificate,
            node: self.context.node.clone(),
            firmware: params.firmware,
            remote: Some(self.remote.to_string().into()),
            contest: None,
            at: wall_clock(),
        };
        let join = Join {
            attach,
            attempt,
            rounds: 0,
            context: self.context.clone(),
            actor: self.actor.clone(),
        };
        join.ask();
    }
}

impl Join {
    fn ask(self) {
        let writes = self.context.writes.clone();
        let write = DeviceWrite::Attach(Box::new(self.attach.clone()));
        writes.submit(write, move |outcome| self.answered(outcome));
    }

    fn answered(self, outcome: Option<DeviceOutcome>) {
        let device = self.attach.device;
        let outcome = match outcome {
            Some(DeviceOutcome::Attached {
                attached,
                taken_from,
            }) => {
                if let Some(holder) = taken_from {
                    self.context
                        .tell_holder(&holder, device, attached.generation);
                }
                Ok(*attached)
            }
            Some(DeviceOutcome::Contested(contest)) => return self.contested(contest),
            Some(DeviceOutcome::Duplicate) => {
                warn!(device = device.0, node = %self.context.node, "two live holders of one identity; the newcomer is refused");
                Err(Unattached::Duplicate)
            }
            Some(
                DeviceOutcome::Done
                | DeviceOutcome::Claimed(_)
                | DeviceOutcome::Fenced
                | DeviceOutcome::NotFound
                | DeviceOutcome::Failed,
            )
            | None => Err(self.context.unavailable().into()),
        };
        self.tell(outcome);
    }

    fn tell(self, outcome: Result<session::Attached, Unattached>) {
        self.context.metrics.joined(match &outcome {
            Ok(attached) if attached.reconciled.level.standing == Standing::Active => "ok",
            Ok(_) => "refused",
            Err(Unattached::Duplicate) => "duplicate",
            Err(Unattached::Unavailable(_)) => "unavailable",
        });
        let generation = outcome
            .as_ref()
            .ok()
            .filter(|attached| attached.reconciled.level.standing == Standing::Active)
            .map(|attached| attached.generation);
        let granted = Granted::new(self.attach.device, generation, self.context.writes.clone());
        let _ = self.actor.cast(Message::Attached {
            attempt: self.attempt,
            outcome: Box::new(outcome),
            granted,
        });
    }

    /// Has the holder asked, and asks the store again once it could have answered.
    fn contested(mut self, contest: Contest) {
        let device = self.attach.device;
        if self.rounds >= CONTEST_ROUNDS_MAX {
            let later = self.context.unavailable();
            return self.tell(Err(later.into()));
        }
        info!(device = device.0, holder = %contest.node, "changes hands too often; its holder is asked");
        let (node, generation): (_, ConnGen) = (contest.node.clone(), contest.generation);
        self.attach.contest = Some(contest);
        self.rounds += 1;
        if *node == *self.context.node && !self.context.sockets.holds(device, generation) {
            // The holder was a socket of this node, and it is gone: nobody is left to ask.
            return self.ask();
        }
        self.context.tell_holder(&node, device, generation);
        tokio::spawn(async move {
            tokio::time::sleep(CONTEST_MAX).await;
            if self.actor.get_status() == ActorStatus::Running {
                self.ask();
            }
        });
    }
}
