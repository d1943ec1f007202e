//! Events from a device, typed.
//!
//! Devices in the field cannot be changed, so reading is lenient where existing ones differ: unknown keys are
//! ignored, a null payload is accepted where nothing is needed, free text stands for a status. It is strict where
//! a wrong value would become a wrong record: such a report is refused as a whole and changes nothing.
//!
//! An event that is not known is [`DeviceEvent::Unknown`], not an error: some clients crash on any answer to a
//! push, so whether to answer is the session's decision.

mod command;
mod fields;
mod join;
mod status;

use uuid::Uuid;

use crate::codes;
use crate::frame::Payload;

pub use command::{CommandAck, CommandResult, ResultStatus};
pub use join::{Capabilities, FirmwareMetadata, JoinParams};
pub use status::{Progress, Stage, StatusUpdate, UpdateError, UpdateStatus};

pub(crate) use fields::Fields;

/// Event names that a device sends.
pub mod names {
    /// Joins a channel.
    pub const JOIN: &str = "phx_join";
    /// Leaves a channel.
    pub const LEAVE: &str = "phx_leave";
    /// Says that the connection lives.
    pub const HEARTBEAT: &str = "heartbeat";
    /// Where an update stands.
    pub const STATUS_UPDATE: &str = "status_update";
    /// How far an update is, in percent.
    pub const FWUP_PROGRESS: &str = "fwup_progress";
    /// The same from devices that are not built on Nerves.
    pub const UPDATE_PROGRESS: &str = "update_progress";
    /// What went wrong with an update.
    pub const FIRMWARE_UPDATE_ERROR: &str = "firmware_update_error";
    /// The device is about to reboot.
    pub const REBOOTING: &str = "rebooting";
    /// The running firmware is marked as good.
    pub const FIRMWARE_VALIDATED: &str = "firmware_validated";
    /// The device has a command.
    pub const COMMAND_ACK: &str = "command_ack";
    /// The device is done with a command.
    pub const COMMAND_RESULT: &str = "command_result";
    /// Kinds of network the device is connected by.
    pub const CONNECTION_TYPES: &str = "connection_types";
    /// The network interface the device is connected by.
    pub const NETWORK_INTERFACE: &str = "report_network_interface";
    /// The device asks whether there is an update.
    pub const CHECK_UPDATE_AVAILABLE: &str = "check_update_available";
    /// Outcome of a script.
    pub const SCRIPT_RESULT: &str = "scripts/run";
}

/// An event from a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceEvent {
    /// `phx_join`.
    Join(Box<JoinParams>),
    /// `phx_leave`.
    Leave,
    /// `heartbeat`.
    Heartbeat,
    /// `status_update`.
    StatusUpdate(StatusUpdate),
    /// `fwup_progress`, `update_progress`.
    Progress(Progress),
    /// `firmware_update_error`.
    UpdateError(UpdateError),
    /// `rebooting`.
    Rebooting,
    /// `firmware_validated`.
    FirmwareValidated,
    /// `command_ack`.
    CommandAck(CommandAck),
    /// `command_result`.
    CommandResult(CommandResult),
    /// `connection_types`, `report_network_interface`: what the device is connected by, in its own words.
    Network(Vec<Box<str>>),
    /// `check_update_available`.
    CheckUpdateAvailable,
    /// `scripts/run`: accepted and not kept.
    ScriptResult,
    /// Any other event.
    Unknown,
}

/// Why an event is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct EventError {
    /// The stable code, see [`codes`].
    pub code: &'static str,
    /// What is wrong, for people. Holds nothing of the device's own text.
    pub detail: String,
}

impl EventError {
    fn value(field: &str, expected: &str) -> Self {
        Self {
            code: codes::BAD_VALUE,
            detail: format!("{field} must be {expected}"),
        }
    }

    fn request(detail: &str) -> Self {
        Self {
            code: codes::BAD_REQUEST,
            detail: detail.to_owned(),
        }
    }
}

impl DeviceEvent {
    /// Types an event by its name.
    ///
    /// # Errors
    /// The event is known and its payload is not what it must be. The report is to be ignored as a whole.
    pub fn parse(event: &str, payload: &Payload) -> Result<Self, EventError> {
        Ok(match event {
            names::JOIN => Self::Join(Box::new(JoinParams::parse(payload)?)),
            names::LEAVE => Self::Leave,
            names::HEARTBEAT => Self::Heartbeat,
            names::STATUS_UPDATE => {
                Self::StatusUpdate(StatusUpdate::read(&Fields::read(payload)?)?)
            }
            names::FWUP_PROGRESS | names::UPDATE_PROGRESS => {
                Self::Progress(Progress::read(&Fields::read(payload)?)?)
            }
            names::FIRMWARE_UPDATE_ERROR => {
                Self::UpdateError(UpdateError::read(&Fields::read(payload)?)?)
            }
            names::REBOOTING => Self::Rebooting,
            names::FIRMWARE_VALIDATED => Self::FirmwareValidated,
            names::COMMAND_ACK => Self::CommandAck(CommandAck::read(&Fields::read(payload)?)?),
            names::COMMAND_RESULT => {
                Self::CommandResult(CommandResult::read(&Fields::read(payload)?)?)
            }
            names::CONNECTION_TYPES => {
                Self::Network(status::connection_types(&Fields::read(payload)?)?)
            }
            names::NETWORK_INTERFACE => {
                Self::Network(status::network_interface(&Fields::read(payload)?)?)
            }
            names::CHECK_UPDATE_AVAILABLE => Self::CheckUpdateAvailable,
            names::SCRIPT_RESULT => Self::ScriptResult,
            _ => Self::Unknown,
        })
    }

    /// The id of the offer that a report about an update names.
    #[must_use]
    pub fn offer(&self) -> Option<Uuid> {
        match self {
            Self::StatusUpdate(report) => report.offer,
            Self::Progress(report) => report.offer,
            Self::UpdateError(report) => report.offer,
            Self::Join(_)
            | Self::Leave
            | Self::Heartbeat
            | Self::Rebooting
            | Self::FirmwareValidated
            | Self::CommandAck(_)
            | Self::CommandResult(_)
            | Self::Network(_)
            | Self::CheckUpdateAvailable
            | Self::ScriptResult
            | Self::Unknown => None,
        }
    }
}
