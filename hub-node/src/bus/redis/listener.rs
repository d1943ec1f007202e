//! What this node hears: connects, subscribes, waits for every confirmation, hands messages on, and lets the health machine
//! judge the connection by the beacons on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use hub_core::bus_health::{BusHealth, BusState, Effect, Event};
use hub_core::limits::BUS_CALL_MAX;
use hub_proto::cluster::{Beacon, Envelope, Message};
use hub_proto::time::Timestamp;
use redis::Client;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use super::channels::Channels;
use super::publisher::{Outgoing, spread};
use crate::bus::{Arrival, Inbound};
use crate::store::cluster::NodeRun;
use crate::telemetry::metrics::{Direction, Metrics, OnBus};

/// The listening half of a node's bus.
pub(super) struct Listener {
    pub(super) client: Client,
    pub(super) channels: Channels,
    pub(super) run: NodeRun,
    pub(super) inbound: mpsc::Sender<Arrival>,
    pub(super) outgoing: Outgoing,
    pub(super) state: watch::Sender<BusState>,
    pub(super) metrics: Arc<Metrics>,
}

/// A connection on which everything is subscribed. The sink must live as long as the stream.
struct Connection {
    stream: PubSubStream,
    _sink: PubSubSink,
}

impl Listener {
    /// Listens until the bus is dropped.
    pub(super) async fn run(self, mut peers: watch::Receiver<Arc<[NodeRun]>>) {
        let mut health = BusHealth::new(self.run.name.clone(), Instant::now());
        let mut connection: Option<Connection> = None;
        let mut beacons = 0;
        let mut connected = false;
        let mut events = vec![Event::Deadline];
        peers.mark_changed();
        loop {
            let mut effects = Vec::new();
            for event in events.drain(..) {
                health.step(event, Instant::now(), &mut effects);
            }
            self.show(health.state());
            for effect in effects {
                match effect {
                    Effect::Connect => {
                        connection = None;
                        let (made, event) = self.connect().await;
                        if made.is_some() && std::mem::replace(&mut connected, true) {
                            self.metrics.bus_reconnected();
                        }
                        connection = made.or(connection);
                        events.push(event);
                    }
                    Effect::Beacon => {
                        beacons += 1;
                        self.say_beacon(beacons);
                    }
                    // whoever polls watches the state
                    Effect::Reconcile => {}
                }
            }
            if events.is_empty() {
                events = self
                    .wait(&mut connection, &mut peers, health.deadline())
                    .await;
            }
        }
    }

    /// Waits for the next thing that happens.
    async fn wait(
        &self,
        connection: &mut Option<Connection>,
        peers: &mut watch::Receiver<Arc<[NodeRun]>>,
        deadline: Instant,
    ) -> Vec<Event> {
        let next = async {
            match connection {
                Some(connection) => connection.stream.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = next => match message {
                Some(message) => self.message(message.get_payload_bytes()).into_iter().collect(),
                None => {
                    *connection = None;
                    vec![Event::Failed("the connection broke".into())]
                }
            },
            changed = peers.changed() => {
                if changed.is_err() {
                    // nobody says any more who is there; those of before it is
                    std::future::pending::<()>().await;
                }
                let names = peers.borrow_and_update().iter().map(|peer| peer.name.clone()).collect();
                vec![Event::Peers(names)]
            }
            () = tokio::time::sleep_until(deadline.into()) => vec![Event::Deadline],
        }
    }

    async fn connect(&self) -> (Option<Connection>, Event) {
        match self.subscribed().await {
            Ok(connection) => (Some(connection), Event::Connected),
            Err(what) => (None, Event::Failed(what.into())),
        }
    }

    async fn subscribed(&self) -> Result<Connection, String> {
        // Two nodes that lost the same server do not come back at the same moment.
        tokio::time::sleep(spread(Duration::from_millis(50))).await;
        let connect = tokio::time::timeout(BUS_CALL_MAX, self.client.get_async_pubsub());
        let pubsub = connect
            .await
            .map_err(|_| "the server does not answer".to_owned())?
            .map_err(|error| format!("cannot connect: {error}"))?;
        let (mut sink, stream) = pubsub.split();
        for channel in self.channels.subscriptions() {
            let confirmed = tokio::time::timeout(BUS_CALL_MAX, sink.subscribe(&channel));
            confirmed
                .await
                .map_err(|_| format!("{channel}: the subscription is not confirmed"))?
                .map_err(|error| format!("{channel}: cannot subscribe: {error}"))?;
        }
        Ok(Connection {
            stream,
            _sink: sink,
        })
    }

    /// Hands a message on; a beacon is for the health machine. What cannot be read is dropped: it comes from a newer release,
    /// or from nobody of ours.
    fn message(&self, payload: &[u8]) -> Option<Event> {
        let envelope = match Envelope::decode(payload) {
            Ok(envelope) => envelope,
            Err(error) => {
                debug!(%error, "dropped what came over the bus");
                return None;
            }
        };
        match envelope.message {
            Message::Beacon(beacon) => {
                let own = *envelope.origin == *self.run.name;
                // an earlier run of this node that still speaks is not this one
                let mine = beacon.run == self.run.run.cast_unsigned();
                self.metrics.on_bus(Direction::In, OnBus::Beacon);
                return (!own || mine).then(|| Event::Heard(envelope.origin.into()));
            }
            Message::Hint(hint) => self.hand_on(envelope.sent_at, Inbound::Hint(hint)),
            Message::Notices(notices) => {
                for notice in notices {
                    self.hand_on(envelope.sent_at, Inbound::Notice(notice));
                }
            }
        }
        None
    }

    fn hand_on(&self, sent_at: Option<Timestamp>, said: Inbound) {
        // full: what is dropped is found by polling
        let _ = self.inbound.try_send(Arrival { sent_at, said });
    }

    fn say_beacon(&self, number: u64) {
        let beacon = Beacon {
            run: self.run.run.cast_unsigned(),
            number,
        };
        let envelope = Envelope::new(&self.run.name, Message::Beacon(beacon));
        // a full queue delays it, and that is what it is there to tell
        let (channel, bytes) = (self.channels.beacons(), envelope.encode());
        let _ = self.outgoing.send(channel, OnBus::Beacon, bytes);
    }

    fn show(&self, state: &BusState) {
        let changed = self.state.send_if_modified(|shown| {
            let changed = shown != state;
            if changed {
                shown.clone_from(state);
            }
            changed
        });
        if changed {
            match state.reason() {
                None => info!("the bus is up"),
                Some(reason) => warn!(
                    state = state.name(),
                    reason, "the bus is not heard; polling faster"
                ),
            }
        }
    }
}
