//! One group channel on this node: the actor that steps a `Fanout` and hands its entries to the members' sockets.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Instant;

use hub_core::fanout::{Effect, Event, Fanout, Loaded};
use hub_core::limits::GROUP_CATCH_UP_MAX;
use hub_proto::cluster::HintBody;
use hub_proto::id::{GroupId, Seq};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::warn;

use super::{device_socket, groups};
use crate::context::wall_clock;
use crate::routing::{Delivery, SocketHandle};
use crate::store::Store;

/// What the channel is told.
pub(crate) enum Message {
    /// A socket takes part; it is the `follows`-th to say so.
    Follow {
        socket: Arc<SocketHandle>,
        known: Seq,
        follows: u64,
    },
    /// A socket takes no further part.
    Unfollow(Arc<SocketHandle>),
    /// The channel moved.
    Hint { seq: Seq, body: Option<HintBody> },
    /// Answer to a read.
    Loaded(Box<Option<Loaded>>),
    /// A deadline may have passed.
    Deadline,
}

/// What it takes to start one.
pub(crate) struct Arguments {
    pub(crate) group: GroupId,
    pub(crate) topic: String,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) groups: ActorRef<groups::Message>,
}

/// The actor.
pub(crate) struct GroupChannel;

/// The machine and what its effects need.
pub(crate) struct State {
    fanout: Fanout<Member>,
    group: GroupId,
    follows: u64,
    store: Arc<dyn Store>,
    groups: ActorRef<groups::Message>,
}

/// A member's socket, told apart by its number.
#[derive(Clone, Debug)]
struct Member(Arc<SocketHandle>);

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Member {}

impl PartialOrd for Member {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Member {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl Actor for GroupChannel {
    type Msg = Message;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        args: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let Arguments {
            group,
            topic,
            store,
            groups,
        } = args;
        Ok(State {
            fanout: Fanout::new(group, topic),
            group,
            follows: 0,
            store,
            groups,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let now = Instant::now();
        let event = match message {
            Message::Follow {
                socket,
                known,
                follows,
            } => {
                state.follows = follows;
                Event::Follow {
                    member: Member(socket),
                    known,
                }
            }
            Message::Unfollow(socket) => Event::Unfollow(Member(socket)),
            Message::Hint { seq, body } => Event::Hint { seq, body },
            Message::Loaded(loaded) => loaded.map_or(Event::LoadFailed, Event::Loaded),
            Message::Deadline if state.fanout.deadline().is_some_and(|at| at <= now) => {
                Event::Deadline
            }
            Message::Deadline => return Ok(()),
        };
        let mut effects = Vec::new();
        state.fanout.step(event, now, &mut effects);
        for effect in effects {
            state.perform(effect, &myself);
        }
        Ok(())
    }
}

impl State {
    fn perform(&self, effect: Effect<Member>, myself: &ActorRef<Message>) {
        match effect {
            Effect::Deliver(entry) => {
                for member in self.fanout.members() {
                    member.0.deliver(Delivery::Entry(entry.clone()));
                }
            }
            Effect::Followed { member, head } => {
                member.0.tell(device_socket::Message::Followed {
                    group: self.group,
                    head,
                });
            }
            Effect::Load { after } => self.load(after, myself.clone()),
            Effect::Empty => {
                let _ = self.groups.cast(groups::Message::Empty {
                    group: self.group,
                    follows: self.follows,
                });
            }
        }
    }

    fn load(&self, after: Seq, myself: ActorRef<Message>) {
        let (store, group) = (self.store.clone(), self.group);
        tokio::spawn(async move {
            let loaded = store
                .group_changes(group, after, GROUP_CATCH_UP_MAX, wall_clock())
                .await;
            let loaded = loaded
                .inspect_err(|error| warn!(%error, %group, "could not read a group's channel"))
                .ok();
            let _ = myself.cast(Message::Loaded(Box::new(loaded)));
        });
    }
}
