//! What the hub sends to devices: event names, payloads of pushes, bodies of replies.

mod offer;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::Fields;
use crate::frame::push_json_text;
use crate::id::CommandId;
use crate::json::{self, JsonFault};

pub use offer::FirmwareUpdate;

/// Event names that the hub sends.
pub mod names {
    /// The device, or a group it is in, should run another firmware.
    pub const FIRMWARE_UPDATE: &str = "firmware_update";
    /// The same to devices of the origin system, which know no other name for it.
    pub const UPDATE: &str = "update";
    /// The device is now in a group.
    pub const JOIN: &str = "join";
    /// The device is no longer in a group.
    pub const LEAVE: &str = "leave";
    /// Connect again: this node drains.
    pub const RECONNECT: &str = "reconnect";
    /// A message could not be read at all, so there is no `ref` to answer.
    pub const ERROR: &str = "error";
    /// Reply to a message.
    pub const REPLY: &str = "phx_reply";
    /// The channel is closed.
    pub const CLOSE: &str = "phx_close";
    /// The channel crashed.
    pub const CHANNEL_ERROR: &str = "phx_error";
    /// The command that every device knows.
    pub const REBOOT: &str = "reboot";
    /// The command to make the device seen or heard.
    pub const IDENTIFY: &str = "identify";
    /// The command to send logs.
    pub const LOGS: &str = "logs";
}

/// The empty object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// `join`: the device may now join this channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupJoin {
    /// Its topic.
    pub channel: Box<str>,
}

/// `leave`: the hub has stopped delivering on this channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLeave {
    /// Its topic.
    pub channel: Box<str>,
}

/// `reconnect`: close and connect again after this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconnect {
    /// Milliseconds; already spread, one number for each device.
    pub after_ms: u64,
}

/// Response to a join of the device channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JoinReply {
    /// Topics of the group channels the device may join.
    pub groups: Vec<Box<str>>,
}

/// Response of an error reply, and payload of an `error` push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The stable code; existing clients look for it under this name.
    pub reason: Box<str>,
    /// What is wrong, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<str>>,
    /// The same message may succeed after this many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ErrorBody {
    /// A code with nothing more to say.
    #[must_use]
    pub fn new(code: &str) -> Self {
        Self {
            reason: code.into(),
            detail: None,
            retry_after_ms: None,
        }
    }

    /// A code and what is wrong.
    #[must_use]
    pub fn with_detail(code: &str, detail: &str) -> Self {
        Self {
            detail: Some(detail.into()),
            ..Self::new(code)
        }
    }

    /// A code and when to try again.
    #[must_use]
    pub fn retry_after(code: &str, after_ms: u64) -> Self {
        Self {
            retry_after_ms: Some(after_ms),
            ..Self::new(code)
        }
    }
}

/// Payload of a reply as the device reads it.
#[derive(Clone, Debug, Deserialize)]
pub struct ReplyBody {
    /// `ok` or `error`.
    pub status: Box<str>,
    /// The response, not parsed.
    pub response: Box<RawValue>,
}

/// A command as the device reads it: its id and, beside it, its arguments.
#[derive(Clone, Debug, Deserialize)]
pub struct Command {
    /// Answers name it; repeats have the same.
    pub id: CommandId,
    /// The arguments by name.
    #[serde(flatten)]
    pub args: serde_json::Map<String, serde_json::Value>,
}

/// Whether a text can be the arguments of a command: an object that is still within the bounds of a frame once it
/// is the payload of one, and has no argument called `id`.
///
/// # Errors
/// What is wrong with it, for people.
pub fn check_args(args: &str) -> Result<(), ArgsFault> {
    // The object becomes the payload itself, so it is inside the frame's array only.
    json::check_inside(args, 1).map_err(ArgsFault::Json)?;
    let fields = Fields::of(args).ok_or(ArgsFault::NotAnObject)?;
    if fields.iter().any(|(name, _)| name == "id") {
        Err(ArgsFault::Id)
    } else {
        Ok(())
    }
}

/// Why a text cannot be the arguments of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgsFault {
    /// Its JSON is refused.
    #[error("the arguments' json is refused")]
    Json(#[source] JsonFault),
    /// It is another JSON value.
    #[error("arguments are an object")]
    NotAnObject,
    /// The name is taken by the command's own id.
    #[error("no argument may be called id")]
    Id,
}

/// The payload of a command: its id, then the operator's arguments. `args` is the text of an object; anything else
/// counts as none, and an argument called `id` is left out, since the name is taken.
#[must_use]
pub fn command_payload(id: CommandId, args: &str) -> String {
    let mut out = String::with_capacity(args.len() + 48);
    out.push_str("{\"id\":");
    push_json_text(&mut out, &id.to_string());
    if let Some(fields) = Fields::of(args) {
        for (name, value) in fields.iter().filter(|(name, _)| *name != "id") {
            out.push(',');
            push_json_text(&mut out, name);
            out.push(':');
            out.push_str(value.get());
        }
    }
    out.push('}');
    out
}

impl fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail.as_deref().unwrap_or(&self.reason))
    }
}
