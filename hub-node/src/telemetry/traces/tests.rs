//! What gets spans and what does not.

use std::sync::Mutex;

use hub_proto::cluster::CommandBody;
use hub_proto::id::{ChannelId, Epoch, GroupId, Seq};
use hub_proto::time::Timestamp;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use uuid::Uuid;

use super::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

/// Keeps what ends.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

struct Bench {
    /// Spans go nowhere when it is gone.
    _provider: SdkTracerProvider,
    spans: Kept,
    traces: Traces,
}

impl Bench {
    fn new() -> Self {
        let spans = Kept::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(spans.clone())
            .build();
        let traces = Traces::new(Some(provider.tracer("test")), Arc::default());
        Self {
            _provider: provider,
            spans,
            traces,
        }
    }

    fn finished(&self) -> Vec<(String, String)> {
        let row = |span: &SpanData| (span.name.to_string(), span.parent_span_id.to_string());
        self.spans.0.lock().unwrap().iter().map(row).collect()
    }
}

fn hint(number: u128, sampled: bool) -> Hint {
    let flag = if sampled { "01" } else { "00" };
    Hint {
        epoch: Epoch(1),
        channel: ChannelId::Group(GroupId(1)),
        seq: Seq(1),
        trace: TraceContext::new(&format!("{PARENT}-{flag}"), "a=b"),
        body: Some(HintBody::Command(CommandBody {
            id: id(number),
            name: "reboot".into(),
            args_json: "{}".into(),
            expires_at: Timestamp::from_unix_micros(1),
        })),
    }
}

fn id(number: u128) -> CommandId {
    CommandId(Uuid::from_u128(number))
}

#[test]
fn a_trace_goes_on_from_a_hint_to_a_device_and_back() {
    let bench = Bench::new();
    let heard = bench.traces.heard(&hint(1, true)).unwrap();
    let push = bench.traces.pushed(id(1), "reboot", "d1").unwrap();
    let (own, process) = (push.span_context().clone(), heard.span_context().span_id());
    let ack = bench.traces.answered(id(1), "d1", "ack", Some(&own), false);
    assert_eq!(
        own.trace_id().to_string(),
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(own.trace_state().header(), "a=b");
    drop((ack, push, heard));
    let expected = [
        ("ack", own.span_id().to_string()),
        ("push device.command", process.to_string()),
        ("process hub.hints", "b7ad6b7169203331".to_owned()),
    ];
    let expected = expected.map(|(name, parent)| (name.to_owned(), parent));
    assert_eq!(bench.finished(), expected);
}

#[test]
fn what_is_not_sampled_or_not_known_has_no_spans() {
    let bench = Bench::new();
    assert!(bench.traces.heard(&hint(1, false)).is_none());
    assert!(bench.traces.pushed(id(1), "reboot", "d1").is_none());
    let unknown = bench.traces.answered(id(1), "d1", "ack", None, true);
    assert!(unknown.is_none());
    let off = Traces::new(None, Arc::default());
    assert!(off.heard(&hint(1, true)).is_none());
    assert_eq!(bench.finished(), []);
}

#[test]
fn a_command_has_few_spans_and_failures_their_own() {
    let bench = Bench::new();
    drop(bench.traces.heard(&hint(1, true)));
    let push = || bench.traces.pushed(id(1), "reboot", "d1").is_some();
    let pushed = (0..1_000).filter(|_| push()).count();
    assert_eq!(pushed, SPANS_PER_COMMAND_MAX as usize);
    let answer = |failed| bench.traces.answered(id(1), "d1", "result", None, failed);
    assert!(answer(false).is_none());
    let failed = (0..1_000).filter(|_| answer(true).is_some()).count();
    assert_eq!(failed, FAILURE_SPANS_PER_COMMAND_MAX as usize);
    let all = 1 + SPANS_PER_COMMAND_MAX + FAILURE_SPANS_PER_COMMAND_MAX;
    assert_eq!(bench.finished().len(), all as usize);
}

#[test]
fn the_oldest_commands_are_forgotten() {
    let bench = Bench::new();
    for number in 0..TRACED_COMMANDS_MAX as u128 + 1 {
        drop(bench.traces.heard(&hint(number, true)));
    }
    assert!(bench.traces.pushed(id(0), "reboot", "d1").is_none());
    assert!(bench.traces.pushed(id(1), "reboot", "d1").is_some());
}
