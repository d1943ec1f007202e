//! From "a channel moved" to the actors it concerns, whether the bus said so or the poller found it.

use std::sync::Arc;

use hub_core::limits::{POLL_CHANGES_MAX, POLL_EVERY};
use hub_proto::cluster::{Hint, HintBody};
use hub_proto::id::{ChannelId, Epoch, Seq};
use ractor::ActorRef;
use tokio::sync::mpsc;
use tracing::warn;

use crate::actors::{device_socket, groups};
use crate::edge::tls::DeviceTls;
use crate::identity::verdicts::Verdicts;
use crate::routing::Sockets;
use crate::store::Store;
use crate::store::delivery::Mark;

/// Where hints go.
#[derive(Clone)]
pub(crate) struct Dispatch {
    pub(crate) epoch: Epoch,
    pub(crate) sockets: Arc<Sockets>,
    pub(crate) groups: ActorRef<groups::Message>,
    pub(crate) verdicts: Arc<Verdicts>,
    pub(crate) tls: Arc<DeviceTls>,
}

impl Dispatch {
    /// Hands on the hints of the bus until it ends.
    pub(crate) async fn follow(self, mut hints: mpsc::Receiver<Hint>) {
        while let Some(hint) = hints.recv().await {
            // A hint of another history says nothing about this one; the poller knows what is true here.
            if hint.epoch == self.epoch {
                self.moved(hint.channel, hint.seq, hint.body);
            }
        }
    }

    /// Reads the change log every [`POLL_EVERY`], so that a lost hint costs time and nothing else.
    pub(crate) async fn poll(self, store: Arc<dyn Store>, mut mark: Mark) {
        let mut ticks = tokio::time::interval(POLL_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // A full answer is not the end of the log: what is behind it must not wait for the next tick, too.
            let mut full = true;
            while full {
                match store.changes_since(mark, POLL_CHANGES_MAX).await {
                    Ok((next, changes)) => {
                        full = changes.len() >= POLL_CHANGES_MAX;
                        mark = next;
                        changes
                            .into_iter()
                            .for_each(|change| self.moved(change.channel, change.seq, change.body));
                    }
                    Err(error) => {
                        warn!(%error, "could not poll the change log");
                        full = false;
                    }
                }
            }
        }
    }

    fn moved(&self, channel: ChannelId, seq: Seq, body: Option<HintBody>) {
        match channel {
            ChannelId::Device(device) => {
                self.verdicts.forget_device(device);
                self.sockets.hint(device, seq, body);
            }
            ChannelId::Group(group) => {
                let _ = self.groups.cast(groups::Message::Hint { group, seq, body });
            }
            // An authority of the org was revoked: whoever it vouched for is looked at again.
            ChannelId::Org(org) => {
                self.verdicts.forget_org(org);
                if let Err(error) = self.tls.void_tickets() {
                    warn!(%error, "sessions of before can still be resumed; each is judged again anyway");
                }
                self.sockets.for_each(|socket| {
                    if socket.org == org && socket.authority.is_some() {
                        socket.tell(device_socket::Message::Recheck);
                    }
                });
            }
        }
    }
}
