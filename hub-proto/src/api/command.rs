//! Commands and what became of them on each device.

use crate::id::{CommandId, DeviceId};
use crate::slug::Slug;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Bytes of a command's `args` as written.
pub const ARGS_BYTES_MAX: usize = 16 * 1024;

/// Seconds a command waits for its device when the call names no `ttl_s`: one hour.
pub const TTL_DEFAULT_S: u32 = 3_600;

/// Largest `ttl_s`: 28 days.
pub const TTL_MAX_S: u32 = 28 * 24 * 3_600;

/// Command names with a meaning of their own in the device protocol, besides everything that starts with `phx_`.
pub const RESERVED_COMMANDS: &[&str] = &[
    "access_denied",
    "archive",
    "command_ack",
    "command_result",
    "device",
    "error",
    "extensions",
    "firmware_update",
    "firmware_update_error",
    "firmware_validated",
    "fwup_progress",
    "heartbeat",
    "join",
    "leave",
    "phoenix",
    "presence_diff",
    "presence_state",
    "rebooting",
    "reconnect",
    "status_update",
    "update",
    "update_progress",
];

/// True when a command must not have this name, because devices would take it for an event of the protocol.
pub fn is_reserved_command(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.starts_with("phx_") || RESERVED_COMMANDS.contains(&lower.as_str())
}

/// Gives a command to a device or to a group.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CommandCreate {
    /// `reboot`, `identify`, `logs`, or a name the fleet's devices know. Names of the protocol's own events are refused.
    pub name: Slug,
    /// Arguments, passed on to the device beside the command's `id`; at most 16 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub args: Option<Box<RawValue>>,
    /// Seconds after which it is no longer sent, 1 to 2,419,200 (28 days); one hour when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 2_419_200))]
    pub ttl_s: Option<u32>,
}

/// An accepted command.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Command {
    /// Stable id; devices drop duplicates by it.
    pub id: CommandId,
    /// Whom it is for.
    pub audience: Audience,
    /// Event name on the wire.
    pub name: Slug,
    /// Arguments as they were accepted.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub args: Box<RawValue>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it is no longer sent.
    pub expires_at: Timestamp,
    /// When it was cancelled.
    pub cancelled_at: Option<Timestamp>,
    /// Devices per state; states with none are left out.
    pub counts: Vec<StateCount>,
}

/// How many devices a command has in one state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StateCount {
    /// The state.
    pub state: ExecutionState,
    /// Devices in it.
    pub devices: u64,
}

/// Whom a command is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Audience {
    /// One device.
    Device {
        /// Its product.
        product: Slug,
        /// Its name.
        device: Slug,
    },
    /// The members a group had at the moment of the command.
    Group {
        /// Its product.
        product: Slug,
        /// Its name.
        group: Slug,
    },
}

/// The state of one command on one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExecutionState {
    /// Stored; not yet handed to a socket.
    Queued,
    /// Handed to a socket: the device may have it.
    Sent,
    /// The device has it.
    Delivered,
    /// The device reports success.
    Succeeded,
    /// The device reports failure.
    Failed,
    /// The device refuses it.
    Rejected,
    /// Its time passed before the device had it; a late result may still replace this.
    Expired,
    /// Cancelled before it was sent.
    Cancelled,
}

/// One command on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Execution {
    /// Which device.
    pub device_id: DeviceId,
    /// Its name.
    pub device: Slug,
    /// How far it came.
    pub state: ExecutionState,
    /// What the device reported with its result.
    pub output: Option<String>,
    /// When it reached this state; null while queued.
    pub at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_the_protocol_are_no_command_names() {
        for name in [
            "phx_join",
            "PHX_anything",
            "join",
            "Leave",
            "firmware_update",
        ] {
            assert!(is_reserved_command(name), "{name}");
        }
        for name in ["reboot", "identify", "logs", "joiner", "set-led"] {
            assert!(!is_reserved_command(name), "{name}");
        }
    }
}
