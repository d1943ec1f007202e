//! One simulated device that joins its channels and then reads nothing, while it goes on saying that it lives.

use std::net::SocketAddr;
use std::rc::Rc;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::device::{Device, Kind, Socket};
use crate::limits::{ARRIVAL_MAX, STALLED_BEAT_EVERY, STALLED_BURST, STALLED_RECEIVE_BYTES};
use crate::member::{Joined, departure};
use crate::orders::Note;
use crate::tally::tell;
use crate::wire;

/// A device whose answers pile up.
pub(crate) struct Stalled(Socket);

impl Stalled {
    /// Connects with a small window and joins both channels.
    ///
    /// # Errors
    /// When any of it is refused, or not done in time.
    pub(crate) async fn join(
        device: &Device,
        hub: SocketAddr,
        kind: &Kind,
    ) -> anyhow::Result<Self> {
        let window = Some(STALLED_RECEIVE_BYTES);
        let mut joined = Joined::join_within(device, hub, kind, false, window).await?;
        joined.ask_group().await?;
        Ok(Self(joined.into_socket()))
    }

    /// Beats without reading until all are told to depart; then reads to the end and tells by which code the hub closed.
    ///
    /// # Errors
    /// When the worker ends.
    pub(crate) async fn stay(mut self, kind: Rc<Kind>) -> anyhow::Result<()> {
        let mut depart = kind.depart.subscribe();
        let mut beat = interval_at(Instant::now() + STALLED_BEAT_EVERY, STALLED_BEAT_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = true;
        for _ in 0..STALLED_BURST {
            heard &= self.beat().await;
        }
        loop {
            tokio::select! {
                departs = departure(&mut depart) => {
                    departs?;
                    break;
                }
                _ = beat.tick(), if heard => heard = self.beat().await,
            }
        }
        let code = timeout(ARRIVAL_MAX, self.close_code()).await;
        tell(&Note::Closed(code.unwrap_or_default()));
        Ok(())
    }

    /// False when the connection is over. What the system does not take now waits behind the next beat.
    async fn beat(&mut self) -> bool {
        let said = self.0.send(Message::Text(wire::heartbeat().into()));
        !matches!(timeout(STALLED_BEAT_EVERY, said).await, Ok(Err(_)))
    }

    /// Reads what is left, and the code at its end; 0 when the connection was cut off.
    async fn close_code(&mut self) -> u16 {
        while let Some(Ok(message)) = self.0.next().await {
            if let Message::Close(frame) = message {
                return frame.map_or(0, |frame| frame.code.into());
            }
        }
        0
    }
}
