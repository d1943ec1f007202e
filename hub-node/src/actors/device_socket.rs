//! One device socket: the actor that owns the WebSocket and steps its `Session`.
//!
//! The actor never waits for I/O. Its handle is also the waker of its socket, so readiness arrives as the same
//! single wake-up message that senders use; what cannot be written yet waits in the bounded outbox.

mod guard;
mod incoming;
mod io;
mod join;
mod journeys;
mod perform;

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use hub_core::session::{self, Event, Reconciled, Recorded, Session, Unattached, Unavailable};
use hub_proto::close::CloseReason;
use hub_proto::frame::Serializer;
use hub_proto::id::{CommandId, ConnGen, GroupId, Seq};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::debug;

use crate::context::{Context, wall_clock};
use crate::edge::tls_stream::TlsStream;
use crate::identity::revocations::Issued;
use crate::routing::{Delivery, SocketHandle};
use crate::store::records::Identity;
use crate::telemetry::metrics::{Direction, Dropped};
use guard::{Granted, SocketGuard};
use io::{Incoming, SocketIo};
use journeys::Journeys;

/// Frames read in one turn, so that one device cannot keep a worker to itself.
const FRAMES_PER_TURN: usize = 16;

/// What the actor is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// The socket may be ready, or something is in the inbox.
    Wake,
    /// A deadline of the session or of the closing socket has passed.
    Deadline,
    /// Answer to a join.
    Attached {
        attempt: u32,
        outcome: Box<Result<session::Attached, Unattached>>,
        granted: Granted,
    },
    /// Answer to a read.
    Reconciled(Box<Result<Reconciled, Unavailable>>),
    /// Answer to a claim.
    Claimed(Result<Vec<CommandId>, Unavailable>),
    /// Answer to a report.
    Recorded { receipt: u32, outcome: Recorded },
    /// A group's channel took this socket in.
    Followed { group: GroupId, head: Seq },
    /// A group's channel was started afresh.
    Refollow(GroupId),
    /// A newer join owns the device.
    Superseded { by: ConnGen },
    /// Is the peer of this join still there?
    Challenged(ConnGen),
    /// The identity may have been revoked.
    Recheck,
    /// A list of its authority says that its certificate is no longer good.
    Revoked,
    /// The node stops.
    Drain { after: Duration },
    /// Other nodes hold fewer.
    Move { after: Duration },
}

/// What it takes to start one.
pub(crate) struct Arguments {
    pub(crate) stream: TlsStream,
    /// Bytes the device sent behind its upgrade request.
    pub(crate) early: Vec<u8>,
    pub(crate) identity: Identity,
    pub(crate) issued: Option<Arc<Issued>>,
    pub(crate) serializer: Serializer,
    pub(crate) remote: SocketAddr,
    pub(crate) context: Arc<Context>,
}

/// The actor; all it knows is in [`State`].
pub(crate) struct DeviceSocket;

/// Everything one socket holds.
pub(crate) struct State {
    io: SocketIo,
    session: Session,
    serializer: Serializer,
    identity: Arc<Identity>,
    remote: SocketAddr,
    handle: Arc<SocketHandle>,
    waker: Waker,
    guard: SocketGuard,
    journeys: Journeys,
    context: Arc<Context>,
    actor: ActorRef<Message>,
}

impl Actor for DeviceSocket {
    type Msg = Message;
    /// Boxed, for the actor's task keeps room for it several times over.
    type State = Box<State>;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        args: Arguments,
    ) -> Result<Box<State>, ActorProcessingErr> {
        let Arguments {
            stream,
            early,
            identity,
            issued,
            serializer,
            remote,
            context,
        } = args;
        let now = Instant::now();
        let identity = Arc::new(identity);
        let handle = Arc::new(SocketHandle::new(
            context.sockets.next_id(),
            identity.device,
            identity.org,
            identity.authority,
            issued,
            myself.clone(),
        ));
        let guard = SocketGuard::new(handle.clone(), identity.clone(), context.clone());
        let whose = session::Identity {
            device: identity.device,
            org: identity.org_name.clone(),
            product: identity.product_name.clone(),
        };
        let state = Box::new(State {
            io: SocketIo::new(stream, early).await,
            session: Session::new(whose, now),
            serializer,
            identity,
            remote,
            waker: Waker::from(handle.clone()),
            handle,
            guard,
            journeys: Journeys::default(),
            context,
            actor: myself,
        });
        // The socket has not been polled yet: nobody would wake the actor for bytes that are already there.
        state.handle.wake_actor();
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut Box<State>,
    ) -> Result<(), ActorProcessingErr> {
        if state.turn(message, Instant::now()) {
            myself.stop(None);
        }
        Ok(())
    }
}

impl State {
    /// One turn; true when the socket is done.
    fn turn(&mut self, message: Message, now: Instant) -> bool {
        match message {
            Message::Wake => {
                self.handle.sleep();
                self.take_inbox(now);
                self.read(now);
            }
            Message::Deadline => {
                if self.io.is_overdue(now) {
                    return self.end();
                }
                if self.session.deadline().is_some_and(|at| at <= now) {
                    self.step(Event::Deadline, now);
                }
                // A pause of reading may have ended.
                self.read(now);
            }
            Message::Attached {
                attempt,
                outcome,
                granted,
            } => {
                self.attached(attempt, *outcome, now);
                granted.heard();
            }
            Message::Reconciled(outcome) => self.step(Event::Reconciled(*outcome), now),
            Message::Claimed(outcome) => self.step(Event::Claimed(outcome), now),
            Message::Recorded { receipt, outcome } => {
                self.step(Event::Recorded { receipt, outcome }, now)
            }
            Message::Followed { group, head } => self.step(Event::Followed { group, head }, now),
            Message::Refollow(group) => self.step(Event::Refollow(group), now),
            // The socket may have joined anew since this was said.
            Message::Superseded { by } if self.guard.generation().is_some_and(|own| own >= by) => {}
            Message::Superseded { .. } => self.step(Event::Superseded, now),
            Message::Challenged(generation) => self.step(Event::Challenged(generation), now),
            Message::Recheck => self.step(Event::Recheck, now),
            Message::Revoked => self.close(CloseReason::Revoked, now),
            Message::Drain { after } => self.step(Event::Drain { after }, now),
            Message::Move { after } => {
                self.guard.moves();
                self.step(Event::Drain { after }, now);
            }
        }
        let over = self.io.flush(&self.waker, now);
        let written = self.io.take_written();
        if written > 0 {
            self.context.metrics.messages(Direction::Out, written);
        }
        if over {
            return self.end();
        }
        self.context.sockets.arm(&self.handle, self.next_deadline());
        false
    }

    /// The store answered the join: from here on this socket speaks for the device, and older ones are told.
    fn attached(
        &mut self,
        attempt: u32,
        outcome: Result<session::Attached, Unattached>,
        now: Instant,
    ) {
        let generation = outcome.as_ref().ok().map(|attached| attached.generation);
        let mut effects = Vec::new();
        self.session
            .step(Event::Attached { attempt, outcome }, now, &mut effects);
        if let Some(generation) = generation.filter(|_| self.session.generation() == generation) {
            self.guard.attached(generation);
            self.context.sockets.supersede(self.identity.device);
        }
        self.perform(effects, now);
    }

    fn next_deadline(&self) -> Option<Instant> {
        [self.session.deadline(), self.io.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn take_inbox(&mut self, now: Instant) {
        let (queue, lagged) = self.handle.take();
        for delivery in queue {
            let event = match delivery {
                Delivery::Entry(entry) => Event::Entry(entry),
                Delivery::Hint { seq, body } => Event::Hint { seq, body },
            };
            self.step(event, now);
        }
        if lagged > 0 {
            self.context
                .metrics
                .outbound_dropped(Dropped::Inbox, lagged as usize);
            self.step(Event::Lagged, now);
        }
    }

    fn read(&mut self, now: Instant) {
        let mut messages = 0;
        self.read_frames(&mut messages, now);
        if messages > 0 {
            self.context.metrics.messages(Direction::In, messages);
        }
    }

    fn read_frames(&mut self, messages: &mut usize, now: Instant) {
        for _ in 0..FRAMES_PER_TURN {
            match self.io.read(&self.waker, now) {
                Incoming::Nothing => return,
                Incoming::Event(event) => self.step(event, now),
                Incoming::Message(message) => {
                    *messages += 1;
                    let event = incoming::decode(self.serializer, &message);
                    match event {
                        Ok(event) => self.step(event, now),
                        Err(reason) => return self.close(reason, now),
                    }
                }
                Incoming::Fault(reason) => return self.close(reason, now),
            }
        }
        self.handle.wake_actor();
    }

    fn step(&mut self, event: Event, now: Instant) {
        let mut effects = Vec::new();
        self.session.step(event, now, &mut effects);
        self.perform(effects, now);
    }

    /// Ends the session for a reason the session does not know of.
    fn close(&mut self, reason: CloseReason, now: Instant) {
        self.release(now);
        self.guard.closed(reason);
        self.io.close(reason, now);
    }

    fn release(&mut self, now: Instant) {
        if !self.session.is_closed() {
            let mut effects = Vec::new();
            self.session.gone(&mut effects);
            self.perform(effects, now);
        }
    }

    fn end(&mut self) -> bool {
        self.release(Instant::now());
        debug!(device = %self.identity.device_name, at = wall_clock().as_micros(), "socket ended");
        true
    }
}
