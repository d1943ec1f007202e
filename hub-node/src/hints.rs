//! From "a channel moved" to the actors it concerns, whether the bus said so or the poller found it.

use std::sync::Arc;
use std::time::Duration;

use hub_core::bus_health::BusState;
use hub_core::limits::{POLL_CHANGES_MAX, POLL_EVERY, POLL_EVERY_DEGRADED};
use hub_proto::cluster::HintBody;
use hub_proto::id::{ChannelId, Epoch, Seq};
use opentelemetry::trace::Span as _;
use opentelemetry_sdk::trace::Span;
use ractor::ActorRef;
use tokio::sync::{mpsc, watch};
use tracing::debug;

use crate::actors::{device_socket, groups};
use crate::bus::{Arrival, Inbound};
use crate::context::wall_clock;
use crate::database::Database;
use crate::edge::tls::DeviceTls;
use crate::identity::verdicts::Verdicts;
use crate::routing::Sockets;
use crate::store::Store;
use crate::store::delivery::Mark;
use crate::telemetry::metrics::{Direction, Metrics, OnBus};
use crate::telemetry::traces::Traces;

/// Where hints go.
#[derive(Clone)]
pub(crate) struct Dispatch {
    pub(crate) epoch: Epoch,
    pub(crate) sockets: Arc<Sockets>,
    pub(crate) groups: ActorRef<groups::Message>,
    pub(crate) verdicts: Arc<Verdicts>,
    pub(crate) tls: Arc<DeviceTls>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) traces: Arc<Traces>,
}

impl Dispatch {
    /// Hands on what comes over the bus until it ends.
    pub(crate) async fn follow(self, mut inbound: mpsc::Receiver<Arrival>) {
        while let Some(Arrival { sent_at, said }) = inbound.recv().await {
            let mut span = None;
            let kind = match said {
                // A hint of another history says nothing about this one; the poller knows what is true here.
                Inbound::Hint(hint) if hint.epoch != self.epoch => OnBus::Hint,
                Inbound::Hint(hint) => {
                    span = self.traces.heard(&hint);
                    self.moved(hint.channel, hint.seq, hint.body);
                    OnBus::Hint
                }
                Inbound::Notice(notice) => {
                    self.sockets.notice(notice.device, notice.generation);
                    OnBus::Notice
                }
            };
            self.metrics.on_bus(Direction::In, kind);
            if let Some(sent_at) = sent_at {
                // Clocks of nodes may differ: what would be negative counts as nothing.
                let after = wall_clock().as_micros() - sent_at.as_micros();
                let after = u64::try_from(after).unwrap_or_default();
                let within = span.as_ref().map(Span::span_context);
                self.metrics
                    .bus_handled(Duration::from_micros(after), within);
            }
        }
    }

    /// Reads the change log every [`POLL_EVERY`] or so, so that a lost hint costs time and nothing else; more often while the
    /// bus is not heard, and at once when it is again or the database is back.
    pub(crate) async fn poll(
        self,
        store: Arc<dyn Store>,
        mut mark: Mark,
        mut bus: watch::Receiver<BusState>,
        database: Database,
    ) {
        let mut away = database.watch();
        loop {
            let pause = if bus.borrow_and_update().is_up() {
                // nodes that started together do not ask together
                POLL_EVERY.mul_f64(rand::random_range(0.75..1.25))
            } else {
                POLL_EVERY_DEGRADED
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = bus.changed() => if changed.is_err() {
                    tokio::time::sleep(pause).await;
                },
                _ = away.changed() => {}
            }
            mark = self.catch_up(&*store, mark).await;
        }
    }

    /// Reads the change log to its end; the mark to go on from. What cannot be read stays behind the mark.
    async fn catch_up(&self, store: &dyn Store, mut mark: Mark) -> Mark {
        loop {
            match store.changes_since(mark, POLL_CHANGES_MAX).await {
                Ok((next, changes)) => {
                    let full = changes.len() >= POLL_CHANGES_MAX;
                    mark = next;
                    changes
                        .into_iter()
                        .for_each(|change| self.moved(change.channel, change.seq, change.body));
                    // A full answer is not the end of the log: what is behind it must not wait.
                    if !full {
                        return mark;
                    }
                }
                Err(error) => {
                    debug!(%error, "could not poll the change log");
                    return mark;
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
                self.tls.void_tickets();
                self.sockets.for_each(|socket| {
                    if socket.org == org && socket.authority.is_some() {
                        socket.tell(device_socket::Message::Recheck);
                    }
                });
            }
        }
    }
}
