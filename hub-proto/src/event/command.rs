//! What a device says about a command: that it has it, and what came of it.

use serde::{Serialize, Serializer};

use super::EventError;
use super::fields::Fields;
use crate::id::CommandId;
use crate::limits::OUTPUT_BYTES_MAX;
use crate::text::cut;
use crate::trace::TraceContext;

/// Stands at the end of an output that was cut.
const CUT_MARK: &str = "\n[cut]";

/// `command_ack`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommandAck {
    /// Which command.
    pub id: CommandId,
    /// The device's own trace, if it keeps one.
    #[serde(flatten)]
    pub trace: Option<Box<TraceContext>>,
}

/// How a command ended on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResultStatus {
    /// Done.
    Succeeded,
    /// Tried and not done.
    Failed,
    /// Not tried: unknown to this device, or not allowed on it.
    Rejected,
}

impl ResultStatus {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
        }
    }
}

impl Serialize for ResultStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// `command_result`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommandResult {
    /// Which command.
    pub id: CommandId,
    /// How it ended.
    pub status: ResultStatus,
    /// What it printed; JSON text when the device sent something else than a text. Cut, with a mark, at
    /// [`OUTPUT_BYTES_MAX`]: a refused report would be sent again for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Box<str>>,
    /// The device's own trace, if it keeps one.
    #[serde(flatten)]
    pub trace: Option<Box<TraceContext>>,
}

impl CommandAck {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, EventError> {
        let trace = TraceContext::read(fields).map(Box::new);
        id(fields).map(|id| Self { id, trace })
    }
}

impl CommandResult {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, EventError> {
        let status = match fields.text("status", 64)?.as_deref() {
            Some("succeeded") => ResultStatus::Succeeded,
            Some("failed") => ResultStatus::Failed,
            Some("rejected") => ResultStatus::Rejected,
            Some(_) | None => {
                return Err(EventError::value("status", "succeeded, failed or rejected"));
            }
        };
        Ok(Self {
            id: id(fields)?,
            status,
            output: output(fields),
            trace: TraceContext::read(fields).map(Box::new),
        })
    }
}

fn id(fields: &Fields<'_>) -> Result<CommandId, EventError> {
    let expected = "the command's id as it was sent";
    fields
        .typed("id", expected)?
        .ok_or_else(|| EventError::value("id", expected))
}

fn output(fields: &Fields<'_>) -> Option<Box<str>> {
    let raw = fields.raw("output")?.get();
    let text: Box<str> = if raw.starts_with('"') {
        serde_json::from_str(raw).ok()?
    } else {
        raw.into()
    };
    if text.len() <= OUTPUT_BYTES_MAX {
        return Some(text);
    }
    let mut short = cut(&text, OUTPUT_BYTES_MAX - CUT_MARK.len()).to_owned();
    short.push_str(CUT_MARK);
    Some(short.into())
}
