//! Group commands in series: how one is given, how its deliveries and acknowledgements are timed, and what they cost the node.

use std::time::Duration;

use anyhow::Context as _;
use hub_proto::api::CommandCreate;
use hub_proto::id::CommandId;
use serde_json::value::RawValue;
use tokio::time::sleep;

use crate::crew::Crew;
use crate::gauge::{Gauge, monotonic_ns};
use crate::limits::COMMAND_EVERY;
use crate::orders::{Order, Span};
use crate::progress::bar;
use crate::report::{AckedReport, HeldReport, Percentiles, Times, args, micros_each};
use crate::server::{GROUP, ORG, PRODUCT, Server};

/// The name of the command that is sent; every device would know what to do with it.
const COMMAND: &str = "identify";

/// One command given to the group, or one message published.
pub(crate) struct Call {
    pub(crate) id: CommandId,
    /// Monotonic nanoseconds.
    pub(crate) began: u64,
    /// Until it was answered.
    pub(crate) took: Duration,
}

impl Call {
    /// Gives a command to the group.
    ///
    /// # Errors
    /// The API's.
    pub(crate) async fn make(server: &Server) -> anyhow::Result<Self> {
        let body = CommandCreate {
            name: COMMAND.parse()?,
            args: Some(RawValue::from_string(args())?),
            ttl_s: None,
        };
        let began = monotonic_ns()?;
        let command = server.api.command_group(ORG, PRODUCT, GROUP, &body);
        let id = command.await.context("the hub refused a command")?.id;
        Ok(Self {
            id,
            began,
            took: since(monotonic_ns()?, began),
        })
    }
}

/// The times of all commands of a series.
#[derive(Default)]
struct Series {
    answered: Vec<Duration>,
    first: Vec<Duration>,
    last: Vec<Duration>,
    acked: Vec<Duration>,
}

impl Series {
    fn add(&mut self, call: &Call, delivered: Span, acked: Duration) {
        self.answered.push(call.took);
        self.first.push(since(delivered.first, call.began));
        self.last.push(since(delivered.last, call.began));
        self.acked.push(acked);
    }

    fn times(self) -> Times {
        Times {
            api_answered_ms: Percentiles::of(self.answered),
            first_delivery_ms: Percentiles::of(self.first),
            last_delivery_ms: Percentiles::of(self.last),
            last_ack_ms: Percentiles::of(self.acked),
        }
    }
}

/// The time from one moment of the machine's monotonic clock to another, both in nanoseconds.
pub(crate) fn since(at: u64, began: u64) -> Duration {
    Duration::from_nanos(at.saturating_sub(began))
}

/// Deliveries and acknowledgements, one after the other; `gauge` reads what all nodes cost.
///
/// # Errors
/// The API's, and what the workers report.
pub(crate) async fn held(
    server: &Server,
    gauge: &Gauge,
    crew: &mut Crew,
    rounds: u32,
    what: String,
) -> anyhow::Result<HeldReport> {
    let bar = bar(what, rounds);
    let (mut delivery_cpu, mut ack_cpu) = (Duration::ZERO, Duration::ZERO);
    let mut series = Series::default();
    for _ in 0..rounds {
        crew.order(&Order::Acks { hold: true }, &bar).await?;
        let pause = sleep(COMMAND_EVERY);
        let begin = gauge.cpu()?;
        let call = Call::make(server).await?;
        let delivered = crew.delivered(call.id).await?;
        let middle = gauge.cpu()?;
        let released = monotonic_ns()?;
        crew.order(&Order::Acks { hold: false }, &bar).await?;
        let acked = crew.acked(call.id).await?;
        let end = gauge.cpu()?;
        delivery_cpu += middle.saturating_sub(begin);
        ack_cpu += end.saturating_sub(middle);
        series.add(&call, delivered, since(acked.last, released));
        bar.inc(1);
        pause.await;
    }
    bar.finish();
    let messages = u64::from(crew.devices) * u64::from(rounds);
    Ok(HeldReport {
        cpu_us_per_delivery: micros_each(delivery_cpu, messages),
        cpu_us_per_ack: micros_each(ack_cpu, messages),
        times: series.times(),
    })
}

/// Deliveries that are acknowledged at once.
///
/// # Errors
/// As [`held`].
pub(crate) async fn acked(
    server: &Server,
    crew: &mut Crew,
    rounds: u32,
) -> anyhow::Result<AckedReport> {
    Ok(acked_ids(server, crew, rounds).await?.0)
}

/// The same, with the commands.
///
/// # Errors
/// As [`held`].
pub(crate) async fn acked_ids(
    server: &Server,
    crew: &mut Crew,
    rounds: u32,
) -> anyhow::Result<(AckedReport, Vec<CommandId>)> {
    let mut ids = Vec::new();
    let bar = bar("acknowledged at once", rounds);
    let mut cpu = Duration::ZERO;
    let mut series = Series::default();
    for _ in 0..rounds {
        let pause = sleep(COMMAND_EVERY);
        let begin = server.gauge.cpu()?;
        let call = Call::make(server).await?;
        ids.push(call.id);
        let (delivered, acked) = crew.delivered_and_acked(call.id).await?;
        cpu += server.gauge.cpu()?.saturating_sub(begin);
        series.add(&call, delivered, since(acked.last, call.began));
        bar.inc(1);
        pause.await;
    }
    bar.finish();
    let messages = u64::from(crew.devices) * u64::from(rounds);
    let report = AckedReport {
        cpu_us_per_delivery: micros_each(cpu, messages),
        times: series.times(),
    };
    Ok((report, ids))
}
