//! Supervises group channels: one actor per group that has members on this node, started by its first member.
//!
//! Restart policy: a channel that dies is forgotten, and every socket that followed it follows it again, which starts it afresh.

use std::collections::HashMap;
use std::sync::Arc;

use hub_proto::cluster::HintBody;
use hub_proto::id::{GroupId, Seq};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tracing::{error, warn};

use super::device_socket;
use super::group_channel::{self, GroupChannel};
use crate::routing::{SocketHandle, Sockets};
use crate::store::Store;

/// What the supervisor is told. One mailbox orders all of it.
pub(crate) enum Message {
    /// A socket takes part in a group.
    Follow {
        group: GroupId,
        known: Seq,
        topic: String,
        socket: Arc<SocketHandle>,
    },
    /// A socket takes no further part.
    Unfollow {
        group: GroupId,
        socket: Arc<SocketHandle>,
    },
    /// A socket died without saying what it followed.
    Forget(Arc<SocketHandle>),
    /// A group's channel moved.
    Hint {
        group: GroupId,
        seq: Seq,
        body: Option<HintBody>,
    },
    /// A channel has no members left, as of its `follows`-th one.
    Empty { group: GroupId, follows: u64 },
    /// Deadlines may have passed.
    Tick,
}

/// The actor.
pub(crate) struct Groups;

struct Channel {
    actor: ActorRef<group_channel::Message>,
    follows: u64,
}

/// Its channels, and what it starts new ones with.
pub(crate) struct State {
    channels: HashMap<GroupId, Channel>,
    store: Arc<dyn Store>,
    sockets: Arc<Sockets>,
}

impl Actor for Groups {
    type Msg = Message;
    type State = State;
    type Arguments = (Arc<dyn Store>, Arc<Sockets>);

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        (store, sockets): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        Ok(State {
            channels: HashMap::new(),
            store,
            sockets,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Follow {
                group,
                known,
                topic,
                socket,
            } => state.follow(&myself, group, known, topic, socket).await,
            Message::Unfollow { group, socket } => {
                state.tell(group, || group_channel::Message::Unfollow(socket))
            }
            Message::Forget(socket) => {
                for channel in state.channels.values() {
                    let _ = channel
                        .actor
                        .cast(group_channel::Message::Unfollow(socket.clone()));
                }
            }
            Message::Hint { group, seq, body } => {
                state.tell(group, || group_channel::Message::Hint { seq, body })
            }
            Message::Empty { group, follows } => {
                // A member may have come since the channel said so: then it lives on.
                if state
                    .channels
                    .get(&group)
                    .is_some_and(|channel| channel.follows == follows)
                    && let Some(channel) = state.channels.remove(&group)
                {
                    channel.actor.stop(None);
                }
            }
            Message::Tick => {
                for channel in state.channels.values() {
                    let _ = channel.actor.cast(group_channel::Message::Deadline);
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(cell, cause) = event {
            error!(%cause, "a group channel failed; its members follow it again");
            state.restart(&cell);
        }
        Ok(())
    }
}

impl State {
    async fn follow(
        &mut self,
        myself: &ActorRef<Message>,
        group: GroupId,
        known: Seq,
        topic: String,
        socket: Arc<SocketHandle>,
    ) {
        if !self.channels.contains_key(&group) {
            let arguments = group_channel::Arguments {
                group,
                topic,
                store: self.store.clone(),
                groups: myself.clone(),
            };
            match Actor::spawn_linked(None, GroupChannel, arguments, myself.get_cell()).await {
                Ok((actor, _)) => self.channels.insert(group, Channel { actor, follows: 0 }),
                Err(error) => return warn!(%error, %group, "could not start a group channel"),
            };
        }
        if let Some(channel) = self.channels.get_mut(&group) {
            channel.follows += 1;
            let follow = group_channel::Message::Follow {
                socket,
                known,
                follows: channel.follows,
            };
            let _ = channel.actor.cast(follow);
        }
    }

    fn tell(&self, group: GroupId, message: impl FnOnce() -> group_channel::Message) {
        if let Some(channel) = self.channels.get(&group) {
            let _ = channel.actor.cast(message());
        }
    }

    fn restart(&mut self, cell: &ActorCell) {
        let Some(group) = self
            .channels
            .iter()
            .find(|(_, c)| c.actor.get_id() == cell.get_id())
            .map(|(g, _)| *g)
        else {
            return;
        };
        self.channels.remove(&group);
        self.sockets
            .for_each(|socket| socket.tell(device_socket::Message::Refollow(group)));
    }
}
